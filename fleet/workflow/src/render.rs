//! Templates in options: `{{ options.x || context.y || text }}`.
//!
//! A string that is one placeholder keeps the type of its value; else values are written into the string. Values may
//! hold placeholders themselves. What only the run knows (`context.…`) can be put off. Unlike RackHD's renderer this one
//! does not escape HTML and loses no text around values that are no strings.

use serde_json::{Map, Value};

/// Templates within templates end here; a chain this long is a circle.
const MAX_DEPTH: usize = 50;

/// No rendered string is longer; placeholders must not multiply without bound.
const MAX_LENGTH: usize = 1 << 20;

/// When a template is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// When the graph is made: strings that need `context` stay as they are.
    Creation,
    /// When the task starts: everything must be there.
    Start,
}

/// Renders all strings in `options`. `scope` holds `context`, `server`, `api`, … ; `options` is added to it.
pub(crate) fn options(
    options: &Map<String, Value>,
    scope: &Map<String, Value>,
    when: When,
) -> Result<Map<String, Value>, String> {
    let mut scope = scope.clone();
    scope.insert("options".into(), Value::Object(options.clone()));
    let renderer = Renderer { scope: &scope, when };
    options.iter().map(|(key, value)| Ok((key.clone(), renderer.value(value, 0)?))).collect()
}

struct Renderer<'a> {
    scope: &'a Map<String, Value>,
    when: When,
}

impl Renderer<'_> {
    fn value(&self, value: &Value, depth: usize) -> Result<Value, String> {
        match value {
            Value::String(text) => Ok(self.text(text, depth)?.unwrap_or_else(|| value.clone())),
            Value::Array(list) => list.iter().map(|item| self.value(item, depth)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.value(value, depth)?)))
                .collect::<Result<Map<_, _>, String>>()
                .map(Value::Object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        }
    }

    /// The rendered text; nothing if it has to wait.
    fn text(&self, text: &str, depth: usize) -> Result<Option<Value>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the template {} goes in circles", shorten(text)));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, after)) = after.split_once("}}") else {
                break;
            };
            if !before.is_empty() {
                parts.push(Value::from(before));
            }
            // A triple brace means "not escaped"; here nothing is.
            let inside = inside.strip_prefix('{').unwrap_or(inside);
            let after = after.strip_prefix('}').unwrap_or(after);
            if inside.starts_with(['#', '^', '/', '>', '!']) {
                return Err(format!("sections are not supported: {}", shorten(text)));
            }
            match self.placeholder(inside.trim(), depth)? {
                Some(value) => parts.push(value),
                None => return Ok(None),
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Value::from(rest));
        }
        if let [single] = &parts[..] {
            return Ok(Some(single.clone()));
        }
        let mut joined = String::new();
        for part in &parts {
            match part {
                Value::String(text) => joined.push_str(text),
                other => joined.push_str(&other.to_string()),
            }
            if joined.len() > MAX_LENGTH {
                return Err(format!("the template {} becomes too long", shorten(text)));
            }
        }
        Ok(Some(Value::String(joined)))
    }

    /// The first of the alternatives that exists; nothing if that has to wait for the context.
    fn placeholder(&self, inside: &str, depth: usize) -> Result<Option<Value>, String> {
        for item in inside.split('|').map(str::trim).filter(|item| !item.is_empty()) {
            if !item.contains('.') {
                return Ok(Some(Value::from(item)));
            }
            let from_context = item.starts_with("context.");
            if from_context && self.when == When::Creation {
                return Ok(None);
            }
            let mut path = item.split('.');
            let mut found = path.next().and_then(|first| self.scope.get(first));
            for key in path {
                found = match found {
                    Some(Value::Array(list)) => key.parse().ok().and_then(|i: usize| list.get(i)),
                    Some(value) => value.get(key),
                    None => None,
                };
            }
            match found {
                None | Some(Value::Null) => {}
                // What nodes and jobs have written is data, not a template.
                Some(value) if from_context => return Ok(Some(value.clone())),
                Some(Value::String(text)) => return self.text(text, depth + 1),
                Some(value) => return self.value(value, depth + 1).map(Some),
            }
        }
        Err(format!("Value does not exist for {}", shorten(inside)))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn render(text: &str, when: When) -> Result<Value, String> {
        let scope = map(json!({
            "server": {"port": 9090, "list": ["a", "b"]},
            "file": {"server": "http://10.0.0.1:9090"},
            "context": {"user": "u", "trick": "{{ server.port }}"},
        }));
        let own = map(json!({
            "t": text, "name": "vmlinuz", "null": null,
            "uri": "{{ file.server }}/common/{{ options.name }}",
            "circle": "{{ options.circle }}",
        }));
        let own: Map<String, Value> =
            own.into_iter().filter(|(k, _)| k != "circle" || text.contains("circle")).collect();
        options(&own, &scope, when).map(|all| all["t"].clone())
    }

    #[test]
    fn values_keep_their_type_alone_and_become_text_in_text() {
        let cases = [
            ("{{ server.port }}", json!(9090)),
            ("{{server.list}}", json!(["a", "b"])),
            ("{{ server.list.1 }}", json!("b")),
            ("port {{ server.port }}", json!("port 9090")),
            ("{{ options.uri }}", json!("http://10.0.0.1:9090/common/vmlinuz")),
            ("{{{ options.uri }}}?", json!("http://10.0.0.1:9090/common/vmlinuz?")),
            ("no placeholder }} {{ here", json!("no placeholder }} {{ here")),
            ("", json!("")),
        ];
        for (text, expected) in cases {
            let expected = if text.is_empty() { json!("") } else { expected };
            assert_eq!(render(text, When::Start).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn the_first_alternative_that_exists_is_taken() {
        let cases = [
            ("{{ options.no || server.port }}", json!(9090)),
            ("{{ options.null | monorail }}", json!("monorail")),
            ("{{ context.user || monorail }}", json!("u")),
        ];
        for (text, expected) in cases {
            assert_eq!(render(text, When::Start).unwrap(), expected, "{text}");
        }
        assert!(render("{{ options.no }}", When::Start).unwrap_err().contains("does not exist"));
    }

    #[test]
    fn the_context_is_waited_for() {
        let text = "{{ server.port }} {{ context.user }}";
        assert_eq!(render(text, When::Creation).unwrap(), text);
        assert_eq!(render(text, When::Start).unwrap(), "9090 u");
        assert_eq!(render("{{ server.port || context.x }}", When::Creation).unwrap(), 9090);
    }

    #[test]
    fn the_context_is_data() {
        assert_eq!(render("{{ context.trick }}", When::Start).unwrap(), "{{ server.port }}");
    }

    #[test]
    fn circles_and_sections_are_refused() {
        assert!(render("{{ options.circle }}", When::Start).unwrap_err().contains("circles"));
        assert!(
            render("{{#server.x}}a{{/server.x}}", When::Start).unwrap_err().contains("sections")
        );
    }
}
