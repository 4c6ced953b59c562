//! Debian's own formats: control stanzas, versions, relations between packages, `.deb` archives.
//!
//! | module | reads | defined by |
//! |---|---|---|
//! | [`deb822`] | `Packages`, `Release`, `control`, `status`, `*.sources` | Debian Policy 5.1, `deb822(5)` |
//! | [`version`] | `1:2.30-1~deb13u1`, in dpkg's order | Debian Policy 5.6.12, `deb-version(7)` |
//! | [`relation`] | `libc6 (>= 2.38) \| libc6.1, python3:any` | Debian Policy 7.1 |
//! | [`deb`] | a binary package: its control files and its tar stream | `deb(5)` |
//! | [`ar`] | the container of a `.deb` | `deb(5)`, `ar(5)` |
//!
//! Bytes in, values out; every input is taken for hostile: bounded, and never a panic.
//! Knows nothing of files, networks, suites, solving or what becomes of an unpacked file.
//!
//! ```
//! use overboot_debian::{deb822, relation::Relations, version};
//!
//! let text = "Package: hello\nVersion: 2.10-5\nDepends: libc6 (>= 2.38)\n";
//! let stanza = deb822::single(text)?;
//! assert_eq!(stanza.get("package"), Some("hello"));
//!
//! let depends: Relations = stanza.get("Depends").unwrap_or_default().parse()?;
//! assert_eq!(depends.0[0].0[0].name, "libc6");
//! assert!(version::compare("2.41-12", "2.38").is_gt());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod ar;
pub mod deb;
pub mod deb822;
pub mod relation;
pub mod version;
