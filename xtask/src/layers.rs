//! Dependencies go one way: a crate uses its own folder and the folders above it, and no circle closes within a folder
//! (cargo sees to that). And no crate sees what it must not know of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folders, top to bottom. A crate may use those of its own line and of the lines before.
const LAYERS: [&str; 5] = ["formats", "images", "boot", "fleet", "cli"];

/// For tests and chores only: may use everything, and nothing may use it but as a dev-dependency.
const TEST_ONLY: [&str; 4] = ["testkit", "tests", "fuzz", "xtask"];

// Kinds of things that a crate must not see, by the packages that do them.
const ASYNC: &[&str] = &["tokio", "async-std", "smol"];
const HTTP: &[&str] = &["ureq", "hyper", "axum", "reqwest"];
const TLS: &[&str] = &["rustls", "ring", "openssl", "native-tls", "aws-lc-rs"];
const SQL: &[&str] = &["sqlx", "rusqlite", "libsqlite3-sys", "postgres"];
/// What touches the machine: pure crates take bytes.
const MACHINE: &[&str] = &["fs-err", "rustix", "nix", "tempfile", "socket2", "mio"];
/// What speaks to people.
const TERMINAL: &[&str] = &["clap", "indicatif", "anyhow"];

/// What a crate's whole dependency tree must be free of; see the first lines of its `lib.rs`. A folder's line is for all
/// crates in it. Names with `overboot-` are ours.
const FREE_OF: &[(&str, &[&[&str]])] = &[
    ("formats", &[ASYNC, HTTP, TLS, SQL, MACHINE, TERMINAL]),
    ("formats/cpio", &[&["flate2", "zstd", "liblzma"]]),
    ("formats/kmod", &[&["flate2", "zstd", "liblzma"]]),
    ("images", &[ASYNC, SQL, TERMINAL]),
    ("images/recipe", &[HTTP, TLS, &["overboot-archive", "overboot-store"]]),
    ("images/archive", &[&["overboot-recipe", "overboot-rootfs", "overboot-pack"]]),
    ("images/rootfs", &[HTTP, TLS, &["overboot-archive", "overboot-recipe", "overboot-pack"]]),
    (
        "images/pack",
        &[HTTP, TLS, &["overboot-debian", "overboot-recipe", "overboot-store", "overboot-rootfs"]],
    ),
    ("images/bootset", &[HTTP, TLS, MACHINE, &["overboot-store", "minisign"]]),
    ("images/store", &[HTTP, TLS, &["overboot-bootset", "overboot-recipe", "overboot-archive"]]),
    (
        "images/merge",
        &[HTTP, TLS, MACHINE, &["overboot-pack", "overboot-rootfs", "overboot-store"]],
    ),
    (
        "images/registry",
        &[&["overboot-recipe", "overboot-archive", "overboot-rootfs", "overboot-pack"]],
    ),
    ("images/record", &[HTTP, TLS, &["overboot-recipe", "overboot-archive", "overboot-rootfs"]]),
    ("images/inspect", &[HTTP, TLS, &["overboot-recipe", "overboot-archive", "overboot-rootfs"]]),
    (
        "images/contract",
        &[
            HTTP,
            TLS,
            MACHINE,
            &["overboot-recipe", "overboot-archive", "overboot-rootfs", "overboot-store"],
        ],
    ),
    ("images/build", &[]),
    ("boot", &[HTTP, TLS, SQL, TERMINAL]),
    ("boot/wire", &[ASYNC, MACHINE]),
    ("boot/netboot", &[&["overboot-store", "overboot-bootset"]]),
    ("boot/node", &[ASYNC]),
    ("fleet", &[TERMINAL]),
    ("fleet/state", &[HTTP, TLS, &["overboot-workflow", "overboot-power", "overboot-netboot"]]),
    ("fleet/power", &[SQL, &["overboot-state", "overboot-workflow"]]),
    (
        "fleet/vm",
        &[ASYNC, HTTP, TLS, SQL, &["overboot-store", "overboot-bootset", "overboot-state"]],
    ),
    ("fleet/workflow", &[HTTP, TLS, &["overboot-netboot", "overboot-store", "overboot-vm"]]),
    ("fleet/server", &[&["overboot-build", "overboot-vm"]]),
    ("cli", &[]),
];

/// Who alone may name a package as its own dependency: one place for each of these things.
const ONLY: &[(&[&str], &[&str])] = &[
    (SQL, &["overboot-state"]),
    (&["axum", "hyper", "hyper-util", "tower"], &["overboot-server"]),
    (&["ureq"], &["overboot-archive", "overboot-registry"]),
    (&["resolvo"], &["overboot-archive"]),
    (&["pgp"], &["overboot-archive", "overboot-testkit"]),
    (&["minisign"], &["overboot-build"]),
    (&["clap", "indicatif", "tracing-subscriber"], &["overboot"]),
    (&["anyhow"], &["overboot", "xtask"]),
];

pub(crate) fn run() -> Result<()> {
    let metadata = metadata()?;
    let root = PathBuf::from(metadata["workspace_root"].as_str().context("workspace_root")?);
    let mut problems = Vec::new();
    let mut folders = BTreeSet::new();
    let mut names = BTreeSet::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let name = package["name"].as_str().context("a package without a name")?;
        let manifest = package["manifest_path"].as_str().context("a package without a manifest")?;
        let folder = inside(&root, manifest).context("a package outside of the workspace")?;
        problems.extend(direction(&root, &folder, name, package));
        if !TEST_ONLY.contains(&top(&folder)) {
            problems.extend(unseen(&root, &folder, name)?);
        }
        folders.insert(folder);
        names.insert(name);
    }
    for (folder, _) in FREE_OF {
        if !folders.iter().any(|there| is_in(there, folder)) {
            problems.push(format!("xtask/src/layers.rs speaks of {folder}, and no crate is there"));
        }
    }
    // A rule about a crate that has another name by now would hold for ever.
    let spoken_of = FREE_OF.iter().flat_map(|(_, kinds)| kinds.iter().copied().flatten());
    let spoken_of = spoken_of.chain(ONLY.iter().flat_map(|(_, users)| users.iter()));
    for name in spoken_of.filter(|name| name.starts_with("overboot") && !names.contains(**name)) {
        problems.push(format!("xtask/src/layers.rs speaks of {name}, and there is no such crate"));
    }
    if problems.is_empty() {
        println!(
            "layers: {} crates use only what is above them, and see nothing that they must not know",
            folders.len()
        );
        return Ok(());
    }
    bail!("{}", problems.join("\n"));
}

/// What is wrong with the dependencies that a crate names.
fn direction(root: &Path, folder: &str, name: &str, package: &Value) -> Vec<String> {
    let from = top(folder);
    let Some(place) = place(from) else {
        return vec![format!("{name} is in {from}/, which xtask/src/layers.rs does not know")];
    };
    let mut problems = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let used = dependency["name"].as_str().unwrap_or_default();
        let dev = dependency["kind"].as_str() == Some("dev");
        for (_, users) in ONLY
            .iter()
            .filter(|(packages, users)| packages.contains(&used) && !users.contains(&name))
        {
            if !dev && !TEST_ONLY.contains(&from) {
                problems.push(format!("{name} uses {used}, which is for {}", users.join(", ")));
            }
        }
        let Some(to) = dependency["path"]
            .as_str()
            .and_then(|path| inside(root, &format!("{path}/Cargo.toml")))
        else {
            continue;
        };
        if dev || TEST_ONLY.contains(&from) {
            continue;
        }
        let to = top(&to);
        if TEST_ONLY.contains(&to) {
            problems.push(format!("{name} uses {used}, which is for tests"));
        } else if self::place(to).is_none_or(|to| to > place) {
            problems.push(format!("{name} ({from}/) uses {used} ({to}/), which lies below it"));
        }
    }
    problems
}

/// What a crate sees, anywhere in what it is linked with, and must not.
fn unseen(root: &Path, folder: &str, name: &str) -> Result<Vec<String>> {
    let rules: Vec<_> = FREE_OF.iter().filter(|(of, _)| is_in(folder, of)).collect();
    // A folder's rule is not enough where crates differ: each says for itself what it must not know.
    if !rules.iter().any(|(of, _)| *of == folder) && top(folder) != "formats" {
        return Ok(vec![format!("xtask/src/layers.rs does not say what {name} must not see")]);
    }
    let banned: BTreeSet<&str> =
        rules.iter().flat_map(|(_, kinds)| kinds.iter().copied().flatten()).copied().collect();
    let seen = tree(root, name)?;
    let seen = seen.iter().filter(|seen| banned.contains(seen.as_str()));
    Ok(seen.map(|seen| format!("{name} must not see {seen}")).collect())
}

fn metadata() -> Result<Value> {
    let text = cargo(None, &["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    Ok(serde_json::from_str(&text)?)
}

/// The names of all packages that `package` is linked with.
fn tree(root: &Path, package: &str) -> Result<BTreeSet<String>> {
    let words = ["tree", "--locked", "--package", package, "--edges", "normal"];
    let text = cargo(Some(root), &[&words[..], &["--prefix", "none", "--format", "{p}"]].concat())?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn cargo(folder: Option<&Path>, words: &[&str]) -> Result<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(words).current_dir(folder.unwrap_or(Path::new(".")));
    let output = cargo.output().with_context(|| format!("cargo {}", words[0]))?;
    if !output.status.success() {
        bail!("cargo {}: {}", words[0], String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder of a manifest, from the root of the workspace: `images/pack`.
fn inside(root: &Path, manifest: &str) -> Option<String> {
    let folder = Path::new(manifest).strip_prefix(root).ok()?.parent()?;
    folder.to_str().map(str::to_owned)
}

fn is_in(folder: &str, other: &str) -> bool {
    Path::new(folder).starts_with(other)
}

/// `images` of `images/pack`.
fn top(folder: &str) -> &str {
    folder.split('/').next().unwrap_or(folder)
}

fn place(top: &str) -> Option<usize> {
    LAYERS.iter().chain(&TEST_ONLY).position(|layer| *layer == top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(folder: &str, name: &str, dependency: Value) -> Vec<String> {
        direction(Path::new("/w"), folder, name, &json!({ "dependencies": [dependency] }))
    }

    #[test]
    fn what_lies_below_what_is_for_tests_and_what_belongs_to_another_is_told() {
        let store = json!({"name": "overboot-store", "path": "/w/images/store"});
        assert_eq!(wrong("images/build", "overboot-build", store.clone()), [""; 0]);
        assert_eq!(wrong("formats/cpio", "overboot-cpio", store.clone()).len(), 1);
        assert_eq!(wrong("boat/x", "overboot-x", store).len(), 1, "an unknown folder");
        let testkit = |kind: Option<&str>| json!({"name": "overboot-testkit", "path": "/w/testkit", "kind": kind});
        assert_eq!(wrong("cli", "overboot", testkit(None)).len(), 1);
        assert_eq!(wrong("cli", "overboot", testkit(Some("dev"))), [""; 0]);
        let sqlx = json!({"name": "sqlx"});
        assert_eq!(wrong("fleet/server", "overboot-server", sqlx.clone()).len(), 1);
        assert_eq!(wrong("fleet/state", "overboot-state", sqlx), [""; 0]);
    }

    #[test]
    fn what_a_crate_sees_through_others_is_seen() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        // The builder fetches with TLS; a crate that may see none of it would be told so.
        assert!(tree(&root, "overboot-build").unwrap().contains("rustls"));
        assert!(unseen(&root, "images/store", "overboot-build").unwrap().len() >= 2);
        assert_eq!(unseen(&root, "images/new", "overboot-store").unwrap().len(), 1);
    }
}
