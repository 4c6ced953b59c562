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

/// A part of a recipe that ships, and that a project takes if it wants it.
#[derive(Debug, Clone, Copy)]
pub struct Extra {
    /// The image that it is about.
    pub name: &'static str,
    /// Its part of the recipe; it goes behind what is there.
    pub recipe: &'static str,
    /// The files that it needs.
    pub files: &'static [ProjectFile],
}

macro_rules! extra {
    ($name:literal $(, $mode:literal $path:literal from $source:literal)*) => {
        Extra {
            name: $name,
            recipe: include_str!(concat!("../../../recipes/extras/", $name, ".toml")),
            files: &[$(ProjectFile {
                path: $path,
                mode: $mode,
                contents: include_str!(concat!("../../../recipes/extras/", $source)),
            }),*],
        }
    };
}

/// What `overboot init --with NAME` adds: on-imagebuilder's other images.
pub const EXTRAS: &[Extra] = &[
    extra!("base-full"),
    extra!("secure-erase"),
    extra!("raid"),
    extra!("dell-raid"),
    extra!("intel-flash"),
    extra!(
        "quanta-flash",
        0o755 "overlays/quanta-flash/before.sh" from "quanta-flash/before.sh",
        0o755 "overlays/quanta-flash/driver.sh" from "quanta-flash/driver.sh",
        0o755 "overlays/quanta-flash/root/opt/rc.local.hooks" from "quanta-flash/root/opt/rc.local.hooks"
    ),
];

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
