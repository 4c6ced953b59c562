//! Putting the root together: images mounted read-only, archives unpacked, overlayfs over all with memory on top.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

use super::databases::{self, Merged};
use super::mounts::{ROOT, STATE, attach};
use super::sink::{Kept, LayerSink};
use super::{loop_device, module_index};
use crate::{Error, error};

/// Where layers lie and where they are mounted.
#[derive(Debug)]
pub struct Layers {
    images: PathBuf,
    lower: PathBuf,
    names: Vec<String>,
}

impl Layers {
    /// Makes room in memory for layers of so many bytes in all; `names` from the lowest.
    ///
    /// # Errors
    /// The kernel refuses to mount.
    pub fn prepare(names: Vec<String>, bytes: Option<u64>) -> Result<Self, Error> {
        let images = Path::new(STATE).join("layers");
        let lower = Path::new(STATE).join("lower");
        // Files take whole pages; and a limit keeps a lying server from filling the memory.
        let size = bytes
            .map_or("90%".to_owned(), |b| (b + (64 << 12) * (1 + names.len() as u64)).to_string());
        memory(&images, &size, "0700")?;
        fs_err::create_dir_all(&lower)?;
        Ok(Self { images, lower, names })
    }

    /// The sink for layer `index`.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn sink(&self, index: usize) -> Result<LayerSink, Error> {
        let name = self.names.get(index).map(String::as_str).unwrap_or_default();
        let folder = self.folder(index);
        memory(&folder, "90%", "0755")?;
        Ok(LayerSink::new(name, &self.image(index), &folder))
    }

    /// Mounts what the sinks kept as [`ROOT`], and has their databases merged there.
    ///
    /// # Errors
    /// The kernel refuses an image, or overlayfs.
    pub fn mount(&self, kept: &[Kept]) -> Result<Merged, Error> {
        let mut trouble = Vec::new();
        let mut lower = Vec::new();
        for (index, kept) in kept.iter().enumerate() {
            if let Kept::Image(image) = kept {
                let device = loop_device::attach(image)?;
                let flags = MountFlags::RDONLY | MountFlags::NODEV;
                mount(&device.path, self.folder(index), "squashfs", flags, None).map_err(
                    |errno| {
                        let name = self.names.get(index).cloned().unwrap_or_default();
                        let reason = format!("the kernel does not mount it as squashfs: {errno}");
                        Error::Format { layer: name, reason }
                    },
                )?;
            }
            if let Kept::Folder(folder) = kept
                && let Err(error) = databases::take_back(folder)
            {
                trouble.push(error::chain(&error));
            }
            lower.push(self.folder(index));
        }
        let from_below = lower.clone();
        // overlayfs names the uppermost first.
        lower.reverse();
        let top = Path::new(STATE).join("top");
        memory(&top, "75%", "0755")?;
        let (upper, work) = (top.join("upper"), top.join("work"));
        fs_err::create_dir_all(&upper)?;
        fs_err::create_dir_all(&work)?;
        let lower: Vec<String> = lower.iter().map(|folder| folder.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            upper.display(),
            work.display()
        );
        // Paths of ours have no NUL.
        let options = CString::new(options).unwrap_or_default();
        attach("overboot", "overlay", Path::new(ROOT), MountFlags::empty(), &options)?;
        let mut merged = databases::merge(&from_below, Path::new(ROOT))?;
        merged.trouble.splice(0..0, trouble);
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        if let Err(error) = module_index::merge(&from_below, Path::new(ROOT), &release) {
            merged.trouble.push(error::chain(&error));
        }
        Ok(merged)
    }

    fn image(&self, index: usize) -> PathBuf {
        let name = self.names.get(index).map(String::as_str).unwrap_or_default();
        self.images.join(format!("{index:02}-{name}"))
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.lower.join(format!("{index:02}"))
    }
}

fn memory(target: &Path, size: &str, mode: &str) -> Result<(), Error> {
    let options = CString::new(format!("size={size},mode={mode}")).unwrap_or_default();
    attach("tmpfs", "tmpfs", target, MountFlags::NOSUID, &options)
}

/// The program that the root starts with: what `init=` says, or the usual places.
#[must_use]
pub fn first_program(root: &Path, asked: Option<&str>) -> Option<PathBuf> {
    let usual = [
        "/sbin/init",
        "/lib/systemd/systemd",
        "/usr/lib/systemd/systemd",
        "/etc/init",
        "/bin/init",
    ];
    asked.into_iter().chain(usual).map(PathBuf::from).find(|path| exists_in(root, path, 0))
}

/// Whether `path` is there, links followed as if `root` were `/`.
fn exists_in(root: &Path, path: &Path, depth: usize) -> bool {
    let inside = root.join(path.strip_prefix("/").unwrap_or(path));
    match fs_err::read_link(&inside) {
        Ok(target) if depth < 8 => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            exists_in(root, &folder.join(target), depth + 1)
        }
        Ok(_) => false,
        Err(_) => fs_err::metadata(&inside).is_ok_and(|m| m.is_file()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_is_looked_for_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(first_program(root.path(), None), None);
        std::fs::create_dir_all(root.path().join("sbin")).unwrap();
        std::fs::create_dir_all(root.path().join("lib/systemd")).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/systemd", root.path().join("sbin/init")).unwrap();
        assert_eq!(first_program(root.path(), None), None, "a link to nothing");
        std::fs::write(root.path().join("lib/systemd/systemd"), "").unwrap();
        assert_eq!(first_program(root.path(), None), Some("/sbin/init".into()));
        std::fs::write(root.path().join("sbin/other"), "").unwrap();
        assert_eq!(first_program(root.path(), Some("/sbin/other")), Some("/sbin/other".into()));
    }
}
