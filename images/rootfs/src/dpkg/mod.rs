//! dpkg's database in a tree, as dpkg itself would have left it after unpacking (dpkg(1), *Files*; dpkg's `lib/dpkg`).
//!
//! - [`status`]: the stanza of an unpacked package; who is installed.
//! - [`info`]: a package's control files and its list of paths.
//! - [`triggers`]: who waits for which path, and what unpacking has set off.
//! - [`diversions`]: which package's file goes elsewhere.
//! - [`overrides`]: whose owner and mode are not the package's.

pub(crate) mod diversions;
pub(crate) mod info;
pub(crate) mod overrides;
pub(crate) mod status;
pub(crate) mod triggers;

use crate::error::Error;
use crate::root::Root;

/// Where the database is.
pub(crate) const FOLDER: &str = "var/lib/dpkg";

/// Makes an empty database where there is none.
pub(crate) fn create(root: &Root) -> Result<(), Error> {
    if root.exists(format!("{FOLDER}/status")) {
        return Ok(());
    }
    for folder in ["info", "updates", "triggers", "alternatives", "parts"] {
        root.make_folder(format!("{FOLDER}/{folder}"))?;
    }
    for file in ["status", "diversions"] {
        root.write(format!("{FOLDER}/{file}"), 0o644, b"")?;
    }
    // The format with `name:arch` only where several architectures of a package may be installed together.
    root.write(format!("{FOLDER}/info/format"), 0o644, b"1\n")
}
