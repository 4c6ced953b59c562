//! The wildcards of `modules.alias`: `*`, `?`, `[a-f0-9]`, `[!x]`, as fnmatch(3) without flags, and libkmod, read them.
//!
//! `-` and `_` are the same outside of brackets, since libkmod converts both patterns and what is looked up.

/// Whether `pattern` matches the whole of `text`. Takes at most `pattern.len() * text.len()` steps.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: the `*` takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let advanced = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(first) => text.get(t).and_then(|byte| one(pattern, p, *first, *byte)),
        };
        match (advanced, retry) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of `pattern` stand for themselves before its first wildcard.
#[must_use]
pub fn literal_length(pattern: &[u8]) -> usize {
    pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[')).unwrap_or(pattern.len())
}

/// `byte`, with `-` as `_`.
pub(crate) fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// If the element of `pattern` at `p`, which starts with `first`, matches `byte`: where the next element starts.
fn one(pattern: &[u8], p: usize, first: u8, byte: u8) -> Option<usize> {
    match first {
        b'?' => Some(p + 1),
        b'[' => match set(pattern, p, byte) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // No closing bracket: the bracket stands for itself, as POSIX says.
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (fold(literal) == fold(byte)).then_some(p + 1),
    }
}

/// The set that starts at `pattern[p]`: whether it holds `byte`, and where it ends. `None` if it does not end.
fn set(pattern: &[u8], p: usize, byte: u8) -> Option<(bool, usize)> {
    let mut at = p + 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let start = at;
    let mut found = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > start {
            return Some((found != negated, at + 1));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                found |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                found |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn wildcards_mean_what_fnmatch_says() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("x[0-9A-F]y", "xBy", true),
            ("x[0-9A-F]y", "xGy", false),
            ("x[!0-9]y", "xay", true),
            ("x[!0-9]y", "x5y", false),
            ("x[]a]y", "x]y", true),
            ("x[a-]y", "x-y", true),
            ("x[ay", "x[ay", true),
            ("x[a", "xa", false),
            ("foo-bar", "foo_bar", true),
            ("foo_*", "foo-bar", true),
            ("usb:v1234p*d*dc*", "usb:v1234p0001d0100dc00", true),
            (
                "pci:v00008086d00001533sv*sd*bc*sc*i*",
                "pci:v00008086d00001533sv0sd0bc02sc00i00",
                true,
            ),
        ] {
            assert_eq!(check(pattern, text), want, "{pattern} against {text}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!check(&pattern, &"a".repeat(20_000)));
    }

    #[test]
    fn literal_beginnings() {
        assert_eq!(literal_length(b"pci:v*"), 5);
        assert_eq!(literal_length(b"plain"), 5);
        assert_eq!(literal_length(b"[ab]"), 0);
    }
}
