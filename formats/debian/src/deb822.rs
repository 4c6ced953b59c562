//! Control stanzas (*paragraphs* in Debian Policy 5.1, `deb822(5)`), read without copying.
//!
//! ```
//! let text = "Package: a\nDescription: short\n long\n .\n more\n\nPackage: b\n";
//! let stanzas: Vec<_> = overboot_debian::deb822::stanzas(text).collect::<Result<_, _>>()?;
//! assert_eq!(stanzas[0].get("description"), Some("short\n long\n .\n more"));
//! assert_eq!(stanzas[1].get("Package"), Some("b"));
//! # Ok::<(), overboot_debian::deb822::Error>(())
//! ```

/// The most fields that one stanza may have; Debian's largest have about 40.
const MAX_FIELDS: usize = 256;

/// One stanza: its fields in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
    line: usize,
}

/// Why a text is not made of stanzas. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is neither `Name: value` nor the continuation of one.
    #[error("line {line}: \"{text}\" is neither \"Name: value\" nor a continuation line")]
    NotAField {
        /// Where.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// A continuation line (one that starts with a space or a tab) that follows no field.
    #[error("line {line}: a continuation line without a field before it")]
    Continuation {
        /// Where.
        line: usize,
    },
    /// A field appears twice in a stanza; Policy 5.1 forbids it, and readers differ in which they take.
    #[error("line {line}: the field {name} appears a second time in its stanza")]
    Duplicate {
        /// Where the second one is.
        line: usize,
        /// The name as written there.
        name: String,
    },
    /// A stanza has more fields than are believed.
    #[error("line {line}: a stanza with more than {MAX_FIELDS} fields")]
    TooManyFields {
        /// Where the stanza starts.
        line: usize,
    },
    /// One stanza was wanted, and there is none or there are more.
    #[error("{found} where exactly one was wanted")]
    NotSingle {
        /// What is there instead.
        found: &'static str,
    },
}

impl<'a> Stanza<'a> {
    /// The value of a field, whatever the case its name is written in.
    ///
    /// Without the blanks around it; the lines of a multi-line value are kept as they are written,
    /// each after the first with its leading blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|&(_, value)| value)
    }

    /// Names and values in the order of the text.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        self.fields.iter().copied()
    }

    /// The line on which the stanza starts, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }
}

/// All stanzas of a text.
///
/// Stanzas are separated by lines that are empty or blank; lines that start with `#` are comments.
/// After an error there is nothing more.
#[must_use]
pub fn stanzas(text: &str) -> Stanzas<'_> {
    Stanzas { rest: text, line: 0 }
}

/// The only stanza of a text, such as a package's `control`.
///
/// # Errors
/// What [`stanzas`] refuses, no stanza, or more than one.
pub fn single(text: &str) -> Result<Stanza<'_>, Error> {
    let mut all = stanzas(text);
    let first = all.next().ok_or(Error::NotSingle { found: "no stanza" })??;
    match all.next() {
        None => Ok(first),
        Some(Ok(_)) => Err(Error::NotSingle { found: "several stanzas" }),
        Some(Err(error)) => Err(error),
    }
}

/// The iterator of [`stanzas`].
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    rest: &'a str,
    /// The number of lines taken so far.
    line: usize,
}

impl<'a> Stanzas<'a> {
    /// The next line without its end, and whether there is one.
    fn take_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        // Lists have two million lines, and the standard library looks for their ends more slowly.
        let end = memchr::memchr(b'\n', self.rest.as_bytes());
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, ""),
        };
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// Takes the continuation lines of a value that started with `first`.
    fn value(&mut self, first: &'a str, text: &'a str) -> &'a str {
        // `text` is all from `first` on, so that the value can be one slice of it.
        let mut length = first.len();
        while self.rest.starts_with([' ', '\t']) && !starts_with_blank_line(self.rest) {
            let Some(line) = self.take_line() else { break };
            length += 1 + line.len();
        }
        let value = text.get(..length).unwrap_or(first);
        value.trim_start_matches([' ', '\t']).trim_ascii_end()
    }

    fn stanza(&mut self) -> Result<Option<Stanza<'a>>, Error> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let mut start = 0;
        loop {
            let before = self.rest;
            let Some(line) = self.take_line() else { break };
            if line.starts_with('#') {
                continue;
            }
            if line.trim_ascii().is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            if line.starts_with([' ', '\t']) {
                return Err(Error::Continuation { line: self.line });
            }
            let here = self.line;
            let Some((name, first)) = line.split_once(':').filter(|(name, _)| is_name(name)) else {
                let text = line.chars().take(60).collect();
                return Err(Error::NotAField { line: here, text });
            };
            if fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                return Err(Error::Duplicate { line: here, name: name.to_owned() });
            }
            if fields.is_empty() {
                start = here;
            } else if fields.len() == MAX_FIELDS {
                return Err(Error::TooManyFields { line: start });
            } else if fields.len() == 4 {
                // Most stanzas have either a handful of fields or about twenty.
                fields.reserve(20);
            }
            let value = self.value(first, before.get(name.len() + 1..).unwrap_or(first));
            fields.push((name, value));
        }
        Ok((!fields.is_empty()).then_some(Stanza { fields, line: start }))
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.stanza().transpose();
        if matches!(next, Some(Err(_))) {
            self.rest = "";
        }
        next
    }
}

fn starts_with_blank_line(text: &str) -> bool {
    text.bytes().find(|b| !matches!(b, b' ' | b'\t' | b'\r')).is_none_or(|b| b == b'\n')
}

/// Policy 5.1: printable ASCII without space and colon, not starting with `#` or `-`.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Vec<(&str, &str)>> {
        stanzas(text).map(|s| s.unwrap().fields().collect()).collect()
    }

    #[test]
    fn blanks_comments_and_folding() {
        assert_eq!(all(""), Vec::<Vec<_>>::new());
        assert_eq!(all("\n \n# only a comment\n\n"), Vec::<Vec<_>>::new());
        assert_eq!(
            all("\n\n# c\nA:  1 \r\nB:\n x\n\ty\n# c\nC:\n \t\n\nA:2"),
            [vec![("A", "1"), ("B", "\n x\n\ty"), ("C", "")], vec![("A", "2")]]
        );
        // Blank lines of a folded value are written with a dot; a line of blanks separates.
        assert_eq!(all("A: 1\n .\n 2\n  \nB: x\n"), [[("A", "1\n .\n 2")], [("B", "x")]]);
    }

    #[test]
    fn colons_belong_to_the_value() {
        let stanza = single("Homepage: https://example.org/a:b\n").unwrap();
        assert_eq!(stanza.get("HOMEPAGE"), Some("https://example.org/a:b"));
        assert_eq!(stanza.get("Home"), None);
        assert_eq!(stanza.line(), 1);
    }

    #[test]
    fn errors_name_their_line() {
        let error = |text| stanzas(text).find_map(Result::err);
        assert_eq!(
            error("A: 1\nnonsense\n").unwrap().to_string().split(':').next(),
            Some("line 2")
        );
        assert_eq!(error(" A: 1\n"), Some(Error::Continuation { line: 1 }));
        assert_eq!(error("A: 1\n# c\n 2\n"), Some(Error::Continuation { line: 3 }));
        assert_eq!(
            error("A: 1\n\nB: 1\n x\nb: 2\n"),
            Some(Error::Duplicate { line: 5, name: "b".into() })
        );
        assert!(matches!(error(": 1\n"), Some(Error::NotAField { line: 1, .. })));
        assert!(matches!(error("A B: 1\n"), Some(Error::NotAField { .. })));
        let many = (0..300).map(|i| format!("F{i}: x\n")).collect::<String>();
        assert_eq!(error(&many), Some(Error::TooManyFields { line: 1 }));
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut iterator = stanzas("A: 1\nbad\n\nB: 2\n");
        assert!(iterator.next().unwrap().is_err());
        assert_eq!(iterator.next(), None);
    }

    #[test]
    fn single_wants_one() {
        assert!(single("").is_err());
        assert!(single("A: 1\n\nB: 2\n").is_err());
        assert!(single("A: 1\n\n\n").is_ok());
    }
}
