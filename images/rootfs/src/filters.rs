//! dpkg's `path-exclude` and `path-include` (dpkg(1)).

/// Which paths of a package are left out. The last pattern that matches a path decides, as in dpkg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<(bool, String)>);

impl Filters {
    /// These, and after them `exclude`, with its exceptions in `include`.
    #[must_use]
    pub fn and(mut self, exclude: &[String], include: &[String]) -> Self {
        self.0.extend(exclude.iter().map(|pattern| (false, pattern.clone())));
        self.0.extend(include.iter().map(|pattern| (true, pattern.clone())));
        self
    }

    /// Is nothing left out?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a file for `/etc/dpkg/dpkg.cfg.d/`, so that dpkg on the node keeps to the same rule.
    #[must_use]
    pub fn to_dpkg_cfg(&self) -> String {
        let line = |(include, pattern): &(bool, String)| {
            format!("path-{}={pattern}\n", if *include { "include" } else { "exclude" })
        };
        self.0.iter().map(line).collect()
    }

    /// Is `path` (from the root, with a leading `/`) left out? `folder_like`: it is a directory or a symbolic link, which dpkg
    /// keeps where an include may bring back something beneath it.
    #[must_use]
    pub fn skips(&self, path: &str, folder_like: bool) -> bool {
        let mut skip = false;
        for (include, pattern) in &self.0 {
            if glob(pattern.as_bytes(), path.as_bytes()) {
                skip = !include;
            }
        }
        skip && !(folder_like && self.0.iter().any(|(include, p)| *include && may_hold(p, path)))
    }
}

/// May the include `pattern` match something beneath `path`? dpkg compares the text before the first wildcard.
fn may_hold(pattern: &str, path: &str) -> bool {
    let literal = &pattern[..pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len())];
    path.starts_with(literal.trim_end_matches('/'))
}

/// fnmatch(3) without flags, as dpkg calls it: `*` and `?` match `/` too.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // The usual two-pointer walk: on a mismatch, the last `*` takes one more byte. Linear in practice, never exponential.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if p < pattern.len()
            && let Some(width) = one(&pattern[p..], text[t])
        {
            p += width;
            t += 1;
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            _ => return false,
        }
    }
}

/// The length of the pattern element that begins `pattern`, if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
            let start = if negated { 2 } else { 1 };
            // A `]` that comes first stands for itself.
            let end = (start + 1..pattern.len()).find(|&at| pattern[at] == b']');
            let Some(end) = end else { return (byte == b'[').then_some(1) };
            let set = &pattern[start..end];
            let mut found = false;
            let mut at = 0;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == b'-' {
                    found |= (set[at]..=set[at + 2]).contains(&byte);
                    at += 3;
                } else {
                    found |= set[at] == byte;
                    at += 1;
                }
            }
            (found != negated).then_some(end + 1)
        }
        literal => (literal == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_fnmatch_does() {
        let yes = [
            ("/usr/share/doc/*", "/usr/share/doc/a/b"),
            ("*", ""),
            ("/a?c", "/abc"),
            ("/[a-c]x", "/bx"),
            ("/[!a]x", "/bx"),
            ("/\\*", "/*"),
            ("*a*b*c", "xxaybzzc"),
            ("[]]", "]"),
            ("[", "["),
        ];
        for (pattern, text) in yes {
            assert!(glob(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("/a", "/ab"), ("/a?", "/a"), ("/[a-c]", "/d"), ("*b", "abc"), ("", "a")]
        {
            assert!(!glob(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn the_last_match_wins_and_folders_of_included_files_stay() {
        let filters = Filters::default()
            .and(&["/usr/share/doc/*".to_owned()], &["/usr/share/doc/*/copyright".to_owned()]);
        assert!(filters.skips("/usr/share/doc/less/README", false));
        assert!(!filters.skips("/usr/share/doc/less/copyright", false));
        assert!(!filters.skips("/usr/share/doc/less", true), "holds a copyright");
        assert!(!filters.skips("/usr/share/man/man1/less.1", false));
        assert_eq!(
            filters.to_dpkg_cfg(),
            "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n"
        );
    }
}
