//! Whether what is to be booted fits into this machine's memory. Pure, but for reading `/proc/meminfo`.

use overboot_bootset::{BootSet, LayerFormat};

use crate::Error;

/// The machine's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All that the kernel manages.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
}

/// What must stay for programs once the root is up.
const RUNNING: u64 = 64 << 20;
/// How much a gzipped archive grows when it is unpacked, at a guess.
const UNPACKED: u64 = 4;

impl Memory {
    /// Reads `/proc/meminfo`.
    #[must_use]
    pub fn read() -> Option<Self> {
        Self::parse(&fs_err::read_to_string("/proc/meminfo").ok()?)
    }

    /// Reads the text of `/proc/meminfo`, which counts in KiB.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim_start_matches(':').split_whitespace().next()?.parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self { total: field("MemTotal")?, available: field("MemAvailable")? })
    }

    /// Refuses a set that would not fit.
    ///
    /// `MemTotal` is less than what the machine has (the kernel itself is not in it), so the set's wish is compared
    /// with an allowance of an eighth.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn check(self, set: &BootSet) -> Result<(), Error> {
        let what = format!("boot set {}", set.name);
        if self.total.saturating_add(set.ram_min / 8) < set.ram_min {
            return Err(Error::Memory { what, have: self.total, need: set.ram_min });
        }
        self.check_layers(what, set.layers().map(|layer| (layer.format, layer.size)))
    }

    /// Refuses layers of these sizes if they would leave no room to run in.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn check_layers(
        self,
        what: String,
        layers: impl Iterator<Item = (LayerFormat, u64)>,
    ) -> Result<(), Error> {
        let unpacked = layers.map(|(format, size)| match format {
            LayerFormat::Squashfs => size,
            LayerFormat::CpioGz => size.saturating_mul(UNPACKED),
        });
        let need = unpacked.fold(RUNNING, u64::saturating_add);
        if self.available < need {
            let used = self.total.saturating_sub(self.available);
            return Err(Error::Memory { what, have: self.total, need: need.saturating_add(used) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use overboot_bootset::{Blob, Layer};

    use super::*;

    fn set(ram_min: u64, size: u64) -> BootSet {
        let mut base = Layer::of_reader("base", LayerFormat::Squashfs, &b"x"[..]).unwrap();
        base.size = size;
        let blob = Blob { digest: base.digest, size: 1 };
        BootSet {
            format: 1,
            name: "discovery".into(),
            kernel: blob,
            initrd: vec![blob],
            firmware: None,
            modules: None,
            base,
            overlays: vec![],
            cmdline: String::new(),
            ram_min,
        }
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:        1002872 kB\nMemFree:          900000 kB\nMemAvailable:     950000 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.total, memory.available), (1_002_872 * 1024, 950_000 * 1024));
        assert_eq!(Memory::parse("MemTotal: x kB"), None);
        assert!(Memory::read().is_some());
    }

    #[test]
    fn too_little_is_refused_with_both_numbers() {
        let memory = Memory { total: 480 << 20, available: 400 << 20 };
        memory.check(&set(512 << 20, 100 << 20)).unwrap();
        let error = memory.check(&set(1 << 30, 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this node has 480 MiB of memory; boot set discovery needs 1024 MiB"
        );
        assert!(memory.check(&set(0, 350 << 20)).is_err(), "no room to run in");
        assert!(memory.check(&set(0, u64::MAX)).is_err());
    }
}
