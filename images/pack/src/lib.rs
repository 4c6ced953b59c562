//! A root tree into images: base, modules, overlay, initrd.
