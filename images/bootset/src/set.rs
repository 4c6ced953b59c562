//! The manifest itself.

use std::io::{self, Read};

use overboot_digest::{Digest, Hasher};
use serde::{Deserialize, Serialize};

use crate::{Card, Error};

/// What boots together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSet {
    /// Version of this format: [`BootSet::FORMAT`].
    pub format: u32,
    /// Its name: letters, digits, `.`, `_`, `-`; at most 128.
    pub name: String,
    /// The kernel.
    pub kernel: Blob,
    /// The initrd's parts, concatenated by the boot loader in this order; 1 to 16.
    pub initrd: Vec<Blob>,
    /// A further part, for machines with a card that needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// Kernel modules and firmware for the running root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Layer>,
    /// The lowest layer of the root.
    pub base: Layer,
    /// What lies on it, lowest first.
    #[serde(default)]
    pub overlays: Vec<Layer>,
    /// What the image adds to the kernel command line; at most 1024 bytes, no control characters.
    #[serde(default)]
    pub cmdline: String,
    /// Least `MemTotal` in bytes that a node needs to boot it; 0: not known.
    #[serde(default)]
    pub ram_min: u64,
}

/// A file by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of all of it; also its name in a store.
    pub digest: Digest,
    /// Bytes, 1 or more.
    pub size: u64,
}

/// A part of the initrd with what network cards must be given before they reach the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// SHA-256 of all of it; also its name in a store.
    pub digest: Digest,
    /// Bytes, 1 or more.
    pub size: u64,
    /// The cards that do not work without; 1 to 4096.
    pub cards: Vec<Card>,
}

impl Firmware {
    /// Most cards.
    pub const MAX_CARDS: usize = 4096;

    /// Does a machine need it that has these network cards, `None` for one of which it is not known what it is? It may, where
    /// nothing is known of one, or of any.
    #[must_use]
    pub fn is_needed(&self, cards: &[Option<Card>]) -> bool {
        let listed = |card| self.cards.iter().any(|known| known.covers(card));
        cards.is_empty() || cards.iter().any(|card| card.is_none_or(listed))
    }

    /// The file, as it is in a store.
    #[must_use]
    pub fn blob(&self) -> Blob {
        Blob { digest: self.digest, size: self.size }
    }

    fn check(&self) -> Result<(), Error> {
        check_size("firmware", self.size)?;
        match self.cards.len() {
            1..=Self::MAX_CARDS => Ok(()),
            count => bad("firmware.cards", format!("{count}; want 1 to {}", Self::MAX_CARDS)),
        }
    }
}

/// A layer of the root, with what is needed to check it while it streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// For people: `base`, `discovery`. As [`BootSet::name`].
    pub name: String,
    /// SHA-256 of all of it; also its name in a store.
    pub digest: Digest,
    /// Bytes, 1 or more.
    pub size: u64,
    /// How it is packed.
    pub format: LayerFormat,
    /// Bytes per chunk: a power of two from 4 KiB to 64 MiB; the last chunk may be shorter.
    pub chunk_size: u32,
    /// SHA-256 of each chunk.
    pub chunks: Vec<Digest>,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LayerFormat {
    /// A squashfs image, mounted as it is.
    #[serde(rename = "squashfs")]
    Squashfs,
    /// A gzipped newc cpio archive, unpacked into memory (on-imagebuilder's overlays).
    #[serde(rename = "cpio.gz")]
    CpioGz,
}

impl BootSet {
    /// The format this crate reads and writes.
    pub const FORMAT: u32 = 1;
    /// Longest manifest in bytes.
    pub const MAX_BYTES: usize = 4 << 20;
    /// Most layers, base and modules included.
    pub const MAX_LAYERS: usize = 64;
    /// Most bytes all layers may have together: 1 TiB, far above any memory, so that sums cannot overflow.
    pub const MAX_TOTAL: u64 = 1 << 40;

    /// All layers, lowest first: base, modules, overlays.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.base).chain(&self.modules).chain(&self.overlays)
    }

    /// All that it names: kernel, initrd, layers.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> {
        let layers = self.layers().map(Layer::blob);
        let firmware = self.firmware.iter().map(Firmware::blob);
        let initrds = self.initrd.iter().copied().chain(firmware);
        std::iter::once(self.kernel).chain(initrds).chain(layers)
    }

    /// Bytes of all layers.
    #[must_use]
    pub fn layer_bytes(&self) -> u64 {
        self.layers().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }

    /// The one byte form of this set: what is signed and served. Compact JSON, fields in the order of the type.
    ///
    /// # Errors
    /// If the set is not [acceptable](Self::check): what nobody would read is not written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let mut bytes = serde_json::to_vec(self).map_err(Error::Parse)?;
        bytes.push(b'\n');
        if bytes.len() > Self::MAX_BYTES {
            return Err(Error::TooBig { size: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads a set whose signature has been verified, or that never left this machine.
    ///
    /// # Errors
    /// If it is too big, not JSON of this shape, of another format, or out of bounds.
    pub fn from_trusted_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Error::TooBig { size: bytes.len() });
        }
        // The format number first: a newer set must be called newer, not malformed.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(Error::Parse)?;
        if version.format != Self::FORMAT {
            return Err(Error::Format { found: version.format });
        }
        let set: Self = serde_json::from_slice(bytes).map_err(Error::Parse)?;
        set.check()?;
        Ok(set)
    }

    /// Whether every value is within its bounds.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), Error> {
        if self.format != Self::FORMAT {
            return Err(Error::Format { found: self.format });
        }
        check_name("name", &self.name)?;
        check_size("kernel", self.kernel.size)?;
        if self.initrd.is_empty() || self.initrd.len() > 16 {
            return bad("initrd", format!("{} parts; want 1 to 16", self.initrd.len()));
        }
        for (index, part) in self.initrd.iter().enumerate() {
            check_size(&format!("initrd[{index}]"), part.size)?;
        }
        self.firmware.as_ref().map_or(Ok(()), Firmware::check)?;
        let layers = 1 + usize::from(self.modules.is_some()) + self.overlays.len();
        if layers > Self::MAX_LAYERS {
            return bad(
                "overlays",
                format!("{layers} layers in all; at most {}", Self::MAX_LAYERS),
            );
        }
        for (field, layer) in
            std::iter::once(("base", &self.base)).chain(self.modules.iter().map(|m| ("modules", m)))
        {
            layer.check(field)?;
            if layer.format != LayerFormat::Squashfs {
                return bad(&format!("{field}.format"), "must be squashfs".to_owned());
            }
        }
        for (index, layer) in self.overlays.iter().enumerate() {
            layer.check(&format!("overlays[{index}]"))?;
        }
        if self.layer_bytes() > Self::MAX_TOTAL {
            return bad("base", format!("layers of {} bytes in all", self.layer_bytes()));
        }
        if self.cmdline.len() > 1024 || self.cmdline.chars().any(char::is_control) {
            return bad("cmdline", "more than 1024 bytes, or control characters".to_owned());
        }
        Ok(())
    }
}

impl Blob {
    /// Reads `reader` to its end and names what was in it.
    ///
    /// # Errors
    /// What `reader` fails with.
    pub fn of_reader(reader: impl Read) -> io::Result<Self> {
        let (digest, size) = Digest::of_reader(reader)?;
        Ok(Self { digest, size })
    }
}

impl Layer {
    /// Chunks of 4 MiB: small enough to notice and repair damage early, large enough that a 1 GiB layer needs 256.
    pub const CHUNK_SIZE: u32 = 4 << 20;

    /// Reads `reader` to its end and describes it as a layer with chunks of [`Layer::CHUNK_SIZE`].
    ///
    /// # Errors
    /// What `reader` fails with.
    pub fn of_reader(
        name: impl Into<String>,
        format: LayerFormat,
        mut reader: impl Read,
    ) -> io::Result<Self> {
        let (mut whole, mut size, mut chunks) = (Hasher::new(), 0, Vec::new());
        let mut chunk = Vec::with_capacity(Self::CHUNK_SIZE as usize);
        loop {
            chunk.clear();
            (&mut reader).take(u64::from(Self::CHUNK_SIZE)).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            whole.update(&chunk);
            size += chunk.len() as u64;
            chunks.push(Digest::of(&chunk));
        }
        let (name, digest) = (name.into(), whole.finish());
        Ok(Self { name, digest, size, format, chunk_size: Self::CHUNK_SIZE, chunks })
    }

    /// The layer without its chunks.
    #[must_use]
    pub fn blob(&self) -> Blob {
        Blob { digest: self.digest, size: self.size }
    }

    fn check(&self, field: &str) -> Result<(), Error> {
        check_name(&format!("{field}.name"), &self.name)?;
        check_size(field, self.size)?;
        if !self.chunk_size.is_power_of_two() || !(4 << 10..=64 << 20).contains(&self.chunk_size) {
            return bad(
                &format!("{field}.chunk_size"),
                format!("{}; want a power of two from 4 KiB to 64 MiB", self.chunk_size),
            );
        }
        let want = self.size.div_ceil(u64::from(self.chunk_size));
        if self.chunks.len() as u64 != want {
            return bad(
                &format!("{field}.chunks"),
                format!("{} digests; {} bytes have {want} chunks", self.chunks.len(), self.size),
            );
        }
        Ok(())
    }
}

fn bad(field: &str, reason: String) -> Result<(), Error> {
    Err(Error::Field { field: field.to_owned(), reason })
}

/// Names end up in URLs, paths and messages.
fn check_name(field: &str, name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
        let shown: String = name.chars().take(60).collect();
        return bad(
            field,
            format!("{shown:?}; want letters, digits, \".\", \"_\", \"-\", not \".\" first"),
        );
    }
    Ok(())
}

fn check_size(field: &str, size: u64) -> Result<(), Error> {
    if size == 0 || size > BootSet::MAX_TOTAL {
        return bad(&format!("{field}.size"), format!("{size} bytes"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> BootSet {
        let layer = |name: &str, format| Layer::of_reader(name, format, name.as_bytes()).unwrap();
        BootSet {
            format: 1,
            name: "discovery".into(),
            kernel: Blob::of_reader(&b"kernel"[..]).unwrap(),
            initrd: vec![Blob::of_reader(&b"initrd"[..]).unwrap()],
            firmware: None,
            modules: Some(layer("modules", LayerFormat::Squashfs)),
            base: layer("base", LayerFormat::Squashfs),
            overlays: vec![layer("discovery", LayerFormat::CpioGz)],
            cmdline: "console=ttyS0".into(),
            ram_min: 512 << 20,
        }
    }

    #[test]
    fn firmware_is_for_some_cards() {
        let digest = Digest::of("firmware");
        let card = |text: &str| text.parse::<Card>().unwrap();
        let of = |cards: Vec<Card>| BootSet {
            firmware: Some(Firmware { digest, size: 1, cards }),
            ..sample()
        };
        let set = of(vec![card("14e4:164c"), card("4040:*")]);
        let bytes = set.to_bytes().unwrap();
        assert_eq!(BootSet::from_trusted_bytes(&bytes).unwrap(), set);
        assert!(set.blobs().any(|blob| blob.digest == digest));
        let text = String::from_utf8(bytes).unwrap();
        assert!(BootSet::from_trusted_bytes(text.replace("4040:*", "*:4040").as_bytes()).is_err());
        assert!(of(vec![card("14e4:*"); Firmware::MAX_CARDS + 1]).to_bytes().is_err());
        assert!(of(Vec::new()).to_bytes().is_err());
        let needed = |cards: &[&str]| {
            let cards: Vec<_> = cards.iter().map(|card| card.parse().ok()).collect();
            set.firmware.as_ref().unwrap().is_needed(&cards)
        };
        for needing in [&[][..], &["?"], &["8086:0001", "4040:0100"], &["14e4:164c"]] {
            assert!(needed(needing), "{needing:?}");
        }
        assert!(!needed(&["14e4:164d", "8086:0001"]));
    }

    #[test]
    fn the_byte_form_is_one() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(BootSet::from_trusted_bytes(&bytes).unwrap(), sample());
        assert_eq!(
            Digest::of(&bytes).short(),
            Digest::of(sample().to_bytes().unwrap()).short(),
            "same set, same bytes"
        );
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(r#"{"format":1,"name":"discovery","kernel":{"digest":"sha256:"#));
        assert!(text.contains(r#""format":"cpio.gz","chunk_size":4194304,"chunks":["sha256:"#));
    }

    #[test]
    fn layers_are_named_from_below() {
        let set = sample();
        let names: Vec<&str> = set.layers().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["base", "modules", "discovery"]);
        assert_eq!(set.layer_bytes(), 4 + 7 + 9);
    }

    #[test]
    fn chunks_cover_the_layer() {
        let data = vec![1u8; 4 * 1024 * 1024 * 2 + 5];
        let layer = Layer::of_reader("x", LayerFormat::Squashfs, &data[..]).unwrap();
        assert_eq!((layer.size, layer.chunks.len()), (data.len() as u64, 3));
        assert_eq!(layer.digest, Digest::of(&data));
        assert_eq!(layer.chunks[2], Digest::of(&data[data.len() - 5..]));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        type Spoil = fn(&mut BootSet);
        let cases: [(&str, Spoil); 12] = [
            ("name", |s| s.name = "../etc".into()),
            ("name", |s| s.name = ".hidden".into()),
            ("kernel.size", |s| s.kernel.size = 0),
            ("initrd", |s| s.initrd.clear()),
            ("initrd[0].size", |s| s.initrd[0].size = u64::MAX),
            ("base.format", |s| s.base.format = LayerFormat::CpioGz),
            ("base.chunk_size", |s| s.base.chunk_size = 0),
            ("base.chunk_size", |s| s.base.chunk_size = 5000),
            ("overlays[0].chunks", |s| s.overlays[0].chunks.clear()),
            ("overlays[0].size", |s| s.overlays[0].size = 0),
            ("overlays", |s| s.overlays = vec![s.overlays[0].clone(); 63]),
            ("cmdline", |s| s.cmdline = "a\nb".into()),
        ];
        for (want, spoil) in cases {
            let mut set = sample();
            spoil(&mut set);
            match set.to_bytes() {
                Err(Error::Field { field, .. }) => assert_eq!(field, want),
                other => panic!("{want}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_newer_format_is_called_newer() {
        let error = BootSet::from_trusted_bytes(br#"{"format":2,"other":[]}"#).unwrap_err();
        assert!(matches!(error, Error::Format { found: 2 }), "{error}");
        assert!(error.hint().is_some());
        assert!(matches!(BootSet::from_trusted_bytes(b"[]"), Err(Error::Parse(_))));
    }
}
