//! A set of packages into a tree: unpacked by us, configured by the tree's own dpkg.

use std::path::PathBuf;

use crate::Log;
use crate::configure;
use crate::dpkg;
use crate::error::Error;
use crate::filters::Filters;
use crate::root::Root;
use crate::sandbox::Sandbox;
use crate::unpack::unpack;

/// A package that is there as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version; the file must say the same.
    pub version: String,
    /// Its architecture, which may be `all`.
    pub architecture: String,
    /// The `.deb`. Its digest has been checked by whoever put it there.
    pub path: PathBuf,
}

/// Installs `batches` of packages into `root`, in order: each batch is unpacked as a whole, and is configured before the
/// next one where the next one's packages pre-depend on it (Debian Policy 7.2). All are configured in the end.
///
/// The first packages of an empty tree cannot run their preinst scripts before they are unpacked, since there is no shell
/// yet; it is run after, as debootstrap and mmdebstrap do.
///
/// # Errors
/// A package that cannot be unpacked, a maintainer script that fails, a package that is not installed in the end.
pub fn install(
    root: &Root,
    batches: &[Vec<Package>],
    filters: &Filters,
    epoch: u64,
    threads: usize,
    log: Log<'_>,
) -> Result<(), Error> {
    let first = !root.exists(format!("{}/status", dpkg::FOLDER));
    dpkg::create(root)?;
    let sandbox = Sandbox::new(root.path(), epoch);
    for (at, batch) in batches.iter().enumerate() {
        log(&format!("unpacking {} packages", batch.len()));
        let packages: Vec<&Package> = batch.iter().collect();
        if first && at == 0 {
            unpack(root, &packages, filters, threads)?;
            skeleton(root)?;
            configure::preinst(root, &sandbox, &packages, log)?;
        } else {
            configure::preinst(root, &sandbox, &packages, log)?;
            unpack(root, &packages, filters, threads)?;
        }
        log(&format!("configuring {} packages", batch.len()));
        configure::configure(root, &sandbox, &packages, log)?;
    }
    configure::check(root)
}

/// Makes what must stand in a tree before anything runs in it: the folders that the sandbox mounts on, where nobody has brought
/// them.
///
/// # Errors
/// Something else stands in their place, or they cannot be made.
pub fn skeleton(root: &Root) -> Result<(), Error> {
    for folder in ["dev", "proc", "sys", "run"] {
        root.make_folder(folder)?;
    }
    if !root.exists("tmp") {
        root.make_folder("tmp")?;
        // Everybody's, and each file its owner's.
        root.set_mode("tmp", 0o1777)?;
    }
    Ok(())
}
