//! RackHD's list queries: criteria, `sort`, `$skip` and `$top` (rackhd: sails-mongo 0.11).

use std::cmp::Ordering;

use serde_json::Value;

use crate::http::error::{ApiError, ApiResult};

/// How a list is filtered, ordered and cut, from the query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Criteria {
    /// Field and the values that will do. One value: whole, without case, `%` stands for anything. Several: exactly.
    matches: Vec<(String, Vec<String>)>,
    sort: Option<(String, Direction)>,
    skip: usize,
    top: Option<usize>,
    /// Whether `$skip` or `$top` was given.
    paged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Criteria {
    /// Reads the pairs of a query; `declared` are parameters of the call itself.
    pub(crate) fn read(query: &[(String, String)], declared: &[&str]) -> ApiResult<Self> {
        let mut criteria = Self::default();
        for (name, value) in query {
            match name.as_str() {
                "sort" => criteria.sort = Some(direction(value)),
                "$skip" => criteria.skip = count(name, value)?,
                "$top" => criteria.top = Some(count(name, value)?),
                name if declared.contains(&name) => {}
                name => match criteria.matches.iter_mut().find(|(field, _)| field == name) {
                    Some((_, values)) => values.push(value.clone()),
                    None => criteria.matches.push((name.to_owned(), vec![value.clone()])),
                },
            }
            criteria.paged |= name == "$skip" || name == "$top";
        }
        Ok(criteria)
    }

    /// Keeps what matches.
    pub(crate) fn filter<T>(&self, list: Vec<T>, document: impl Fn(&T) -> Value) -> Vec<T> {
        if self.matches.is_empty() {
            return list;
        }
        list.into_iter().filter(|item| self.holds(&document(item))).collect()
    }

    fn holds(&self, document: &Value) -> bool {
        self.matches.iter().all(|(field, values)| {
            let pointer = format!("/{}", field.replace('.', "/"));
            let actual = document.pointer(&pointer).unwrap_or(&Value::Null);
            match (actual, values.as_slice()) {
                (Value::Array(list), [wanted]) => {
                    list.iter().any(|item| like(&plain(item), wanted))
                }
                (actual, [wanted]) => like(&plain(actual), wanted),
                (actual, wanted) => wanted.contains(&plain(actual)),
            }
        })
    }

    /// Orders a list of rendered documents.
    pub(crate) fn sort(&self, list: &mut [Value]) {
        let Some((field, direction)) = &self.sort else { return };
        list.sort_by(|a, b| {
            let order = compare(&a[field.as_str()], &b[field.as_str()]);
            match direction {
                Direction::Up => order,
                Direction::Down => order.reverse(),
            }
        });
    }

    /// The page that was asked for, and the `Link` header (RFC 8288) to the others; `path` is that of the list.
    pub(crate) fn page(&self, path: &str, list: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let total = list.len();
        let top = self.top.unwrap_or(total).max(1);
        let link = (self.paged && top < total).then(|| {
            let last = (total - 1) / top * top;
            let mut links = vec![("first", 0), ("last", last)];
            if self.skip > 0 {
                links.push(("prev", self.skip.saturating_sub(top)));
            }
            if self.skip + top < total {
                links.push(("next", self.skip + top));
            }
            let link = |(rel, skip)| format!("<{path}?$skip={skip}&$top={top}>; rel=\"{rel}\"");
            links.into_iter().map(link).collect::<Vec<_>>().join(", ")
        });
        let top = self.top.unwrap_or(total);
        (list.into_iter().skip(self.skip).take(top).collect(), link)
    }
}

fn direction(value: &str) -> (String, Direction) {
    // A plus sign in a query reads as a blank.
    let value = value.trim_start_matches([' ', '+']);
    match value.strip_prefix('-') {
        Some(field) => (field.to_owned(), Direction::Down),
        None => (value.to_owned(), Direction::Up),
    }
}

fn count(name: &str, value: &str) -> ApiResult<usize> {
    value
        .parse::<u32>()
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| ApiError::bad_request(format!("{name} must be a number, not \"{value}\"")))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => plain(a).to_uppercase().cmp(&plain(b).to_uppercase()),
    }
}

/// SQL's `LIKE` with `%` only, without regard to case.
fn like(text: &str, pattern: &str) -> bool {
    let text = text.to_lowercase();
    let pattern = pattern.to_lowercase();
    let mut parts = pattern.split('%');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn criteria(query: &[(&str, &str)]) -> Criteria {
        let query: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Criteria::read(&query, &["active"]).unwrap()
    }

    #[test]
    fn like_knows_case_and_wildcards() {
        for (text, pattern, expected) in [
            ("Compute", "compute", true),
            ("compute", "comp", false),
            ("compute", "comp%", true),
            ("compute", "%put%", true),
            ("compute", "%te", true),
            ("compute", "c%p%e", true),
            ("compute", "c%x%e", false),
            ("a", "a%a", false),
            ("", "%", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn one_value_is_a_pattern_and_several_are_a_set() {
        let node = json!({"type": "compute", "identifiers": ["aa", "bb"], "a": {"b": 1}});
        assert!(criteria(&[("type", "COMP%"), ("active", "true")]).holds(&node));
        assert!(criteria(&[("identifiers", "bb")]).holds(&node));
        assert!(criteria(&[("a.b", "1")]).holds(&node));
        assert!(criteria(&[("type", "switch"), ("type", "compute")]).holds(&node));
        assert!(!criteria(&[("type", "switch"), ("type", "COMPUTE")]).holds(&node));
        assert!(!criteria(&[("missing", "x")]).holds(&node));
    }

    #[test]
    fn lists_are_sorted_and_cut_with_links() {
        let mut list: Vec<Value> = ["b", "C", "a"].iter().map(|n| json!({ "n": n })).collect();
        criteria(&[("sort", "-n")]).sort(&mut list);
        assert_eq!(list[0]["n"], "C");
        let page = criteria(&[("$skip", "1"), ("$top", "1"), ("sort", " n")]);
        page.sort(&mut list);
        let (cut, link) = page.page("/api/2.0/nodes", list);
        assert_eq!(cut, [json!({"n": "b"})]);
        assert_eq!(
            link.unwrap(),
            "</api/2.0/nodes?$skip=0&$top=1>; rel=\"first\", </api/2.0/nodes?$skip=2&$top=1>; rel=\"last\", \
             </api/2.0/nodes?$skip=0&$top=1>; rel=\"prev\", </api/2.0/nodes?$skip=2&$top=1>; rel=\"next\""
        );
    }

    #[test]
    fn a_count_that_is_none_is_refused() {
        let query = [("$top".to_owned(), "many".to_owned())];
        assert!(Criteria::read(&query, &[]).is_err());
    }
}
