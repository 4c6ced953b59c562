//! The rows of the table, one file each.

pub(crate) mod edit;
pub(crate) mod minbase;
pub(crate) mod resolve;
pub(crate) mod set;
pub(crate) mod squashfs;
pub(crate) mod systemd;
pub(crate) mod unchanged;
pub(crate) mod update;
