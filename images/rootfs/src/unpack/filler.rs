//! Those who fill files: the writer makes a package's files one after the other, in the order that decides who owns what; their
//! contents and looks come beside, since nothing asks for them before all is unpacked.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::Trouble;
use crate::error::Error;
use crate::root::{self, Attributes, Root};

/// Of larger files the writer writes all but the end itself, so that memory stays bounded. In bytes.
pub(super) const LARGE: u64 = 1 << 20;

/// How many files may wait.
const WAITING: usize = 32;

/// A file that is made, and lacks its content, or the end of it.
pub(super) struct Empty {
    pub(super) file: File,
    pub(super) content: Vec<u8>,
    pub(super) attributes: Attributes,
    /// Whose it is, and its path there.
    pub(super) package: String,
    pub(super) path: String,
}

/// Where files to be filled are handed over.
pub(super) struct Filler {
    sender: SyncSender<Empty>,
    waiting: Arc<Waiting>,
}

/// How many files are handed over and not yet filled.
#[derive(Default)]
struct Waiting {
    files: Mutex<usize>,
    fewer: Condvar,
}

impl Filler {
    /// Has a file filled by and by.
    pub(super) fn later(&self, empty: Empty) -> io::Result<()> {
        *lock(&self.waiting.files) += 1;
        // Those who fill stay until there is no more to come.
        self.sender.send(empty).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all are filled, for whoever changes one of them again.
    pub(super) fn wait(&self) {
        let files = lock(&self.waiting.files);
        let filled = self.waiting.fewer.wait_while(files, |files| *files > 0);
        drop(filled.unwrap_or_else(PoisonError::into_inner));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work`, while `threads` fill the files of `root` that it hands over; all are filled in the end.
///
/// # Errors
/// What `work` fails with, or why a file cannot be filled.
pub(super) fn with_filler<T>(
    root: &Root,
    threads: usize,
    work: impl FnOnce(Filler) -> Result<T, Error>,
) -> Result<T, Error> {
    let (sender, receiver) = sync_channel(WAITING);
    let (receiver, waiting) = (&Mutex::new(receiver), Arc::<Waiting>::default());
    let of_threads = &*Arc::clone(&waiting);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(move || fill(root, receiver, of_threads)))
            .collect();
        let done = work(Filler { sender, waiting });
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        done
    })
}

fn fill(root: &Root, receiver: &Mutex<Receiver<Empty>>, waiting: &Waiting) -> Result<(), Error> {
    let mut done = Ok(());
    loop {
        let next = lock(receiver).recv();
        let Ok(mut empty) = next else { return done };
        // After a failure the rest is only taken, so that nobody waits for room.
        if done.is_ok() {
            done = empty
                .file
                .write_all(&empty.content)
                .and_then(|()| root::set_attributes_of(&empty.file, empty.attributes))
                .map_err(|error| Trouble::Io(error).of(&empty.package, &empty.path, root));
        }
        *lock(&waiting.files) -= 1;
        waiting.fewer.notify_one();
    }
}
