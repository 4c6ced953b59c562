//! What is wrong, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// One mistake in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// 1-based line and column (in characters) of the mistake; `None` for the file as a whole.
    pub position: Option<(usize, usize)>,
    /// The line that holds it, and how many characters of it are meant.
    pub snippet: Option<(String, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to write or do instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake at the bytes `span` of `text`.
    pub(crate) fn at(
        file: &Path,
        text: &str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        let mut diagnostic = Self {
            file: file.into(),
            position: None,
            snippet: None,
            message: without_logins(&message.into()),
            help: None,
        };
        if let Some(span) = span {
            let start = floor_char_boundary(text, span.start);
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let line = text[line_start..].lines().next().unwrap_or_default();
            let column = text[line_start..start].chars().count() + 1;
            let end = floor_char_boundary(text, span.end.max(start));
            let width = text[start..end].lines().next().unwrap_or_default().chars().count();
            diagnostic.position = Some((text[..start].matches('\n').count() + 1, column));
            diagnostic.snippet = Some((without_logins(line), width.max(1)));
        }
        diagnostic
    }

    /// A file that is not text.
    pub(crate) fn no_text(file: &Path, error: &FromUtf8Error) -> Self {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        Self::at(file, &text, Some(good..good + 1), "this is not UTF-8")
            .help("write it anew, and save the file as UTF-8")
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(without_logins(&help.into()));
        self
    }
}

/// The text with an asterisk for each character of a login in an address, so that what is below it stays there. Where a password
/// has a slash in it, too: it goes up to the last `@`.
fn without_logins(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, address)) = rest.split_once("://") {
        let end = address.find(|c: char| c.is_whitespace() || "\"'".contains(c));
        let login = address[..end.unwrap_or(address.len())].rfind('@').unwrap_or(0);
        shown.push_str(before);
        shown.push_str("://");
        shown.extend(address[..login].chars().map(|_| '*'));
        rest = &address[login..];
    }
    shown + rest
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let (Some((line, column)), Some((text, width))) = (self.position, &self.snippet) {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let pad: String =
                text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(
                f,
                "\n {margin} |\n {number} | {text}\n {margin} | {pad}{}",
                "^".repeat(*width)
            )?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Why a recipe or a lock could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no recipe where one was looked for.
    #[error(
        "no overboot.toml in {} or any folder above it\n  help: `overboot init` writes one that builds as it is",
        .0.display()
    )]
    NoProject(PathBuf),
    /// What was written there is wrong.
    #[error("{}", join(.0))]
    Invalid(Vec<Diagnostic>),
}

fn join(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
