//! Dependencies go one way: a crate uses its own folder and the folders above it, and no circle closes within a folder
//! (cargo sees to that).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folders, top to bottom. A crate may use those of its own line and of the lines before.
const LAYERS: [&str; 5] = ["formats", "images", "boot", "fleet", "cli"];

/// What a folder above may use of one below, with the reason. None should be added without one.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// For tests only: may use everything, and nothing may use it but as a dev-dependency.
const TEST_ONLY: [&str; 3] = ["testkit", "tests", "xtask"];

/// Nothing asynchronous, no SQL and no TLS: what a crate's whole dependency tree must be free of.
const FREE_OF: [(&str, &[&str]); 2] = [
    ("overboot-node", &["tokio", "sqlx", "rustls", "ureq", "axum"]),
    ("overboot-build", &["tokio", "sqlx", "axum"]),
];

pub(crate) fn run() -> Result<()> {
    let metadata = metadata()?;
    let root = PathBuf::from(metadata["workspace_root"].as_str().context("workspace_root")?);
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let Some(from) = folder(&root, package["manifest_path"].as_str()) else { continue };
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(path) = dependency["path"].as_str() else { continue };
            let Some(to) = folder(&root, Some(&format!("{path}/Cargo.toml"))) else { continue };
            let used = dependency["name"].as_str().unwrap_or_default();
            let test_only = TEST_ONLY.contains(&to.as_str());
            let dev = dependency["kind"].as_str() == Some("dev");
            if test_only && !dev && !TEST_ONLY.contains(&from.as_str()) {
                problems.push(format!("{name} uses {used}, which is for tests"));
            }
            if dev || test_only || TEST_ONLY.contains(&from.as_str()) {
                continue;
            }
            if place(&to) > place(&from) && !EXCEPTIONS.contains(&(name, used)) {
                problems.push(format!("{name} ({from}/) uses {used} ({to}/), which lies below it"));
            }
        }
    }
    for (package, banned) in FREE_OF {
        problems.extend(
            tree(&root, package)?
                .iter()
                .filter(|name| banned.contains(&name.as_str()))
                .map(|name| format!("{package} must not see {name}")),
        );
    }
    if problems.is_empty() {
        println!("layers: every crate uses only what is above it");
        return Ok(());
    }
    bail!("{}", problems.join("\n"));
}

fn metadata() -> Result<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The names of all packages that `package` is linked with.
fn tree(root: &Path, package: &str) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}"])
        .output()
        .context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The top folder that a manifest is in.
fn folder(root: &Path, manifest: Option<&str>) -> Option<String> {
    let inside = Path::new(manifest?).strip_prefix(root).ok()?;
    Some(inside.components().next()?.as_os_str().to_str()?.to_owned())
}

fn place(folder: &str) -> usize {
    LAYERS.iter().position(|layer| *layer == folder).unwrap_or(LAYERS.len())
}
