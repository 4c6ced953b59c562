//! Where a layer's bytes go while they arrive: a file in memory (squashfs), or straight through the unpacker (cpio).

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::unpack;
use crate::Error;

/// Takes a layer's good bytes, in order.
pub trait Sink {
    /// The next bytes.
    ///
    /// # Errors
    /// They cannot be kept: no room, or no sense in them.
    fn accept(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// There are no more.
    ///
    /// # Errors
    /// What came is no layer.
    fn finish(&mut self) -> Result<(), Error>;
}

/// A layer on its way into the root. What it is, its first bytes say.
#[derive(Debug)]
pub struct LayerSink {
    name: String,
    /// Where an image goes.
    image: PathBuf,
    /// Where an archive is unpacked.
    folder: PathBuf,
    state: State,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A squashfs image in this file.
    Image(PathBuf),
    /// An unpacked archive in this folder.
    Folder(PathBuf),
}

#[derive(Debug)]
enum State {
    /// The first bytes, until there are enough to tell.
    Unknown(Vec<u8>),
    Image(fs_err::File),
    Archive(SyncSender<Vec<u8>>, JoinHandle<Result<u64, Error>>),
    Finished(Kept),
}

/// First bytes of a squashfs image.
const SQUASHFS: &[u8] = b"hsqs";

impl LayerSink {
    /// A sink for the layer `name`: to the file `image`, or unpacked into `folder`, which must exist and be empty.
    #[must_use]
    pub fn new(name: &str, image: &Path, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            folder: folder.to_owned(),
            state: State::Unknown(Vec::new()),
        }
    }

    /// What became of it; `None` before [`Sink::finish`].
    #[must_use]
    pub fn kept(self) -> Option<Kept> {
        match self.state {
            State::Finished(kept) => Some(kept),
            _ => None,
        }
    }

    fn decide(&mut self, first: &[u8]) -> Result<State, Error> {
        let mut state = if first.starts_with(SQUASHFS) {
            State::Image(fs_err::File::create(&self.image)?)
        } else {
            let (sender, receiver) = sync_channel(2);
            let (name, folder) = (self.name.clone(), self.folder.clone());
            let thread =
                std::thread::Builder::new().name("unpack".to_owned()).spawn(move || {
                    let reader = ChannelReader { receiver, bytes: Vec::new(), at: 0 };
                    unpack::unpack(&name, reader, &folder)
                })?;
            State::Archive(sender, thread)
        };
        give(&mut state, first)?;
        Ok(state)
    }

    /// The unpacker ended before its input did: its error is the one to tell.
    fn ended(&mut self) -> Error {
        match std::mem::replace(&mut self.state, State::Unknown(Vec::new())) {
            State::Archive(sender, thread) => {
                drop(sender);
                match thread.join() {
                    Ok(Err(error)) => error,
                    Ok(Ok(_)) | Err(_) => Error::Format {
                        layer: self.name.clone(),
                        reason: "it does not end where it should".into(),
                    },
                }
            }
            _ => Error::Stopped,
        }
    }
}

/// Passes bytes on; `Error::Stopped` if the unpacker is gone.
fn give(state: &mut State, bytes: &[u8]) -> Result<(), Error> {
    match state {
        State::Image(file) => Ok(file.write_all(bytes)?),
        State::Archive(sender, _) => sender.send(bytes.to_vec()).map_err(|_| Error::Stopped),
        State::Unknown(_) | State::Finished(_) => Ok(()),
    }
}

impl Sink for LayerSink {
    fn accept(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let State::Unknown(first) = &mut self.state {
            first.extend_from_slice(bytes);
            if first.len() < SQUASHFS.len() {
                return Ok(());
            }
            let first = std::mem::take(first);
            self.state = self.decide(&first)?;
            return Ok(());
        }
        match give(&mut self.state, bytes) {
            Err(Error::Stopped) => Err(self.ended()),
            Err(Error::File(error)) if error.kind() == io::ErrorKind::StorageFull => {
                let reason = "it does not fit into this node's memory".to_owned();
                Err(Error::Format { layer: self.name.clone(), reason })
            }
            other => other,
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        let kept = match std::mem::replace(&mut self.state, State::Unknown(Vec::new())) {
            State::Image(_) => Kept::Image(self.image.clone()),
            State::Archive(sender, thread) => {
                drop(sender);
                thread.join().unwrap_or(Err(Error::Stopped))?;
                Kept::Folder(self.folder.clone())
            }
            State::Finished(kept) => kept,
            State::Unknown(first) => {
                let reason = format!("it has only {} bytes", first.len());
                return Err(Error::Format { layer: self.name.clone(), reason });
            }
        };
        self.state = State::Finished(kept);
        Ok(())
    }
}

/// The receiving end of a channel as a reader.
struct ChannelReader {
    receiver: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    at: usize,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.bytes.len() {
            match self.receiver.recv() {
                Ok(bytes) => (self.bytes, self.at) = (bytes, 0),
                Err(_) => return Ok(0),
            }
        }
        let left = &self.bytes[self.at..];
        let length = left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&left[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_however_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let (image, out) = (folder.path().join("image"), folder.path().join("out"));
        std::fs::create_dir(&out).unwrap();
        let mut sink = LayerSink::new("x", &image, &out);
        for byte in b"hsqs and more" {
            sink.accept(&[*byte]).unwrap();
        }
        sink.finish().unwrap();
        assert_eq!(sink.kept(), Some(Kept::Image(image.clone())));
        assert_eq!(std::fs::read(&image).unwrap(), b"hsqs and more");

        let mut sink = LayerSink::new("x", &image, &out);
        sink.accept(b"<html>not found</html>").unwrap();
        let error = sink.finish().unwrap_err();
        assert!(error.to_string().contains("neither cpio nor cpio.gz"), "{error}");

        let mut sink = LayerSink::new("x", &image, &out);
        sink.accept(b"hs").unwrap();
        assert!(sink.finish().unwrap_err().to_string().contains("only 2 bytes"));
    }

    #[test]
    fn an_unpacker_that_ends_early_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = LayerSink::new("x", &folder.path().join("image"), folder.path());
        // Enough for the channel to fill up after the unpacker has given up.
        let sent = (0..100).try_for_each(|_| sink.accept(&[b'0'; 100_000]));
        let error = sent.and_then(|()| sink.finish()).unwrap_err();
        assert!(error.to_string().starts_with("layer x cannot be used"), "{error}");
    }
}
