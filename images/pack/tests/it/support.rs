//! What the tests share: whether this machine can run them, Debian's kernel, programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether `holds`; if not, prints what is missing, and fails where `CI=true`.
pub(crate) fn met(holds: bool, what: &str) -> bool {
    if !holds {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this test needs {what}");
        eprintln!("skipped: this test needs {what}");
    }
    holds
}

/// Whether we are root.
pub(crate) fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "root")
}

/// Whether the programs are installed.
pub(crate) fn programs(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    names.iter().all(|name| met(paths.iter().any(|dir| dir.join(name).is_file()), name))
}

/// Runs a program to its end and returns what it printed; panics with its complaints if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The files of Debian 13's kernel package: those in `OVERBOOT_TEST_KERNEL`, or fetched once with the host's apt.
pub(crate) fn debian_kernel() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("OVERBOOT_TEST_KERNEL") {
        return Some(given.into());
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if !(programs(&["apt-get", "apt-cache", "dpkg-deb"])
        && met(Path::new(keyring).is_file(), "debian-archive-keyring"))
    {
        return None;
    }
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-kernel");
    fs_err::create_dir_all(&base).unwrap();
    let lock = fs_err::File::create(base.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let root = base.join("root");
    if !root.is_dir() {
        fetch(&base, keyring, &root);
    }
    Some(root)
}

fn fetch(base: &Path, keyring: &str, root: &Path) {
    let work = tempfile::tempdir_in(base).unwrap();
    let dir = work.path();
    for sub in ["lists/partial", "archives/partial", "deb"] {
        fs_err::create_dir_all(dir.join(sub)).unwrap();
    }
    fs_err::write(dir.join("status"), "").unwrap();
    let source = format!("deb [signed-by={keyring}] {} trixie main\n", mirror());
    fs_err::write(dir.join("sources.list"), source).unwrap();
    let at = dir.display();
    let config = format!(
        "Dir::State \"{at}\";\nDir::State::lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
         Dir::Cache \"{at}\";\nDir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    );
    let config_file = dir.join("apt.conf");
    fs_err::write(&config_file, config).unwrap();
    run(Command::new("apt-get").arg("update").env("APT_CONFIG", &config_file));
    let depends = run(Command::new("apt-cache")
        .args(["depends", "linux-image-amd64"])
        .env("APT_CONFIG", &config_file));
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).unwrap();
    run(Command::new("apt-get")
        .args(["download", package])
        .env("APT_CONFIG", &config_file)
        .current_dir(dir.join("deb")));
    let deb = fs_err::read_dir(dir.join("deb")).unwrap().next().unwrap().unwrap().path();
    let unpacked = dir.join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked));
    fs_err::rename(unpacked, root).unwrap();
}

/// The mirror of the host's own apt sources if it is a Debian one.
fn mirror() -> String {
    let fallback = "http://ftp.debian.org/debian".to_owned();
    let Ok(sources) = fs_err::read_dir("/etc/apt/sources.list.d") else { return fallback };
    let mut files: Vec<PathBuf> = sources.flatten().map(|entry| entry.path()).collect();
    files.push("/etc/apt/sources.list".into());
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let words: Vec<String> = texts
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    words
        .into_iter()
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .unwrap_or(fallback)
}
