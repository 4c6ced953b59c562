//! Leases on disk.
//!
//! A text file, one line a change: hardware address, address, end in seconds since 1970. A line is written and synced
//! before the client hears of it, so no crash makes two machines owners of one address. The last line may be torn, which
//! is forgiven: its client never got an answer. When most lines are outdated, the file is written anew aside and renamed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err::{self as fs, File, OpenOptions};

use crate::dhcp::leases::Lease;
use crate::error::Error;

/// So many outdated lines are not worth a rewrite.
const SLACK: usize = 1000;

/// The file, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// The last write failed, maybe in the middle of a line.
    torn: bool,
}

impl Journal {
    /// Opens the journal, creating it and its folder if needed; returns the leases in the order of their lines.
    ///
    /// # Errors
    /// [`Error::Journal`]. A damaged line in the middle is skipped with a warning: losing one lease is better than
    /// serving none.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Vec<Lease>), Error> {
        let path = path.into();
        let read = || -> io::Result<(File, String)> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let text = match fs::read(&path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            if !text.is_empty() && !text.ends_with('\n') {
                // Close the torn line, so that the next one stands by itself.
                file.write_all(b"\n")?;
            }
            Ok((file, text))
        };
        let (file, text) =
            read().map_err(|source| Error::Journal { path: path.clone(), source })?;
        let mut leases = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            match parse(line) {
                Some(lease) => leases.push(lease),
                None => tracing::warn!(
                    path = %path.display(), line = index + 1, "skipped a damaged line of the lease journal"
                ),
            }
        }
        let lines = text.lines().count();
        Ok((Self { path, file, lines, torn: false }, leases))
    }

    /// Writes `leases` down and syncs them.
    ///
    /// # Errors
    /// [`Error::Journal`]; the leases must then not be given.
    pub fn append(&mut self, leases: &[Lease]) -> Result<(), Error> {
        let mut text: String = leases.iter().map(line).collect();
        if std::mem::replace(&mut self.torn, true) {
            text.insert(0, '\n');
        }
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        self.torn = false;
        self.lines += leases.len();
        Ok(())
    }

    /// Whether [`rewrite`](Self::rewrite) is worth it with so many leases.
    #[must_use]
    pub fn is_bloated(&self, leases: usize) -> bool {
        self.lines > 4 * leases + SLACK
    }

    /// Replaces the file by one that has just `leases`.
    ///
    /// # Errors
    /// [`Error::Journal`]; the old file is then still there and complete.
    pub fn rewrite(&mut self, leases: &[Lease]) -> Result<(), Error> {
        let aside = self.path.with_extension("new");
        let write = |aside: &Path| -> io::Result<File> {
            let mut file = File::create(aside)?;
            file.write_all(leases.iter().map(line).collect::<String>().as_bytes())?;
            file.sync_all()?;
            fs::rename(aside, &self.path)?;
            if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty())
            {
                File::open(folder)?.sync_all()?;
            }
            OpenOptions::new().append(true).open(&self.path)
        };
        self.file =
            write(&aside).map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        self.torn = false;
        self.lines = leases.len();
        Ok(())
    }
}

fn line(lease: &Lease) -> String {
    let seconds = lease.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{} {} {seconds}\n", lease.mac, lease.address)
}

fn parse(line: &str) -> Option<Lease> {
    let mut words = line.split(' ');
    let mac = words.next()?.parse().ok()?;
    let address = words.next()?.parse().ok()?;
    let seconds = Duration::from_secs(words.next()?.parse().ok()?);
    let until = SystemTime::UNIX_EPOCH.checked_add(seconds)?;
    words.next().is_none().then_some(Lease { mac, address, until })
}

#[cfg(test)]
mod tests {
    use overboot_dhcp::Mac;

    use super::*;

    fn lease(last: u8, seconds: u64) -> Lease {
        Lease {
            mac: Mac::new([2, 0, 0, 0, 0, last]),
            address: [10, 0, 0, last].into(),
            until: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/leases");
        let (mut journal, leases) = Journal::open(&path).unwrap();
        assert!(leases.is_empty());
        journal.append(&[lease(1, 100)]).unwrap();
        journal.append(&[lease(2, 200), lease(1, 300)]).unwrap();
        let (_, leases) = Journal::open(&path).unwrap();
        assert_eq!(leases, [lease(1, 100), lease(2, 200), lease(1, 300)]);
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[lease(1, 100), lease(2, 200)]).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, before) = Journal::open(&path).unwrap();
            assert!(before.len() <= 2);
            journal.append(&[lease(3, 300)]).unwrap();
            let (_, after) = Journal::open(&path).unwrap();
            assert_eq!(after.last(), Some(&lease(3, 300)), "cut at {length}");
        }
    }

    #[test]
    fn rewriting_keeps_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let (mut journal, _) = Journal::open(&path).unwrap();
        assert!(!journal.is_bloated(0));
        let many: Vec<_> = (0..1001).map(|seconds| lease(1, seconds)).collect();
        journal.append(&many).unwrap();
        assert!(journal.is_bloated(0));
        journal.rewrite(&[lease(1, 1000)]).unwrap();
        journal.append(&[lease(2, 1)]).unwrap();
        let (_, leases) = Journal::open(&path).unwrap();
        assert_eq!(leases, [lease(1, 1000), lease(2, 1)]);
    }
}
