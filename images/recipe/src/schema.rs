//! The JSON Schema of `overboot.toml`: an editor that knows JSON Schema completes and checks a recipe with it.

/// The schema as JSON, indented, with a line end at its end.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(crate::manifest::Manifest);
    // A schema is a JSON value already.
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text + "\n"
}
