//! A root tree into images: base, modules, overlay, initrd.
//!
//! | module | makes |
//! |---|---|
//! | [`tree`] | a directory into a list of squashfs entries: links, devices, attributes, times held down |
//! | [`image`] | entries into a squashfs image |
//! | [`kernel`] | an unpacked kernel package into its version, its image and what its modules say |
//! | [`select`] | patterns into modules, with all that they need |
//! | [`firmware`] | the firmware files that modules ask for; a second initrd of those that network cards need first |
//! | [`modules`] | the layer of modules, with depmod's files for exactly what is inside |
//! | [`initrd`] | init, modules and files into a compressed cpio that the kernel unpacks |
//! | [`overlay`] | the upper directory of an overlayfs into a layer, or into a `cpio.gz` as on-imagebuilder made it |
//! | [`blocks`] | a directory of what was computed of content, so that packing again costs what has changed |
//! | [`glob`] | the patterns for paths |
//!
//! Reproducible: the bytes depend on names, contents, modes, owners and attributes of what is packed and on the options,
//! never on the clock, on where the tree lies, on the order in which a directory is read or on the number of threads.
//!
//! Knows nothing of Debian but where a kernel package puts its files, nothing of recipes, stores or networks; what must
//! not be in an image (machine ids, host keys) is for `rootfs` to remove before.

mod assembly;
pub mod blocks;
mod compress;
mod cpio;
pub mod error;
pub mod firmware;
mod frames;
pub mod glob;
pub mod image;
pub mod initrd;
pub mod kernel;
pub mod modules;
pub mod overlay;
mod reading;
pub mod select;
pub mod tree;

pub use error::Error;
pub use glob::Glob;
pub use kernel::{Kernel, KernelModules};
pub use tree::{Facts, ScanOptions, Tree};
