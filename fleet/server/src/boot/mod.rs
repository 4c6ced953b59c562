//! What a machine is given to boot, from what the fleet knows: the glue between `overboot-netboot`'s decision and the
//! workflows.

pub(crate) mod admit;
pub(crate) mod decider;
pub(crate) mod plan;
