//! The cpio newc format, which is what the kernel unpacks as initramfs: a reproducible writer and a
//! bounded reader.
//!
//! - [`Entry`]: one name with its mode, owner and what else the header holds.
//! - [`Writer`]: archives out; the same entries give the same bytes.
//! - [`Reader`]: archives in, entry by entry, without trust and in constant memory.
//!
//! ```
//! use overboot_cpio::{Entry, Reader, Writer};
//! let mut writer = Writer::new(Vec::new());
//! writer.entry(&Entry::directory("etc", 0o755), b"")?;
//! writer.entry(&Entry::file("etc/hostname", 0o644), b"node\n")?;
//! let archive = writer.finish()?;
//!
//! let mut reader = Reader::new(&archive[..]);
//! while let Some(entry) = reader.next_entry()? {
//!     println!("{} {} bytes", entry.safe_path()?.display(), entry.size);
//! }
//! # Ok::<(), overboot_cpio::Error>(())
//! ```
//!
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst` of the Linux kernel, and
//! `init/initramfs.c`, which unpacks it.
//!
//! Knows nothing of compression and of the file system. No dependencies: the init program uses it.

mod entry;
mod error;
mod header;
mod reader;
mod writer;

pub use entry::{Entry, mode};
pub use error::Error;
pub use reader::Reader;
pub use writer::Writer;
