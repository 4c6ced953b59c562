//! The project that `overboot init` writes: the recipe and the files that ship, as they are in `recipes/`.

/// A file of a new project: path, mode, contents.
#[derive(Debug, Clone, Copy)]
pub struct ProjectFile {
    /// Relative to the project's folder.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// What it holds. In `overboot.toml`, `@NAME@` and `@KEY@` stand for the project's name and its public key.
    pub contents: &'static str,
}

macro_rules! shipped {
    ($($mode:literal $path:literal),* $(,)?) => {
        &[$(ProjectFile {
            path: $path,
            mode: $mode,
            contents: include_str!(concat!("../../../recipes/project/", $path)),
        }),*]
    };
}

/// Everything that a new project holds, but its keys. The recipe comes last: without it the folder is no project, and `init`
/// may be run again.
pub const FILES: &[ProjectFile] = shipped![
    0o644 ".gitignore",
    0o644 "overboot.schema.json",
    0o644 "provision/base/etc/hosts",
    0o755 "provision/base/etc/rc.local",
    0o755 "provision/base/opt/rc.local.hooks",
    0o755 "provision/base.sh",
    0o755 "overlays/discovery.sh",
    0o644 "overboot.toml",
];
