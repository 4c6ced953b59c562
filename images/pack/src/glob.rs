//! Patterns for paths: `*` and `?` stay within a directory, `**` goes through any number of them.
//!
//! A pattern that matches a directory stands for all below it, so that `var/cache/apt` and `var/cache/apt/**` leave out
//! the same files, the second keeping the directory itself.

use crate::Error;

/// A compiled pattern. A relative path without a leading `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Vec<u8>>,
}

impl Glob {
    /// Reads a pattern; a leading `/` is ignored, a trailing `/` means all below (`kernel/fs/` is `kernel/fs/**`).
    ///
    /// # Errors
    /// [`Error::Pattern`] if it is empty or has an empty part, `.` or `..`.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let bad = |reason| Error::Pattern { pattern: pattern.chars().take(200).collect(), reason };
        let text = pattern.strip_prefix('/').unwrap_or(pattern);
        let (text, below) = text.strip_suffix('/').map_or((text, false), |text| (text, true));
        let mut parts: Vec<Vec<u8>> =
            text.split('/').map(|part| part.as_bytes().to_vec()).collect();
        if parts.iter().any(Vec::is_empty) {
            return Err(bad("empty, or two slashes in a row"));
        }
        if parts.iter().any(|part| part == b"." || part == b"..") {
            return Err(bad("\".\" and \"..\" are not in any path here"));
        }
        if below {
            parts.push(b"**".to_vec());
        }
        parts.dedup_by(|a, b| a == b"**" && b == b"**");
        Ok(Self { parts })
    }

    /// Reads many patterns.
    ///
    /// # Errors
    /// As [`Glob::new`], for the first that is wrong.
    pub fn all<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, Error> {
        patterns.into_iter().map(Self::new).collect()
    }

    /// Whether the whole of `path` matches.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let path: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let mut retry: Option<(usize, usize)> = None;
        let (mut p, mut t) = (0, 0);
        loop {
            match self.parts.get(p) {
                // As the last part `**` wants at least one name: `a/**` is what is below `a`.
                Some(part) if part == b"**" && (p + 1 < self.parts.len() || t < path.len()) => {
                    retry = Some((p, t));
                    p += 1;
                    if p == self.parts.len() {
                        return true;
                    }
                    continue;
                }
                None if t == path.len() => return true,
                Some(part) if path.get(t).is_some_and(|name| one(part, name)) => {
                    p += 1;
                    t += 1;
                    continue;
                }
                Some(_) | None => {}
            }
            match retry {
                Some((star, from)) if from < path.len() => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                Some(_) | None => return false,
            }
        }
    }
}

/// Whether one name matches one part: `*` and `?` only; everything else stands for itself.
fn one(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == name.len() => return true,
            Some(byte) if name.get(t).is_some_and(|other| *byte == b'?' || byte == other) => {
                p += 1;
                t += 1;
                continue;
            }
            Some(_) | None => {}
        }
        match retry {
            Some((after, from)) if from < name.len() => {
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            Some(_) | None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_know_directories() {
        for (pattern, path, want) in [
            ("a", "a", true),
            ("a", "a/b", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("/a/", "a/b", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**/c", "a/x/y/d", false),
            ("a/**/b/**/c", "a/b/x/b/y/c", true),
            ("*.pyc", "x.pyc", true),
            ("*.pyc", "d/x.pyc", false),
            ("**/*.pyc", "d/e/x.pyc", true),
            ("a?c*", "abcdef", true),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
        ] {
            let glob = Glob::new(pattern).unwrap();
            assert_eq!(glob.matches(path.as_bytes()), want, "{pattern} against {path}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "/", "a//b", "../a", "a/./b"] {
            assert!(Glob::new(bad).is_err(), "{bad:?}");
        }
    }
}
