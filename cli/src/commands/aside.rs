//! Files that nobody sees half-written.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::told::told;

/// Writes aside, then renames. Returns the file's size.
pub(super) fn write(
    file: &Path,
    write: impl FnOnce(&mut std::fs::File) -> Result<()>,
) -> Result<u64> {
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("there is no folder {}", folder.display());
        return Err(told(message, "make it, or name a file in another"));
    }
    let mut aside = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    write(aside.as_file_mut())?;
    aside.flush()?;
    aside.as_file().sync_all()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    aside.as_file().set_permissions(mode)?;
    let bytes = aside.as_file().metadata()?.len();
    aside.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(bytes)
}
