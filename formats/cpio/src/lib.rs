//! The cpio newc format: a reproducible writer and a bounded reader.
