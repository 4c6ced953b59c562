//! The signed manifest of a boot set and its check, chunk by chunk.
