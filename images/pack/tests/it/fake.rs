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
    let plain = overboot_testkit::kernel::module(modinfo.as_bytes());
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
