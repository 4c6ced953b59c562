//! The program, and a project whose images it has built from the real archive: built once for every test of every binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use overboot_digest::Digest;

use crate::program::run;

/// The program under test: the one that `OVERBOOT_PROGRAM` names, otherwise the one that was built beside the running test.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn overboot() -> PathBuf {
    if let Some(program) = std::env::var_os("OVERBOOT_PROGRAM") {
        return program.into();
    }
    let program = above_the_test(2).join("overboot");
    assert!(
        program.is_file(),
        "{} is not there: run `cargo build --release -p overboot` first",
        program.display()
    );
    program
}

/// Packages from the real archive, kept from one run to the next.
#[must_use]
pub fn cache() -> PathBuf {
    above_the_test(3).join("test-cache")
}

/// The built-in project with all its images, made by the program under test. The first call of all takes a minute or more;
/// with another program it is made anew. It is shared: whoever builds in it holds [`exclusive`].
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn project() -> &'static Path {
    static PROJECT: OnceLock<PathBuf> = OnceLock::new();
    PROJECT.get_or_init(|| {
        // For work on tests: a project that is built already.
        if let Some(project) = std::env::var_os("OVERBOOT_TEST_PROJECT") {
            return project.into();
        }
        let _lock = exclusive();
        let folder = shared().join("project");
        let marker = shared().join("project.built-by");
        let program = overboot();
        let digest = Digest::of(fs::read(&program).unwrap()).to_string();
        if fs::read_to_string(&marker).is_ok_and(|built_by| built_by == digest) {
            return folder;
        }
        let _ = fs::remove_file(&marker);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        run(Command::new(&program).arg("init").arg(&folder));
        run(Command::new(&program).arg("-C").arg(&folder).arg("--cache").arg(cache()).arg("build"));
        fs::write(&marker, digest).unwrap();
        folder
    })
}

/// Nobody else makes or changes the shared project while this is held.
///
/// # Panics
///
/// When the lock cannot be had.
#[must_use]
pub fn exclusive() -> File {
    fs::create_dir_all(shared()).unwrap();
    let lock = File::create(shared().join("project.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// What tests share: cargo's own folder for them (`CARGO_TARGET_TMPDIR`).
fn shared() -> PathBuf {
    above_the_test(3).join("tmp")
}

/// Tests are `target/PROFILE/deps/NAME-HASH`.
fn above_the_test(levels: usize) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(levels).unwrap().to_owned()
}
