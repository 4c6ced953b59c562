//! RackHD's management API and its node-facing half, one file for each kind of thing.

pub(crate) mod catalogs;
pub(crate) mod files;
pub(crate) mod lookups;
pub(crate) mod nodes;
pub(crate) mod obms;
pub(crate) mod profiles;
pub(crate) mod tasks;
pub(crate) mod timeline;
pub(crate) mod workflows;
