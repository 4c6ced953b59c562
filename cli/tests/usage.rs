//! What the program says where there is nothing to build.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::process::{Command, Output};

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
