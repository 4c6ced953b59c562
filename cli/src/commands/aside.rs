//! Files that nobody sees half-written.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::told::told;

/// Writes aside, then renames. Returns the file's size.
pub(super) fn write(
    file: &Path,
    write: impl FnOnce(&mut std::fs::File) -> Result<()>,
) -> Result<u64> {
    let aside = written(file, 0o644, write)?;
    let bytes = aside.as_file().metadata()?.len();
    aside.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(bytes)
}

/// The same for a file that must not be there yet.
pub(super) fn create(file: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let aside = written(file, mode, |aside| Ok(aside.write_all(bytes)?))?;
    aside.persist_noclobber(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

fn written(
    file: &Path,
    mode: u32,
    write: impl FnOnce(&mut std::fs::File) -> Result<()>,
) -> Result<NamedTempFile> {
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("there is no folder {}", folder.display());
        return Err(told(message, "make it, or name a file in another"));
    }
    let mut aside = NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    write(aside.as_file_mut())?;
    aside.flush()?;
    aside.as_file().sync_all()?;
    aside.as_file().set_permissions(Permissions::from_mode(mode))?;
    Ok(aside)
}
