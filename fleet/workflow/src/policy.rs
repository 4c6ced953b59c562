//! What jobs and turns know of their surroundings.

use std::time::Duration;

use serde_json::{Map, Value};

/// Numbers and template values that are the same for all runs.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// `server`, `api` and `file` of templates.
    pub(crate) scope: Map<String, Value>,
    /// How long a task may run that does not say so itself.
    pub(crate) task_timeout: Duration,
    /// The pause after a power control has failed for the first time.
    pub(crate) obm_delay: Duration,
    /// How often a failed power control is tried again.
    pub(crate) obm_retries: u32,
}
