//! What commands that still run have written lately. In memory only: when they have ended, the results have it all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use overboot_state::{NodeId, Timestamp};
use overboot_wire::OutputReport;
use serde::Serialize;

/// What a node's command has written lately.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    cmd: String,
    bytes: u64,
    tail: String,
    since: Timestamp,
}

/// One at most for each node.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Mutex<HashMap<NodeId, Output>>);

/// A node's words are kept no longer than this, whatever it sends.
const MAX_TEXT: usize = 2 * OutputReport::TAIL;

impl Outputs {
    /// Notes what a node says.
    pub(crate) fn set(&self, node: NodeId, report: &OutputReport) {
        let cut = |text: &str| text.chars().take(MAX_TEXT).collect();
        let (cmd, tail) = (cut(&report.cmd), cut(&report.tail));
        let output = Output { cmd, bytes: report.bytes, tail, since: Timestamp::now() };
        self.lock().insert(node, output);
    }

    /// Forgets it: the command has ended, or its system.
    pub(crate) fn remove(&self, node: &NodeId) {
        self.lock().remove(node);
    }

    /// What there is.
    pub(crate) fn get(&self, node: &NodeId) -> Option<Output> {
        self.lock().get(node).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Output>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
