//! A kernel package in miniature: modules that are ELF objects with a `.modinfo`, packed in every way that kernels do.

use std::io::Write;
use std::path::Path;

/// The version of the fake kernel.
pub(crate) const VERSION: &str = "6.1.2-fake";

/// Writes the package's files below `root`.
pub(crate) fn kernel(root: &Path) {
    let modules = root.join("usr/lib/modules").join(VERSION);
    fs_err::create_dir_all(root.join("boot")).unwrap();
    fs_err::write(root.join("boot").join(format!("vmlinuz-{VERSION}")), "bzImage").unwrap();
    for (path, modinfo) in [
        (
            "kernel/drivers/block/loop.ko",
            "alias=block-major-7-*\0alias=devname:loop-control\0alias=char-major-10-237\0",
        ),
        ("kernel/fs/overlayfs/overlay.ko.xz", "alias=fs-overlay\0"),
        (
            "kernel/drivers/net/ethernet/acme/acme.ko.xz",
            "depends=acme-core\0alias=pci:v0000ACEDd*\0softdep=pre: crypto-sum\0firmware=acme/nic.fw\0firmware=acme/many-*.bin\0firmware=acme/gone.fw\0",
        ),
        ("kernel/drivers/net/ethernet/acme/acme-core.ko.zst", "depends=\0"),
        ("kernel/drivers/net/ethernet/old/old.ko.gz", "alias=pci:v00000001d*\0"),
        ("kernel/drivers/net/wireless/radio.ko.xz", "weakdep=acme\0"),
        ("kernel/lib/sum.ko", "alias=crypto-sum\0"),
    ] {
        module(&modules.join(path), modinfo);
    }
    fs_err::write(modules.join("modules.builtin"), "kernel/fs/squashfs/squashfs.ko\n").unwrap();
    fs_err::write(modules.join("modules.builtin.modinfo"), b"squashfs.alias=fs-squashfs\0")
        .unwrap();
    let order = "kernel/lib/sum.ko\nkernel/drivers/block/loop.ko\n";
    fs_err::write(modules.join("modules.order"), order).unwrap();
}

/// Writes one module, compressed as its name says.
pub(crate) fn module(path: &Path, modinfo: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let plain = object(modinfo.as_bytes());
    let packed = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("xz") => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
        Some("zst") => zstd::encode_all(&plain[..], 1).unwrap(),
        Some("gz") => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
        _ => plain,
    };
    fs_err::write(path, packed).unwrap();
}

/// A relocatable ELF-64 file with two sections: names and `.modinfo`.
fn object(modinfo: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0; 64];
    let mut headers = vec![0; 64];
    for (name, content) in [(1u32, modinfo), (10, &names[..])] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4] = 1;
        header[0x18..0x20].copy_from_slice(&(file.len() as u64).to_le_bytes());
        header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
        headers.extend(header);
        file.extend(content);
    }
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let at = file.len() as u64;
    file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
    for (at, number) in [(0x10, 1u16), (0x12, 62), (0x34, 64), (0x3a, 64), (0x3c, 3), (0x3e, 2)] {
        file[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    file.extend(headers);
    file
}
