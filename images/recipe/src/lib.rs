//! overboot.toml and overboot.lock: typed, checked, with precise diagnostics.
