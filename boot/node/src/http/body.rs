//! The body of an answer: until its length, its last chunk, or the end of the connection.

use std::io::{self, Read};

use super::Head;

/// Reads a body. An end that comes too early is an error, never a short body.
#[derive(Debug)]
pub struct Body<R> {
    stream: R,
    /// Bytes that came with the head.
    ahead: Vec<u8>,
    at: usize,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// This many bytes are left.
    Length(u64),
    /// This many bytes of the current chunk are left; a chunk's head is next when 0.
    Chunked { left: u64, first: bool },
    /// Until the connection ends.
    Close,
    /// No more.
    Done,
}

impl<R: Read> Body<R> {
    /// The body that follows `head` on `stream`, `ahead` being what was read too far.
    pub fn new(stream: R, ahead: Vec<u8>, head: &Head, no_body: bool) -> Self {
        let framing = match (no_body, head.chunked, head.length) {
            (true, ..) => Framing::Done,
            (_, true, _) => Framing::Chunked { left: 0, first: true },
            (_, _, Some(0)) => Framing::Done,
            (_, _, Some(length)) => Framing::Length(length),
            (_, _, None) => Framing::Close,
        };
        Self { stream, ahead, at: 0, framing }
    }

    fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = &self.ahead[self.at..];
        if ahead.is_empty() {
            return self.stream.read(buffer);
        }
        let length = ahead.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ahead[..length]);
        self.at += length;
        Ok(length)
    }

    fn some(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        match self.raw(&mut buffer[..length])? {
            0 => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended too early"))
            }
            read => Ok(read),
        }
    }

    /// A line of chunked coding, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.some(&mut byte, 1)?;
            match byte[0] {
                b'\n' => return Ok(line),
                b'\r' => {}
                other if line.len() < 1000 => line.push(other),
                _ => return Err(malformed()),
            }
        }
    }

    /// Goes on to the next chunk; returns its length.
    fn chunk(&mut self, first: bool) -> io::Result<u64> {
        if !first && !self.line()?.is_empty() {
            return Err(malformed());
        }
        let line = self.line()?;
        let digits = line.split(|b| *b == b';').next().unwrap_or_default();
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
            .ok_or_else(malformed)?;
        if length == 0 {
            for _trailer in 0..100 {
                if self.line()?.is_empty() {
                    return Ok(0);
                }
            }
            return Err(malformed());
        }
        Ok(length)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunked coding")
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.framing {
                Framing::Done => return Ok(0),
                Framing::Close => return self.raw(buffer),
                Framing::Length(left) => {
                    let read = self.some(buffer, left)?;
                    let left = left - read as u64;
                    self.framing = if left == 0 { Framing::Done } else { Framing::Length(left) };
                    return Ok(read);
                }
                Framing::Chunked { left: 0, first } => {
                    self.framing = match self.chunk(first)? {
                        0 => Framing::Done,
                        left => Framing::Chunked { left, first: false },
                    };
                }
                Framing::Chunked { left, .. } => {
                    let read = self.some(buffer, left)?;
                    self.framing = Framing::Chunked { left: left - read as u64, first: false };
                    return Ok(read);
                }
            }
        }
    }
}
