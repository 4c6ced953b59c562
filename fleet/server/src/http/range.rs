//! Which bytes of a representation a request gets (RFC 9110 sections 13 and 14). Pure.

use axum::http::{HeaderMap, header};

/// What a `GET` or `HEAD` gets of a representation with a strong validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// 200 with everything.
    Whole,
    /// 206 with the bytes from `start` to `end`, both included.
    Part {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants another one.
    PreconditionFailed,
    /// 416: no such bytes.
    Unsatisfiable,
}

/// Evaluates the preconditions and the range of a request, in the order of RFC 9110 13.2.2. `etag` is the strong entity
/// tag of what is served, quotes included; there are no modification dates, so conditions on dates do not hold.
pub(crate) fn select(headers: &HeaderMap, etag: &str, size: u64) -> Selection {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(wanted) = text(header::IF_MATCH)
        && !lists(wanted, etag, Comparison::Strong)
    {
        return Selection::PreconditionFailed;
    }
    if let Some(known) = text(header::IF_NONE_MATCH)
        && lists(known, etag, Comparison::Weak)
    {
        return Selection::NotModified;
    }
    let Some(range) = text(header::RANGE) else { return Selection::Whole };
    // The rest of another representation is of no use: everything is sent. A date never matches.
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != etag) {
        return Selection::Whole;
    }
    parse(range, size)
}

/// Reads a `Range` header (14.2). What is malformed, in another unit or of several parts is ignored, as 14.2 allows.
fn parse(range: &str, size: u64) -> Selection {
    let Some((unit, set)) = range.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Selection::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Selection::Whole };
    match (number(first), number(last)) {
        // bytes=-N: the last N bytes.
        (Number::Absent, Number::Is(0)) => Selection::Unsatisfiable,
        (Number::Absent, Number::Is(_)) if size == 0 => Selection::Unsatisfiable,
        (Number::Absent, Number::Is(length)) => {
            Selection::Part { start: size.saturating_sub(length), end: size - 1 }
        }
        (Number::Is(start), Number::Is(end)) if start > end => Selection::Whole,
        (Number::Is(start), Number::Is(_) | Number::Absent) if start >= size => {
            Selection::Unsatisfiable
        }
        (Number::Is(start), Number::Is(end)) => Selection::Part { start, end: end.min(size - 1) },
        (Number::Is(start), Number::Absent) => Selection::Part { start, end: size - 1 },
        (Number::Malformed, _) | (_, Number::Malformed) | (Number::Absent, Number::Absent) => {
            Selection::Whole
        }
    }
}

#[derive(Clone, Copy)]
enum Number {
    Absent,
    Is(u64),
    Malformed,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        Number::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than any file has bytes.
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Malformed
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags (13.1.1, 13.1.2) has ours. Our tags contain no comma.
fn lists(list: &str, etag: &str, comparison: Comparison) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        tag == "*"
            || tag == etag
            || (comparison == Comparison::Weak && tag.strip_prefix("W/") == Some(etag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    const ETAG: &str = "\"sha256:00\"";

    fn selected(headers: &[(HeaderName, &'static str)], size: u64) -> Selection {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        select(&headers.collect(), ETAG, size)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |start, end| Selection::Part { start, end };
        let cases = [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-99", part(0, 99)),
            ("bytes=10-", part(10, 99)),
            ("bytes=10-1000", part(10, 99)),
            ("bytes=99-", part(99, 99)),
            ("Bytes= 5-6", part(5, 6)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=0-99999999999999999999999999", part(0, 99)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=6-5", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("", Selection::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(selected(&[(header::RANGE, range)], 100), expected, "{range}");
        }
        assert_eq!(selected(&[(header::RANGE, "bytes=0-")], 0), Selection::Unsatisfiable);
        assert_eq!(selected(&[(header::RANGE, "bytes=-5")], 0), Selection::Unsatisfiable);
        assert_eq!(selected(&[], 0), Selection::Whole);
    }

    #[test]
    fn a_range_of_something_else_gets_everything() {
        let range = (header::RANGE, "bytes=1-2");
        let part = Selection::Part { start: 1, end: 2 };
        for (validator, expected) in [
            (ETAG, part),
            ("\"other\"", Selection::Whole),
            ("W/\"sha256:00\"", Selection::Whole),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Selection::Whole),
        ] {
            let headers = [range.clone(), (header::IF_RANGE, validator)];
            assert_eq!(selected(&headers, 100), expected, "{validator}");
        }
        assert_eq!(selected(&[(header::IF_RANGE, ETAG)], 100), Selection::Whole);
    }

    #[test]
    fn preconditions_come_first() {
        let range = (header::RANGE, "bytes=1-2");
        let cases = [
            (header::IF_NONE_MATCH, ETAG, Selection::NotModified),
            (header::IF_NONE_MATCH, "\"x\", W/\"sha256:00\"", Selection::NotModified),
            (header::IF_NONE_MATCH, "*", Selection::NotModified),
            (header::IF_NONE_MATCH, "\"x\"", Selection::Part { start: 1, end: 2 }),
            (header::IF_MATCH, "\"x\"", Selection::PreconditionFailed),
            (header::IF_MATCH, "W/\"sha256:00\"", Selection::PreconditionFailed),
            (header::IF_MATCH, ETAG, Selection::Part { start: 1, end: 2 }),
        ];
        for (name, value, expected) in cases {
            assert_eq!(selected(&[range.clone(), (name, value)], 100), expected, "{value}");
        }
    }
}
