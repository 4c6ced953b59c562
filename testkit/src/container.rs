//! Container images made by hand: layers as tar archives, and an OCI image layout of them.

use std::fs;
use std::io::Write;
use std::path::Path;

use overboot_digest::Digest;
use tar::{EntryType, Header};

/// The time of everything in a layer, unless said otherwise.
pub const MTIME: u64 = 1_500_000_000;

/// A layer: the entries of its archive, in order.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    archive: Vec<u8>,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Layer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that somebody else has packed, with tar.
    #[must_use]
    pub fn of_tar(archive: Vec<u8>) -> Self {
        Self { archive }
    }

    /// A file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, mode, "", content)
    }

    /// A folder.
    #[must_use]
    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, mode, "", b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, 0o777, target, b"")
    }

    /// Another name for a file.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, 0o644, target, b"")
    }

    /// A file that hides what is called `name` below.
    #[must_use]
    pub fn whiteout(self, folder: &str, name: &str) -> Self {
        let slash = if folder.is_empty() { "" } else { "/" };
        self.file(&format!("{folder}{slash}.wh.{name}"), 0o644, b"")
    }

    /// A file that hides all that is below in a folder.
    #[must_use]
    pub fn opaque(self, folder: &str) -> Self {
        self.whiteout(folder, ".wh..opq")
    }

    /// What is next has these records in a PAX header.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let digits = |length: usize| length.to_string().len();
            let length = rest + digits(rest + digits(rest));
            bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        self.entry(EntryType::XHeader, "PaxHeaders/x", 0o644, "", &bytes)
    }

    /// Any entry. Its owner is 7:8 where it is a file, so that owners are seen.
    ///
    /// # Panics
    ///
    /// When a name is longer than a header can hold.
    #[must_use]
    pub fn entry(
        mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        link: &str,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_ustar();
        // `set_path` is for honest archives: here any name goes in.
        let name = &mut header.as_old_mut().name;
        assert!(path.len() <= name.len() && link.len() <= 100, "{path} is too long");
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        let file = kind == EntryType::Regular;
        header.set_uid(if file { 7 } else { 0 });
        header.set_gid(if file { 8 } else { 0 });
        header.set_mtime(MTIME);
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.archive.extend_from_slice(header.as_bytes());
        self.archive.extend_from_slice(content);
        let padding = content.len().next_multiple_of(512) - content.len();
        self.archive.resize(self.archive.len() + padding, 0);
        self
    }

    /// The archive.
    #[must_use]
    pub fn tar(&self) -> Vec<u8> {
        let mut archive = self.archive.clone();
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    /// The archive, packed.
    ///
    /// # Panics
    ///
    /// Never: memory takes all.
    #[must_use]
    pub fn packed(&self, packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Plain => self.tar(),
            Packing::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(&self.tar()).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(&self.tar()[..], 3).unwrap(),
        }
    }
}

/// Makes an image layout in `folder`, or adds to the one that is there: an image called `name` for `linux/ARCHITECTURE`. Returns the
/// digest of its manifest.
///
/// # Panics
///
/// When it cannot be written.
pub fn layout(
    folder: &Path,
    name: &str,
    architecture: &str,
    layers: &[(Layer, Packing)],
) -> Digest {
    let (mut described, mut diffs) = (Vec::new(), Vec::new());
    for (layer, packing) in layers {
        let kind = match packing {
            Packing::Plain => "tar",
            Packing::Gzip => "tar+gzip",
            Packing::Zstd => "tar+zstd",
        };
        let kind = format!("application/vnd.oci.image.layer.v1.{kind}");
        described.push(blob(folder, &kind, &layer.packed(*packing)));
        diffs.push(format!("\"{}\"", Digest::of(layer.tar())));
    }
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diffs.join(",")
    );
    let config = blob(folder, "application/vnd.oci.image.config.v1+json", config.as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{}]}}"#,
        described.join(",")
    );
    let entry = blob(folder, kind, manifest.as_bytes());
    let named = format!(
        r#"{},"platform":{{"os":"linux","architecture":"{architecture}"}},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#,
        entry.trim_end_matches('}')
    );
    let index = folder.join("index.json");
    let before = fs::read_to_string(&index).ok();
    let before = before.and_then(|text| {
        let (_, entries) = text.split_once('[')?;
        Some(format!("{},", entries.strip_suffix("]}")?))
    });
    let before = before.unwrap_or_default();
    fs::write(index, format!(r#"{{"schemaVersion":2,"manifests":[{before}{named}]}}"#)).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    Digest::of(manifest)
}

/// Writes a blob; its descriptor.
fn blob(folder: &Path, kind: &str, bytes: &[u8]) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let digest = Digest::of(bytes);
    fs::write(blobs.join(digest.hex()), bytes).unwrap();
    format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, bytes.len())
}
