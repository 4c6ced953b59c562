//! Squashfs 4.0: a parallel, reproducible writer and a reader.
