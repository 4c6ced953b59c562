//! Blobs on their way: checked while they stream, resumed where they broke off.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use overboot_digest::{Digest, Hasher};
use overboot_store::Descriptor;
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use crate::connection::{Call, Failure, location, status_error};
use crate::repository::text;
use crate::{Error, Repository};

/// What is sent at once: a blob of up to this in one request, a larger one in several, each of which is worth an attempt of
/// its own. Above what the strictest registries want at least (5 MiB).
const CHUNK: usize = 16 << 20;

impl Repository {
    /// Gets a blob; `write` is given its bytes in order, once each. Where it is not the blob in the end, what was written is
    /// for nothing.
    pub(crate) fn download(
        &self,
        blob: Descriptor,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.download_from(blob, Hasher::new(), 0, write)
    }

    /// The same from byte `there` on; `hasher` has seen what is before that.
    pub(crate) fn download_from(
        &self,
        blob: Descriptor,
        mut hasher: Hasher,
        mut there: u64,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let url = self.connection.path(&format!("blobs/{}", blob.digest));
        let mut patience = self.connection.patience();
        while there < blob.size {
            let before = there;
            let attempt = self.download_rest(&url, blob, &mut there, &mut |bytes| {
                hasher.update(bytes);
                write(bytes)
            });
            if there > before {
                patience.renew();
            }
            if let Err(failure) = attempt {
                patience.after(failure, &url)?;
            }
        }
        let found = hasher.finish();
        if found == blob.digest {
            return Ok(());
        }
        Err(Error::WrongDigest { place: self.connection.place(), expected: blob.digest, found })
    }

    /// One attempt at what is missing from `there` on.
    fn download_rest(
        &self,
        url: &str,
        blob: Descriptor,
        there: &mut u64,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let wrong_size = |found| {
            let place = self.connection.place();
            Failure::Final(Error::WrongSize {
                place,
                expected: blob.digest,
                wanted: blob.size,
                found,
            })
        };
        let range = [(header::RANGE, format!("bytes={there}-"))];
        let headers = if *there > 0 { &range[..] } else { &[] };
        let call = Call { headers, ..Call::new(&Method::GET, url) };
        let broken = |source| Failure::Again(self.connection.broken(&call, source));
        let mut response = self.connection.send(&call)?;
        let starts = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if starts(&response) == Some(*there) => *there,
            StatusCode::PARTIAL_CONTENT => {
                return Err(broken(io::Error::other("it sent another part than asked for")));
            }
            StatusCode::NOT_FOUND => {
                let (what, place) = (blob.digest.to_string(), self.connection.place());
                return Err(Error::NotFound { what, place }.into());
            }
            _ => return Err(status_error(&call, response).into()),
        };
        let length = text(&response, &header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if let Some(found) = length.map(|length| length.saturating_add(starts))
            && found != blob.size
        {
            return Err(wrong_size(found));
        }
        // A registry that knows no ranges sends again what is there already.
        let mut passed_over = *there - starts;
        let mut body = response.body_mut().as_reader().take(blob.size - starts + 1);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read as u64,
                Err(source) => return Err(broken(source)),
            };
            let skipped = passed_over.min(read);
            passed_over -= skipped;
            let bytes =
                &buffer[usize::try_from(skipped).unwrap_or(0)..usize::try_from(read).unwrap_or(0)];
            if *there + bytes.len() as u64 > blob.size {
                return Err(wrong_size(blob.size + 1));
            }
            write(bytes)?;
            *there += bytes.len() as u64;
        }
        if *there < blob.size { Err(broken(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    /// Sends a blob from a file; `progress` hears of each piece.
    pub(crate) fn upload(
        &self,
        blob: Descriptor,
        path: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let mut file = File::open(path).map_err(Error::file("read", path))?;
        let mut patience = self.connection.patience();
        loop {
            // Where to send it: a place that the registry gives for one blob.
            let url = self.connection.path("blobs/uploads/");
            let call = Call { body: Some(&[]), ..Call::new(&Method::POST, &url) };
            let session = self.connection.again(&call, || {
                let response = self.connection.send(&call)?;
                if response.status() != StatusCode::ACCEPTED {
                    return Err(status_error(&call, response).into());
                }
                self.session(&call, &response)
            })?;
            match self.upload_to(session, blob, path, &mut file, progress) {
                Ok(()) => return Ok(()),
                Err(failure) => patience.after(failure, &url)?,
            }
        }
    }

    /// Where to go on with an upload.
    fn session(&self, call: &Call<'_>, response: &Response<Body>) -> Result<String, Failure> {
        let location = location(response).filter(|location| !location.is_empty());
        let missing =
            || Error::document(call.shown(), "it does not say where to send a blob").into();
        location.map(str::to_owned).ok_or_else(missing)
    }

    fn upload_to(
        &self,
        mut session: String,
        blob: Descriptor,
        path: &Path,
        file: &mut File,
        progress: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let octets = || (header::CONTENT_TYPE, "application/octet-stream".to_owned());
        let mut chunk = Vec::new();
        let mut sent = 0;
        let mut patience = self.connection.patience();
        while blob.size > CHUNK as u64 && sent < blob.size {
            read_chunk(file, path, sent, &mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            let range = format!("{sent}-{}", sent + chunk.len() as u64 - 1);
            let headers = [octets(), (header::CONTENT_RANGE, range)];
            let url = session.clone();
            let call =
                Call { headers: &headers, body: Some(&chunk), ..Call::new(&Method::PATCH, &url) };
            match self.connection.send(&call) {
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    session = self.session(&call, &response)?;
                    sent += chunk.len() as u64;
                    progress(chunk.len() as u64);
                    patience.renew();
                }
                Ok(response) => return Err(status_error(&call, response).into()),
                Err(Failure::Again(error)) => {
                    // It may have arrived in part, or not at all: the registry knows how far.
                    let Ok(Some((at, next))) = self.arrived(&session) else {
                        return Err(Failure::Again(error));
                    };
                    if at < sent || at > sent + chunk.len() as u64 {
                        return Err(Failure::Again(error));
                    }
                    if at == sent {
                        patience.after(Failure::Again(error), &url)?;
                    } else {
                        patience.renew();
                    }
                    progress(at - sent);
                    (sent, session) = (at, next);
                }
                Err(failure) => return Err(failure),
            }
        }
        if blob.size <= CHUNK as u64 {
            read_chunk(file, path, 0, &mut chunk)?;
        } else {
            chunk.clear();
        }
        let separator = if session.contains('?') { '&' } else { '?' };
        let url = format!("{session}{separator}digest={}", blob.digest);
        let headers = [octets()];
        let call = Call { headers: &headers, body: Some(&chunk), ..Call::new(&Method::PUT, &url) };
        let response = self.connection.send(&call)?;
        if response.status() == StatusCode::CREATED {
            progress(chunk.len() as u64);
            return Ok(());
        }
        let refused = status_error(&call, response);
        // A registry that hashes what it gets is the first to see that our own blob is not what its name says.
        file.rewind().map_err(Error::file("read", path))?;
        let (found, _) = Digest::of_reader(file).map_err(Error::file("read", path))?;
        if found != blob.digest {
            let (target, state) = (path.display().to_string(), "damaged");
            let digest = blob.digest;
            return Err(Error::Store(overboot_store::Error::Blob { target, digest, state }).into());
        }
        Err(refused.into())
    }

    /// How many bytes of an upload have arrived, and where to go on; nothing where the registry does not know.
    fn arrived(&self, session: &str) -> Result<Option<(u64, String)>, Failure> {
        let call = Call::new(&Method::GET, session);
        let response = self.connection.again(&call, || self.connection.send(&call))?;
        if response.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        // `0-1023`: both ends are there.
        let range = text(&response, &header::RANGE);
        let last = range.as_deref().and_then(|range| range.split_once('-'));
        // `0-0` is what Debian's registry says of one byte, and of none: it tells nothing.
        let last = last.and_then(|(_, last)| last.parse::<u64>().ok()).filter(|last| *last > 0);
        Ok(last.and_then(|last| last.checked_add(1)).zip(location(&response).map(str::to_owned)))
    }
}

fn read_chunk(file: &mut File, path: &Path, at: u64, chunk: &mut Vec<u8>) -> Result<(), Error> {
    chunk.clear();
    let mut read = || -> io::Result<usize> {
        file.seek(SeekFrom::Start(at))?;
        file.take(CHUNK as u64).read_to_end(chunk)
    };
    read().map(drop).map_err(Error::file("read", path))
}

/// The first byte of a 206 answer (RFC 9110, 14.4: `Content-Range: bytes 500-999/1234`).
fn starts(response: &Response<Body>) -> Option<u64> {
    let range = text(response, &header::CONTENT_RANGE)?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
