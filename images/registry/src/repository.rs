//! What a repository holds: manifests, blobs, tags (OCI distribution specification 1.1).

use overboot_digest::Digest;
use overboot_store::Descriptor;
use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderName, Method, Response, StatusCode, header};

use crate::connection::{Call, Connection, status_error, whole_body};
use crate::document::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, LARGEST, MANIFEST};
use crate::{Access, Address, Error, Options};

/// More tags than anybody reads; a registry that goes on for ever does not keep us.
const MOST_TAGS: usize = 100_000;

/// A repository of a registry that was reached. May be shared among threads.
#[derive(Debug)]
pub struct Repository {
    pub(crate) connection: Connection,
}

/// A manifest or an index as the registry has it.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) media_type: String,
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Vec<u8>,
}

impl Repository {
    /// Reaches the repository of `address`; its tag and digest are not looked at.
    ///
    /// # Errors
    /// Nobody answers, or not as a registry; the login is refused.
    pub fn open(address: &Address, access: Access, options: &Options) -> Result<Self, Error> {
        Ok(Self { connection: Connection::open(address, access, options)? })
    }

    /// The document that a tag or digest names; nothing where there is none.
    pub(crate) fn document(&self, reference: &str) -> Result<Option<Fetched>, Error> {
        let url = self.connection.path(&format!("manifests/{reference}"));
        let accept = format!("{INDEX}, {MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}");
        let headers = [(header::ACCEPT, accept)];
        let call = Call { headers: &headers, ..Call::new(&Method::GET, &url) };
        let fetched = self.connection.again(&call, || {
            let response = self.connection.send(&call)?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(status_error(&call, response).into()),
            }
            let media_type = text(&response, &header::CONTENT_TYPE).unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
            let told = text(&response, &HeaderName::from_static("docker-content-digest"));
            let told = told.and_then(|told| told.parse::<Digest>().ok());
            let bytes = whole_body(&call, response, LARGEST)?;
            Ok(Some((media_type, told, bytes)))
        })?;
        let Some((media_type, told, bytes)) = fetched else { return Ok(None) };
        let found = Digest::of(&bytes);
        // By digest it must be that one; by tag the one that the registry itself names.
        let wanted = reference.parse::<Digest>().ok().filter(|_| reference.starts_with("sha256:"));
        if let Some(expected) = wanted.or(told).filter(|expected| *expected != found) {
            return Err(Error::WrongDigest { place: self.connection.place(), expected, found });
        }
        let descriptor = Descriptor { digest: found, size: bytes.len() as u64 };
        Ok(Some(Fetched { media_type, descriptor, bytes }))
    }

    /// Stores a manifest or an index under a tag or its digest.
    pub(crate) fn put_document(
        &self,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let url = self.connection.path(&format!("manifests/{reference}"));
        let headers = [(header::CONTENT_TYPE, media_type.to_owned())];
        let call = Call { headers: &headers, body: Some(bytes), ..Call::new(&Method::PUT, &url) };
        let told = self.connection.again(&call, || {
            let response = self.connection.send(&call)?;
            if response.status() != StatusCode::CREATED {
                return Err(status_error(&call, response).into());
            }
            Ok(text(&response, &HeaderName::from_static("docker-content-digest")))
        })?;
        let expected = Digest::of(bytes);
        match told.and_then(|told| told.parse().ok()) {
            Some(found) if found != expected => {
                Err(Error::WrongDigest { place: self.connection.place(), expected, found })
            }
            _ => Ok(()),
        }
    }

    /// Does it have that blob?
    pub(crate) fn has_blob(&self, blob: Descriptor) -> Result<bool, Error> {
        let path = self.connection.path(&format!("blobs/{}", blob.digest));
        self.has(&path, blob)
    }

    /// Does it have that manifest or index?
    pub(crate) fn has_document(&self, document: Descriptor) -> Result<bool, Error> {
        let path = self.connection.path(&format!("manifests/{}", document.digest));
        self.has(&path, document)
    }

    fn has(&self, url: &str, wanted: Descriptor) -> Result<bool, Error> {
        let accept = format!("{INDEX}, {MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}, */*");
        let headers = [(header::ACCEPT, accept)];
        let call = Call { headers: &headers, ..Call::new(&Method::HEAD, url) };
        self.connection.again(&call, || {
            let response = self.connection.send(&call)?;
            match response.status() {
                // One of another length is damaged: it is stored again.
                StatusCode::OK => {
                    let length = text(&response, &header::CONTENT_LENGTH);
                    let length = length.and_then(|length| length.parse::<u64>().ok());
                    Ok(length.is_none_or(|length| length == wanted.size))
                }
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(status_error(&call, response).into()),
            }
        })
    }

    /// All tags, sorted.
    pub(crate) fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            // `null` in a repository without any.
            tags: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let mut next = Some(self.connection.path("tags/list?n=1000"));
        while let Some(url) = next.take() {
            let call = Call::new(&Method::GET, &url);
            let (link, bytes) = self.connection.again(&call, || {
                let response = self.connection.send(&call)?;
                match response.status() {
                    StatusCode::OK => {}
                    StatusCode::NOT_FOUND => return Ok((None, br#"{"tags":[]}"#.to_vec())),
                    _ => return Err(status_error(&call, response).into()),
                }
                let link = text(&response, &header::LINK);
                Ok((link, whole_body(&call, response, LARGEST)?))
            })?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| Error::document(call.shown(), error.to_string()))?;
            let tags = page.tags.unwrap_or_default();
            if !tags.is_empty() {
                next = link.as_deref().and_then(next_page);
            }
            all.extend(tags);
            if all.len() > MOST_TAGS {
                return Err(Error::document(call.shown(), "it has tags without end"));
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}

/// `</v2/NAME/tags/list?n=10&last=x>; rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| url.to_owned())
}

pub(crate) fn text(response: &Response<Body>, name: &HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}
