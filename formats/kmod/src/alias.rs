//! Modalias to modules, without trying every pattern on every device.
//!
//! A distribution's kernel has 27,000 patterns, and a machine a hundred devices. Nearly all patterns begin with a long
//! literal (`pci:v00008086d00001533sv`), so they are kept in a hash table by that beginning; what a device asks for is
//! looked up once for each *length* of beginning that occurs (a few dozen), and only what is found there is matched.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::Error;
use crate::pattern::{self, fold};

/// The patterns of a `modules.alias`.
#[derive(Debug, Default)]
pub struct AliasIndex<'a> {
    patterns: Vec<Pattern<'a>>,
    /// Literal beginning, `-` as `_`, to the newest pattern that begins so.
    by_literal: HashMap<Cow<'a, [u8]>, u32>,
    /// The lengths of the keys above, rising.
    lengths: Vec<usize>,
}

#[derive(Debug)]
struct Pattern<'a> {
    text: &'a str,
    module: &'a str,
    literal: usize,
    /// The next pattern with the same literal beginning.
    next: Option<u32>,
}

impl<'a> AliasIndex<'a> {
    /// Reads a `modules.alias`: lines `alias PATTERN MODULE`, comments and empty lines. Lines of other kinds are ignored,
    /// as libkmod does.
    ///
    /// # Errors
    /// [`Error::Line`] for an `alias` line without its two words, [`Error::TooMany`] past 2^32 lines.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let mut index = Self::default();
        let mut lengths = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("alias") {
                continue;
            }
            let (Some(pattern), Some(module)) = (words.next(), words.next()) else {
                let what = "want \"alias PATTERN MODULE\"";
                return Err(Error::Line { file: "modules.alias", line: number + 1, what });
            };
            index.insert(pattern, module, &mut lengths)?;
        }
        index.lengths = lengths
            .iter()
            .enumerate()
            .filter(|(_, seen)| **seen)
            .map(|(length, _)| length)
            .collect();
        Ok(index)
    }

    fn insert(
        &mut self,
        text: &'a str,
        module: &'a str,
        lengths: &mut Vec<bool>,
    ) -> Result<(), Error> {
        let limit = u32::MAX as usize;
        let number = u32::try_from(self.patterns.len())
            .map_err(|_| Error::TooMany { what: "patterns in modules.alias", limit })?;
        let literal = pattern::literal_length(text.as_bytes());
        let next = self.by_literal.insert(folded(&text.as_bytes()[..literal]), number);
        if lengths.len() <= literal {
            lengths.resize(literal + 1, false);
        }
        lengths[literal] = true;
        self.patterns.push(Pattern { text, module, literal, next });
        Ok(())
    }

    /// The modules whose patterns match `modalias`, each once, in the order of the file: by depmod's rule the first is the
    /// one to prefer. Names are as the file has them.
    #[must_use]
    pub fn matches(&self, modalias: &str) -> Vec<&'a str> {
        let wanted = folded(modalias.as_bytes());
        let mut found = Vec::new();
        for length in &self.lengths {
            let Some(beginning) = wanted.get(..*length) else { break };
            let mut candidate = self.by_literal.get(beginning).copied();
            while let Some(pattern) = candidate.and_then(|n| self.patterns.get(n as usize)) {
                let rest = &pattern.text.as_bytes()[pattern.literal..];
                // Brackets see the text as it is; everything else treats `-` and `_` alike.
                if pattern::matches(rest, &modalias.as_bytes()[*length..]) {
                    found.extend(candidate);
                }
                candidate = pattern.next;
            }
        }
        found.sort_unstable();
        let mut modules: Vec<&'a str> = Vec::with_capacity(found.len());
        for number in found {
            if let Some(pattern) = self.patterns.get(number as usize)
                && !modules.contains(&pattern.module)
            {
                modules.push(pattern.module);
            }
        }
        modules
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

fn folded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.contains(&b'-') {
        Cow::Owned(bytes.iter().map(|byte| fold(*byte)).collect())
    } else {
        Cow::Borrowed(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\n\
        alias pci:v00008086d00001533sv*sd*bc*sc*i* igb\n\
        alias pci:v*d*sv*sd*bc01sc08i02* nvme\n\
        alias pci:v00008086d00001533sv*sd*bc02sc*i* igb-next\n\
        alias crypto-crc32c crc32c_generic\n\
        alias acpi*:PNP0C09:* ec\n\
        alias *wild* anything\n\
        options igb x=1\n";

    #[test]
    fn every_pattern_is_found_and_in_order() {
        let index = AliasIndex::parse(TEXT).unwrap();
        assert_eq!(index.len(), 6);
        let intel = "pci:v00008086d00001533sv00008086sd00000001bc02sc00i00";
        assert_eq!(index.matches(intel), ["igb", "igb-next"]);
        assert_eq!(index.matches("pci:v0000144Dd0000A808sv0sd0bc01sc08i02"), ["nvme"]);
        assert_eq!(index.matches("crypto_crc32c"), ["crc32c_generic"]);
        assert_eq!(index.matches("acpi:PNP0C09:"), ["ec"]);
        assert_eq!(index.matches("is wild"), ["anything"]);
        assert!(index.matches("pci:").is_empty());
        assert!(index.matches("").is_empty());
    }

    #[test]
    fn half_a_line_is_an_error() {
        let error = AliasIndex::parse("alias a b\nalias only\n").unwrap_err();
        assert!(error.to_string().starts_with("modules.alias line 2"), "{error}");
    }
}
