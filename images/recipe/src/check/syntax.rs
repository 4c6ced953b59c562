//! What TOML and serde complain of: said in words of recipes, with what to write.

use std::ops::Range;
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::manifest::Manifest;
use crate::near::near;

/// Their complaint about the recipe `text`.
pub(super) fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Diagnostic {
    let said = error.message().trim_end();
    let written = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    // What is longer is no word to be repeated.
    let written =
        Some(written).filter(|text| !text.is_empty() && text.len() <= 40 && !text.contains('\n'));
    let (what, expected) = said.split_once(", expected ").unwrap_or((said, ""));
    let (message, help) = if what.starts_with("unknown field") {
        unknown_key(what, expected)
    } else if what.starts_with("missing field") {
        missing_key(quoted(what))
    } else if let Some(found) = what.strip_prefix("invalid type: ") {
        wrong_type(found, expected, written)
    } else if let Some(found) = what.strip_prefix("invalid value: ") {
        wrong_type(found, expected, written)
    } else if what.starts_with("invalid length") {
        wrong_type("sequence", expected, None)
    } else if is_bare(what) {
        bare_word(text, error.span(), written)
    } else {
        no_toml(what, expected, written)
    };
    Diagnostic::at(path, text, error.span(), message).help(help)
}

/// The first word in backticks.
fn quoted(said: &str) -> &str {
    said.split('`').nth(1).unwrap_or_default()
}

/// A key that its table does not have: the near one, or all that it has.
fn unknown_key(what: &str, expected: &str) -> (String, String) {
    let unknown = quoted(what);
    let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let help = match near(unknown, keys.iter().copied()).first() {
        Some(name) => format!("write `{name}`"),
        None => format!("the keys of this table are: {}", keys.join(", ")),
    };
    (format!("there is no key `{unknown}` in this table"), help)
}

/// A key that its table must have.
fn missing_key(key: &str) -> (String, String) {
    let help = match key {
        "project" => "write [project], and below it name = \"my-images\"",
        "archive" => "write [archive], and below it suite = \"trixie\"",
        "suite" => "write suite = \"trixie\", or another release of Debian's or Ubuntu's",
        "file" => "write file = \"vendor/tool\": where in the project it is put",
        "from" => "write from = \"…\": where to get it, in words",
        "include" => "write include = [\"kernel/drivers/net/**\"]",
        "modules" => "write modules = [\"kernel/drivers/net/ethernet/**\"]",
        _ => "",
    };
    let help = if help.is_empty() { format!("write {key} = \"…\"") } else { help.to_owned() };
    (format!("`{key}` is missing in this table"), help)
}

/// A value of another type than its key's.
fn wrong_type(found: &str, expected: &str, written: Option<&str>) -> (String, String) {
    let found = found.split(' ').next().unwrap_or_default();
    let kind = match found {
        "string" => "a text",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "map" => "a table",
        "sequence" => "a list",
        _ => "a value of another kind",
    };
    // serde takes a list for a table of so many values.
    let header = found == "map" && written.is_some_and(|text| text.starts_with("[["));
    let expected = if header { "struct" } else { expected };
    let found = if header { "sequence" } else { found };
    let kind = if header { "a list" } else { kind };
    let plain = written.filter(|_| !matches!(found, "map" | "sequence"));
    let or = |example: &str, made: fn(&str) -> String| {
        format!("write {}", plain.map_or_else(|| example.to_owned(), made))
    };
    let (wanted, help) = match expected {
        "a string" => ("a text", or("\"…\"", |text| format!("\"{text}\""))),
        "a boolean" => ("true or false", "write true or false, without quotes".to_owned()),
        "a sequence" if found == "map" => {
            ("a list of tables", "write its header with two brackets: [[…]]".to_owned())
        }
        "a sequence" => ("a list", or("[…]", |text| format!("[{text}]"))),
        "i64" => ("a number", "write a whole number".to_owned()),
        _ if found == "sequence" => {
            ("one table", "write its header with one bracket, […], or { key = … }".to_owned())
        }
        _ if expected == "a map" || expected.starts_with("struct") => {
            ("a table", "write { key = … }, or a table with a header of its own".to_owned())
        }
        other => (other, format!("write {other}")),
    };
    (format!("here is {kind}, and {wanted} is wanted"), help)
}

/// Is a word without quotes what they complain of?
fn is_bare(what: &str) -> bool {
    let complaints = [
        "string values must be quoted",
        "invalid boolean",
        "invalid integer",
        "invalid float",
        "invalid date-time",
    ];
    complaints.iter().any(|complaint| what.starts_with(complaint))
}

/// A word without quotes at `span`: what its key wants is what is no mistake there.
fn bare_word(text: &str, span: Option<Range<usize>>, written: Option<&str>) -> (String, String) {
    let fits = |value: &str| {
        let Some(span) = span.clone() else { return true };
        let (Some(before), Some(after)) = (text.get(..span.start), text.get(span.end..)) else {
            return true;
        };
        let tried = format!("{before}{value}{after}");
        let error = toml::from_str::<Manifest>(&tried).err().and_then(|error| error.span());
        error.is_none_or(|error| error.start != span.start)
    };
    let quoted = written.filter(|text| !text.contains('"'));
    let quoted = quoted.map_or_else(|| "\"…\"".to_owned(), |text| format!("\"{text}\""));
    let forms = [
        ("\"\"", quoted.as_str()),
        ("true", "true or false, without quotes"),
        ("1", "a number, in digits alone"),
    ];
    let fitting: Vec<&str> =
        forms.iter().filter(|(value, _)| fits(value)).map(|(_, form)| *form).collect();
    let message = if fitting.first() == Some(&quoted.as_str()) {
        "a text stands in quotes"
    } else {
        "this is no value"
    };
    let form = if fitting.is_empty() { quoted } else { fitting.join(", or ") };
    (message.to_owned(), format!("write {form}"))
}

/// What is not TOML.
fn no_toml(what: &str, expected: &str, written: Option<&str>) -> (String, String) {
    let begins = |words: &[&str]| words.iter().any(|word| what.starts_with(word));
    if begins(&["duplicate key"]) {
        let key = written.unwrap_or("this key");
        let help = "write it once; of a list of tables, each has a header with two brackets: [[…]]";
        return (format!("{key} is there already"), help.to_owned());
    }
    if begins(&["cannot extend"]) {
        let help = "write all of it in one place: a table with a header, or { key = … }";
        return (what.to_owned(), help.to_owned());
    }
    if begins(&["missing escaped value"]) || expected.contains("`\\`") {
        let help = "write \\\\ for a backslash, or the text in single quotes: 'C:\\x'";
        return ("a backslash begins a character that cannot be typed".to_owned(), help.to_owned());
    }
    let help = match expected {
        "" => "write it as toml.io describes it".to_owned(),
        "nothing" => "leave it out".to_owned(),
        _ => {
            let wanted = expected.split(", ").map(|one| match one {
                "newline" => "a new line",
                "key" => "key = value",
                "value" => "a value: \"text\", a number, true, false, […] or {…}",
                other => other,
            });
            format!("write {}", wanted.collect::<Vec<_>>().join(" or "))
        }
    };
    (what.to_owned(), help)
}
