//! Status line and header fields of an answer.

/// What an answer says before its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code, 100 to 599.
    pub status: u16,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Whether the body is chunked.
    pub chunked: bool,
    /// First byte and whole size, from `Content-Range: bytes 5-9/10`.
    pub range: Option<(u64, Option<u64>)>,
    /// `Location`.
    pub location: Option<String>,
    /// `Date`.
    pub date: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
}

impl Head {
    /// Reads the head, up to and with its empty line.
    ///
    /// # Errors
    /// A sentence's end: what makes it no HTTP.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse::<u16>().ok())
            .filter(|code| (100..600).contains(code))
            .ok_or("its answer does not begin with HTTP/1.1 and a status")?;
        let mut head = Self { status, ..Self::default() };
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or("a header field without a colon")?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| "Content-Length is no number")?;
                    // Two different lengths are how requests are smuggled (RFC 9112 6.3).
                    if head.length.is_some_and(|first| first != length) {
                        return Err("two different Content-Lengths");
                    }
                    head.length = Some(length);
                }
                "transfer-encoding" => {
                    if !value.eq_ignore_ascii_case("chunked") {
                        return Err("a transfer coding that is not known here");
                    }
                    head.chunked = true;
                }
                "content-range" => head.range = content_range(value),
                "location" => head.location = Some(value.to_owned()),
                "date" => head.date = Some(value.to_owned()),
                "etag" => head.etag = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(head)
    }
}

fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, whole.trim().parse().ok()))
}
