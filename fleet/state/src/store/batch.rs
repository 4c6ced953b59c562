//! Several writes at once, or none of them.

use std::net::IpAddr;

use overboot_dhcp::Mac;

use super::{Durability, State};
use crate::{Catalog, Error, Lookup, NodeSession, Workflow};

/// What is to be written at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Runs: new ones have version 0; others are written if their version is still the stored one.
    pub workflows: Vec<Workflow>,
    /// Sessions.
    pub sessions: Vec<NodeSession>,
    /// New catalogs.
    pub catalogs: Vec<Catalog>,
    /// Addresses that nodes say they have: MAC address, IP address, and the node by its id. One that is known to be
    /// another node's stays that one's.
    pub addresses: Vec<(Mac, Option<IpAddr>, String)>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workflows.is_empty()
            && self.sessions.is_empty()
            && self.catalogs.is_empty()
            && self.addresses.is_empty()
    }
}

impl State {
    /// Writes all of a batch, or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if a run has changed since it was read, [`Error::TargetTaken`] if a new run's node has an
    /// active one, [`Error::NoNode`], [`Error::Database`].
    pub async fn write_batch(&self, durability: Durability, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let batch = batch.clone();
        self.write(durability, "writing a transition", |connection| {
            Box::pin(async move {
                for workflow in &batch.workflows {
                    super::workflows::put(connection, workflow).await?;
                }
                for session in &batch.sessions {
                    super::timelines::put_session(connection, session).await?;
                }
                for catalog in &batch.catalogs {
                    super::catalogs::insert(connection, catalog).await?;
                }
                for (mac, ip, node) in &batch.addresses {
                    let known = super::lookups::by_term(connection, &mac.to_string()).await?;
                    let others = |lookup: &Lookup| lookup.node.as_ref().is_some_and(|n| n != node);
                    if !known.iter().any(others) {
                        super::lookups::learn(connection, *mac, *ip, Some(node), None).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }
}
