//! Builds the node program, which `overboot build` puts into every initrd: static, small, from the same sources as the rest.
//!
//! A cargo within cargo, since the node program needs another target directory (its dependencies are linked statically) and
//! another profile. Its target directory lies beside ours, so that it is built once. What it was made from is known from that
//! cargo: a change there, and none elsewhere, runs this again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let own = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = own.parent().unwrap_or(&own);
    // Whoever packages this program for a machine without a second cargo run builds the node program first.
    println!("cargo::rerun-if-env-changed=OVERBOOT_NODE_PROGRAM");
    if let Some(built) = env::var_os("OVERBOOT_NODE_PROGRAM") {
        println!("cargo::rustc-env=OVERBOOT_NODE={}", Path::new(&built).display());
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    // target/PROFILE/build/overboot-HASH/out
    let target_directory = out.ancestors().nth(4).unwrap_or(&out).join("node");
    let triple = variable("TARGET");

    let status = Command::new(variable("CARGO"))
        .current_dir(workspace)
        .args(["build", "--package", "overboot-node", "--bin", "overboot-node"])
        .args(["--profile", "node", "--locked", "--target", &triple, "--target-dir"])
        .arg(&target_directory)
        .env("RUSTFLAGS", flags(workspace))
        // What our own cargo has set for its compilers is not meant for this one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the node program could not be built: {status:?}"
    );
    let built = target_directory.join(&triple).join("node").join("overboot-node");
    println!("cargo::rustc-env=OVERBOOT_NODE={}", built.display());
    for read in read_for(&built, workspace) {
        println!("cargo::rerun-if-changed={}", read.display());
    }
}

/// The files that a program was made from: its sources and those of the crates it uses, as cargo has noted them beside it,
/// and what says how they are built.
fn read_for(program: &Path, workspace: &Path) -> BTreeSet<PathBuf> {
    let noted = program.with_extension("d");
    let text = fs::read_to_string(&noted)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", noted.display()));
    // As make has it: `program: one two`, with a backslash before a space in a name.
    let (_, files) = text.split_once(": ").unwrap_or_default();
    let files = files.replace("\\ ", "\0");
    let sources = files.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " ")));
    let mut read: BTreeSet<PathBuf> =
        ["Cargo.toml", "Cargo.lock", "cli/build.rs"].map(|file| workspace.join(file)).into();
    for source in sources {
        let manifests = source.ancestors().skip(1).map(|folder| folder.join("Cargo.toml"));
        read.extend(manifests.take_while(|file| file.starts_with(workspace)).find(|f| f.exists()));
        read.insert(source);
    }
    read
}

/// Static, and with no path of the machine that built it inside.
fn flags(workspace: &Path) -> String {
    let workspace = workspace.canonicalize().unwrap_or_else(|_| workspace.to_path_buf());
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| home + "/.cargo"));
    format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/overboot --remap-path-prefix={}=/cargo",
        workspace.display(),
        home.unwrap_or_else(|_| "/nonexistent".to_owned()),
    )
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
