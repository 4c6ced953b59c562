//! Registries that mean harm.
