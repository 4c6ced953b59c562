//! One spelling for a module's name.
//!
//! The kernel, the files and the users write `-` and `_` at will (`crc32c-intel.ko` is module `crc32c_intel`);
//! modprobe(8): "there is no difference between _ and - in module names (automatic underscore conversion is performed)".

use std::borrow::Cow;

/// `name` with every `-` as `_`.
#[must_use]
pub fn normalise(name: &str) -> Cow<'_, str> {
    if name.contains('-') { Cow::Owned(name.replace('-', "_")) } else { Cow::Borrowed(name) }
}

/// The module's name, normalised, that the file at `path` holds: `a/b/foo-bar.ko.xz` is `foo_bar`.
/// `None` if the file's name is not that of a module.
#[must_use]
pub fn of_path(path: &str) -> Option<Cow<'_, str>> {
    let file = uncompressed(path).rsplit('/').next()?;
    let stem = file.strip_suffix(".ko")?;
    if stem.is_empty() { None } else { Some(normalise(stem)) }
}

/// `path` without the suffix of a compression: `foo.ko.xz`, `foo.ko.zst` and `foo.ko.gz` are `foo.ko`.
#[must_use]
pub fn uncompressed(path: &str) -> &str {
    for suffix in [".xz", ".zst", ".gz"] {
        if let Some(rest) = path.strip_suffix(suffix)
            && rest.ends_with(".ko")
        {
            return rest;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_name() {
        assert_eq!(of_path("kernel/lib/crc32c-intel.ko.xz").as_deref(), Some("crc32c_intel"));
        assert_eq!(of_path("snd-hda.ko.zst").as_deref(), Some("snd_hda"));
        assert_eq!(of_path("x.ko").as_deref(), Some("x"));
        for bad in ["modules.dep", "kernel", "a/.ko", "", "x.ko.lz4", "x.xz"] {
            assert_eq!(of_path(bad), None, "{bad}");
        }
    }
}
