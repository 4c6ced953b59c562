//! What a registry wants to know first: the header `WWW-Authenticate` (RFC 9110, 11.6.1). Pure.

use std::collections::BTreeMap;

/// How a registry wants to be told who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By name and password with every request.
    Basic,
    /// By a token that another server gives out.
    Bearer {
        /// That server.
        realm: String,
        /// What to call ourselves a client of.
        service: Option<String>,
    },
}

/// Of the challenges in the headers the one to follow: tokens before passwords; nothing where none is known to us.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let all: Vec<_> = headers.flat_map(parse).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (parameters, after) = parameters(after);
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                let mut parameters = parameters;
                // What the token must be good for is our own business: registries have been seen to name an example's
                // repository there.
                if let Some(realm) = parameters.remove("realm") {
                    found.push(Challenge::Bearer { realm, service: parameters.remove("service") });
                }
            }
            _ => {}
        }
        let after = after.trim_start_matches([' ', ',']);
        // What is not understood must not be looked at for ever.
        if after.len() >= rest.len() {
            break;
        }
        rest = after;
    }
    found
}

/// `name="value", name=value` up to the next challenge; what is left.
fn parameters(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut all = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        let Some((name, after)) = rest.split_once('=') else { return (all, rest) };
        if name.contains(' ') || name.is_empty() {
            return (all, rest);
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        all.insert(name.to_ascii_lowercase(), value);
        rest = after;
    }
}

/// A quoted string behind its first quote; what follows the last.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(headers: &[&str]) -> Option<Challenge> {
        choose(headers.iter().copied())
    }

    #[test]
    fn challenges_are_understood() {
        assert_eq!(chosen(&["Basic realm=\"Registry Realm\""]), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
        };
        let docker = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(chosen(&[docker]), Some(bearer.clone()));
        assert_eq!(chosen(&["Basic realm=x", docker]), Some(bearer.clone()));
        assert_eq!(chosen(&[&format!("Basic realm=\"a, b\", {docker}")]), Some(bearer.clone()));
        assert_eq!(chosen(&[&format!("Negotiate, {docker}, Basic realm=y")]), Some(bearer));
        let quoted = chosen(&[r#"bearer realm="a\"b""#]);
        let realm = "a\"b".to_owned();
        assert_eq!(quoted, Some(Challenge::Bearer { realm, service: None }));
    }

    #[test]
    fn nonsense_ends() {
        for header in [
            "",
            " , ,",
            "Bearer",
            "Bearer realm",
            "=",
            "Basic=",
            "x =y",
            "Bearer service=\"",
            "Digest a=\"\\",
        ] {
            let _ = chosen(&[header]);
        }
        assert_eq!(chosen(&["Bearer service=x", "Digest realm=x"]), None);
    }
}
