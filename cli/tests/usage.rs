//! What the program says where there is nothing to build.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use overboot_store::{ArtifactManifest, Layer, Store};

fn overboot(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overboot"));
    command.args(words).env("OVERBOOT_CACHE", "/nowhere").output().unwrap()
}

#[test]
fn without_arguments_help_goes_where_errors_go() {
    let output = overboot(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Usage: overboot") && said.contains("Begin with: "), "{said}");
    // Who asks for help gets it as the answer.
    let output = overboot(&["--help"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), said.lines().count());
}

#[test]
fn the_schema_is_an_event_for_programs_and_a_schema_for_editors() {
    let schema: serde_json::Value = serde_json::from_slice(&overboot(&["schema"]).stdout).unwrap();
    assert!(schema["$schema"].is_string(), "{schema}");
    let output = overboot(&["schema", "--json"]).stdout;
    assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), 1);
    let event: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(event, serde_json::json!({"event": "schema", "schema": schema}));
}

#[test]
fn a_new_project_leaves_what_is_in_its_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("overboot.new"), "mine").unwrap();
    let init = || overboot(&["init", project.to_str().unwrap()]);
    let output = init();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(project.join("overboot.new")).unwrap(), "mine");
    // Interrupted before its last file, it goes on.
    let recipe = project.join("overboot.toml");
    let whole = std::fs::read(&recipe).unwrap();
    std::fs::remove_file(&recipe).unwrap();
    assert!(init().status.success());
    assert_eq!(std::fs::read(&recipe).unwrap(), whole);
    // A link is somebody's too, wherever it leads.
    std::fs::remove_file(&recipe).unwrap();
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &recipe).unwrap();
    let output = init();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!folder.path().join("nowhere").exists() && recipe.is_symlink());
}

#[test]
fn serve_warns_of_a_graph_that_is_not_there_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever it has.
    let store = Store::open_or_create(folder.path().join("store")).unwrap();
    let layer = Layer::new("x/y", store.put_bytes(b"content").unwrap());
    store.publish("kernel", &ArtifactManifest::new("x/z", layer)).unwrap();
    let said = |serve: &str| {
        let head = "[project]\nname = \"x\"\n[archive]\nsuite = \"trixie\"\n";
        std::fs::write(folder.path().join("overboot.toml"), format!("{head}{serve}")).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_overboot"));
        serve.arg("-C").arg(folder.path()).args(["serve", "--http", "127.0.0.1:0"]);
        let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The address comes last.
        let mut first = String::new();
        BufReader::new(serve.stdout.take().unwrap()).read_line(&mut first).unwrap();
        serve.kill().unwrap();
        let said = serve.wait_with_output().unwrap().stderr;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(first.contains("http://127.0.0.1:"), "it does not serve: {first}{said}");
        said
    };
    let warned = said("[serve]\ndiscovery = 'Graph.Discovry'\n");
    let wanted = "overboot.toml:6:13: there is no graph \"Graph.Discovry\"";
    assert!(warned.contains(wanted), "{warned}");
    assert!(warned.contains("did you mean Graph.Discovery?"), "{warned}");
    for fine in ["", "[serve]\ndiscovery = \"Graph.SKU.Discovery\"\n"] {
        assert!(!said(fine).contains("no graph"), "{fine}");
    }
}
