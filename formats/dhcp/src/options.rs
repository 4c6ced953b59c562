//! The options of a message.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::{Code, MessageType};

/// The options of one message, each with the whole of its value: splitting (RFC 3396) and overloading
/// (RFC 2132 9.3) are undone when reading and done when writing.
///
/// The typed readers return `None` when the option is absent *or* does not have the length its RFC gives it:
/// a malformed option is treated as not sent, never as an error of the whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<Code, Vec<u8>>);

impl Options {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `code` is there, even with an empty value.
    #[must_use]
    pub fn has(&self, code: Code) -> bool {
        self.0.contains_key(&code)
    }

    /// The bytes of `code`.
    #[must_use]
    pub fn get(&self, code: Code) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Every option, by ascending code.
    pub fn iter(&self) -> impl Iterator<Item = (Code, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// The value when it is exactly one byte.
    #[must_use]
    pub fn byte(&self, code: Code) -> Option<u8> {
        <[u8; 1]>::try_from(self.get(code)?).ok().map(|[byte]| byte)
    }

    /// The value when it is exactly a 16-bit number.
    #[must_use]
    pub fn u16(&self, code: Code) -> Option<u16> {
        self.get(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// The value when it is exactly a 32-bit number.
    #[must_use]
    pub fn u32(&self, code: Code) -> Option<u32> {
        self.get(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The value when it is exactly one address.
    #[must_use]
    pub fn address(&self, code: Code) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.get(code)?).ok().map(Ipv4Addr::from)
    }

    /// The addresses of a list; a last incomplete one is ignored. Empty when absent.
    #[must_use]
    pub fn addresses(&self, code: Code) -> Vec<Ipv4Addr> {
        let (whole, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        whole.iter().map(|bytes| Ipv4Addr::from(*bytes)).collect()
    }

    /// The value as text without the NULs that some clients end it with; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self, code: Code) -> Option<&str> {
        let text = std::str::from_utf8(self.get(code)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    /// Option 53.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        MessageType::from_number(self.byte(Code::MESSAGE_TYPE)?)
    }

    /// Option 77: each class by itself. RFC 3004 puts a length byte before each; iPXE and others send one bare
    /// text, which is returned as it is. Classes that are not UTF-8 are left out.
    #[must_use]
    pub fn user_classes(&self) -> Vec<&str> {
        let Some(value) = self.get(Code::USER_CLASS) else { return Vec::new() };
        let classes = counted(value).unwrap_or_else(|| vec![value]);
        classes
            .into_iter()
            .filter_map(|class| std::str::from_utf8(class).ok())
            .map(|class| class.trim_end_matches('\0'))
            .filter(|class| !class.is_empty())
            .collect()
    }

    /// The fields inside `code`, which holds options of its own (RFC 2132 8.4, RFC 3046 2.0), as far as they are well
    /// formed. Pads are passed over, and an end tag ends them, where the option knows these.
    pub fn fields(&self, code: Code) -> impl Iterator<Item = (u8, &[u8])> {
        // Relay agents number from 1 and know neither pad nor end; 0 and 255 are no fields of theirs.
        let mut bytes = self.get(code).unwrap_or_default();
        std::iter::from_fn(move || {
            loop {
                let (&tag, rest) = bytes.split_first()?;
                match tag {
                    0 => bytes = rest,
                    255 => return None,
                    _ => {
                        let (&length, rest) = rest.split_first()?;
                        let (value, rest) = rest.split_at_checked(usize::from(length))?;
                        bytes = rest;
                        return Some((tag, value));
                    }
                }
            }
        })
    }

    /// Whether option 55 names `code`.
    #[must_use]
    pub fn wants(&self, code: Code) -> bool {
        self.get(Code::PARAMETER_LIST).is_some_and(|codes| codes.contains(&code.0))
    }

    /// Puts `value` in for `code`, whatever was there. An empty value is written with length 0. Framing codes
    /// (0 and 255) are not options and are ignored.
    pub fn set(&mut self, code: Code, value: impl Into<Vec<u8>>) {
        if !matches!(code.0, 0 | 255) {
            self.0.insert(code, value.into());
        }
    }

    /// Puts a 32-bit number in.
    pub fn set_u32(&mut self, code: Code, value: u32) {
        self.set(code, value.to_be_bytes());
    }

    /// Puts a 16-bit number in.
    pub fn set_u16(&mut self, code: Code, value: u16) {
        self.set(code, value.to_be_bytes());
    }

    /// Puts one address in.
    pub fn set_address(&mut self, code: Code, value: Ipv4Addr) {
        self.set(code, value.octets());
    }

    /// Puts a list of addresses in; an empty list removes the option, which may not be empty (RFC 2132 3.5).
    pub fn set_addresses(&mut self, code: Code, values: &[Ipv4Addr]) {
        if values.is_empty() {
            self.remove(code);
        } else {
            self.set(code, values.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>());
        }
    }

    /// Puts a text in, without a terminating NUL (RFC 2132 2).
    pub fn set_text(&mut self, code: Code, value: &str) {
        self.set(code, value.as_bytes());
    }

    /// Takes `code` out and returns what it held.
    pub fn remove(&mut self, code: Code) -> Option<Vec<u8>> {
        self.0.remove(&code)
    }

    /// Adds `value` to what `code` holds (RFC 3396 7: instances of one option are concatenated).
    pub(crate) fn append(&mut self, code: Code, value: &[u8]) {
        self.0.entry(code).or_default().extend_from_slice(value);
    }
}

/// Fields with a length byte each, when they fill `value` exactly.
fn counted(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while let Some((&length, rest)) = value.split_first() {
        let (field, rest) = rest.split_at_checked(usize::from(length))?;
        if field.is_empty() {
            return None;
        }
        fields.push(field);
        value = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_readers_want_the_exact_length() {
        let mut options = Options::new();
        options.set(Code::LEASE_TIME, [0, 0, 0]);
        assert_eq!(options.u32(Code::LEASE_TIME), None);
        options.set_u32(Code::LEASE_TIME, 3600);
        assert_eq!(options.u32(Code::LEASE_TIME), Some(3600));
        assert_eq!(options.address(Code::SERVER_ID), None);
        options.set(Code::DNS, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(
            options.addresses(Code::DNS),
            [Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(5, 6, 7, 8)]
        );
        assert_eq!(options.address(Code::DNS), None);
    }

    #[test]
    fn user_class_with_and_without_length_bytes() {
        let mut options = Options::new();
        options.set_text(Code::USER_CLASS, "iPXE");
        assert_eq!(options.user_classes(), ["iPXE"]);
        options.set(Code::USER_CLASS, b"\x04iPXE\x03lab".to_vec());
        assert_eq!(options.user_classes(), ["iPXE", "lab"]);
        options.set(Code::USER_CLASS, b"\0\xff".to_vec());
        assert!(options.user_classes().is_empty());
        options.set(Code::USER_CLASS, b"".to_vec());
        assert!(options.user_classes().is_empty());
    }

    #[test]
    fn framing_codes_are_not_options() {
        let mut options = Options::new();
        options.set(Code(0), [1]);
        options.set(Code(255), [1]);
        assert!(options.is_empty());
        options.set_addresses(Code::DNS, &[]);
        assert!(!options.has(Code::DNS));
    }
}
