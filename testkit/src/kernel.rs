//! Debian's kernel, for machines that boot one; and kernel modules that nobody loads, for those who only read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::run;
use crate::require;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The files of Debian 13's kernel package: those in the directory `OVERBOOT_TEST_KERNEL`, or fetched once with the
/// host's apt from the mirror of its own sources, and kept in `cache` (a test's `CARGO_TARGET_TMPDIR`).
///
/// `None` with a printed reason where neither is possible.
///
/// # Panics
///
/// When the archive cannot be reached, and when something is missing and `CI=true`.
#[must_use]
pub fn debian(cache: &Path) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("OVERBOOT_TEST_KERNEL") {
        return Some(given.into());
    }
    if !(require::programs(&["apt-get", "apt-cache", "dpkg-deb"])
        && require::met(Path::new(KEYRING).is_file(), "needs Debian's archive keyring"))
    {
        return None;
    }
    let base = cache.join("debian-kernel");
    fs::create_dir_all(&base).unwrap();
    let lock = fs::File::create(base.join("lock")).unwrap();
    lock.lock().unwrap();
    let root = base.join("root");
    if !root.is_dir() {
        fetch(&base, &root);
    }
    Some(root)
}

fn fetch(base: &Path, root: &Path) {
    let work = tempfile::tempdir_in(base).unwrap();
    let dir = work.path();
    for sub in ["lists/partial", "archives/partial", "deb"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::write(dir.join("status"), "").unwrap();
    let source = format!("deb [signed-by={KEYRING}] {} trixie main\n", mirror());
    fs::write(dir.join("sources.list"), source).unwrap();
    let at = dir.display();
    let config = format!(
        "Dir::State \"{at}\";\nDir::State::lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
         Dir::Cache \"{at}\";\nDir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    );
    let config_file = dir.join("apt.conf");
    fs::write(&config_file, config).unwrap();
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("APT_CONFIG", &config_file).current_dir(dir.join("deb"));
        run(&mut command)
    };
    apt("apt-get", &["update"]);
    let depends = apt("apt-cache", &["depends", "linux-image-amd64"]);
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).unwrap();
    apt("apt-get", &["download", package]);
    let deb = fs::read_dir(dir.join("deb")).unwrap().next().unwrap().unwrap().path();
    let unpacked = dir.join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked));
    fs::rename(unpacked, root).unwrap();
}

/// The mirror of the host's own apt sources if it is a Debian one.
fn mirror() -> String {
    let mut files: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.push("/etc/apt/sources.list".into());
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .unwrap_or_else(|| "http://ftp.debian.org/debian".to_owned())
}

/// A kernel module as far as `.modinfo` goes, where each `key=value` ends with a NUL: a relocatable ELF-64 file with that
/// section and one of names.
#[must_use]
pub fn module(information: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0; 64];
    let mut headers = vec![0; 64];
    for (name, content) in [(1u32, information), (10, &names[..])] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4] = 1;
        header[0x18..0x20].copy_from_slice(&(file.len() as u64).to_le_bytes());
        header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
        headers.extend(header);
        file.extend(content);
    }
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let at = file.len() as u64;
    file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
    for (at, number) in [(0x10, 1u16), (0x12, 62), (0x34, 64), (0x3a, 64), (0x3c, 3), (0x3e, 2)] {
        file[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    file.extend(headers);
    file
}
