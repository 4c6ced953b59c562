//! Package archives: trust, resolve, fetch; the package store.
