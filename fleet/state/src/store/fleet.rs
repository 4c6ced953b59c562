//! Nodes, and finding them by whatever names them.

use overboot_dhcp::Mac;
use sqlx::sqlite::SqliteConnection;

use super::{Durability, State, database, documents, from_text, to_text};
use crate::{Error, Node, NodeId, Timestamp};

impl State {
    /// Writes a node: a new one, or over the one with its id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn put_node(&self, node: &Node) -> Result<(), Error> {
        let node = node.clone();
        self.write(Durability::Full, "writing a node", |connection| {
            Box::pin(async move { put(connection, &node).await })
        })
        .await
    }

    /// Reads a node, lets `change` change it, and writes it, with nobody in between. Nothing if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn update_node(
        &self,
        id: &NodeId,
        change: impl FnOnce(&mut Node) + Send + 'static,
    ) -> Result<Option<Node>, Error> {
        const DOING: &str = "changing a node";
        let id = id.clone();
        self.write(Durability::Full, DOING, |connection| {
            Box::pin(async move {
                let Some(mut node) = by_id(connection, id.as_str()).await? else {
                    return Ok(None);
                };
                change(&mut node);
                node.id = id;
                node.updated_at = Timestamp::now();
                put(connection, &node).await?;
                Ok(Some(node))
            })
        })
        .await
    }

    /// The node that has one of these MAC addresses, made if there is none; every address gets a lookup that points
    /// to it. Whether it was made.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn find_or_create_node(&self, macs: &[Mac]) -> Result<(Node, bool), Error> {
        let macs = macs.to_vec();
        self.write(Durability::Full, "looking for a node by its MAC addresses", |connection| {
            Box::pin(async move {
                let mut found = None;
                for mac in &macs {
                    if found.is_none() {
                        found = find(connection, &mac.to_string()).await?;
                    }
                }
                let created = found.is_none();
                let node = match found {
                    Some(node) => node,
                    None => {
                        let node = Node::discovered(&macs);
                        put(connection, &node).await?;
                        node
                    }
                };
                for mac in &macs {
                    super::lookups::learn(connection, *mac, None, Some(node.id.as_str()), None)
                        .await?;
                }
                Ok((node, created))
            })
        })
        .await
    }

    /// The node with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn node(&self, id: &NodeId) -> Result<Option<Node>, Error> {
        let mut connection = self.readers.acquire().await.map_err(database("reading a node"))?;
        by_id(&mut connection, id.as_str()).await
    }

    /// All nodes, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        const DOING: &str = "listing nodes";
        let rows = sqlx::query_as("SELECT document FROM nodes ORDER BY created_at, id")
            .fetch_all(&self.readers)
            .await
            .map_err(database(DOING))?;
        documents(DOING, rows)
    }

    /// The node that `identifier` names: the node of a lookup with that IP address, node id or MAC address; else the
    /// node with that id; else the one that has it among its identifiers. Names are not looked at. (RackHD's
    /// `findByIdentifier`.)
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn find_by_identifier(&self, identifier: &str) -> Result<Option<Node>, Error> {
        let mut connection =
            self.readers.acquire().await.map_err(database("looking for a node"))?;
        find(&mut connection, identifier).await
    }

    /// Deletes a node with its catalogs, OBM records and session; lookups stay and lose their node. Whether there
    /// was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn delete_node(&self, id: &NodeId) -> Result<bool, Error> {
        const DOING: &str = "deleting a node";
        let id = id.clone();
        self.write(Durability::Full, DOING, |connection| {
            Box::pin(async move {
                let failed = database(DOING);
                sqlx::query("UPDATE lookups SET node = NULL WHERE node = $1")
                    .bind(id.as_str())
                    .execute(&mut *connection)
                    .await
                    .map_err(failed)?;
                let done = sqlx::query("DELETE FROM nodes WHERE id = $1")
                    .bind(id.as_str())
                    .execute(&mut *connection)
                    .await
                    .map_err(failed)?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }
}

async fn by_id(connection: &mut SqliteConnection, id: &str) -> Result<Option<Node>, Error> {
    const DOING: &str = "reading a node";
    let row: Option<(String,)> = sqlx::query_as("SELECT document FROM nodes WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(database(DOING))?;
    row.map(|(text,)| from_text(DOING, &text)).transpose()
}

async fn find(connection: &mut SqliteConnection, identifier: &str) -> Result<Option<Node>, Error> {
    const DOING: &str = "looking for a node";
    if identifier.is_empty() {
        // An empty term finds every lookup; it names nobody.
        return Ok(None);
    }
    let failed = database(DOING);
    for lookup in super::lookups::by_term(connection, identifier).await? {
        if let Some(node) = &lookup.node
            && let Some(node) = by_id(connection, node).await?
        {
            return Ok(Some(node));
        }
    }
    if let Some(node) = by_id(connection, &identifier.to_ascii_lowercase()).await? {
        return Ok(Some(node));
    }
    // As it was written first, then as we write MAC addresses.
    let mac = identifier.parse::<Mac>().map_or_else(|_| identifier.to_owned(), |m| m.to_string());
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT nodes.document FROM identifiers JOIN nodes ON nodes.id = identifiers.node \
         WHERE identifiers.identifier IN ($1, $2) ORDER BY nodes.created_at, nodes.id LIMIT 1",
    )
    .bind(identifier)
    .bind(mac)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.map(|(text,)| from_text(DOING, &text)).transpose()
}

async fn put(connection: &mut SqliteConnection, node: &Node) -> Result<(), Error> {
    const DOING: &str = "writing a node";
    let failed = database(DOING);
    sqlx::query(
        "INSERT INTO nodes (id, created_at, document) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET document = excluded.document",
    )
    .bind(node.id.as_str())
    .bind(node.created_at.as_millis())
    .bind(to_text(DOING, node)?)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    sqlx::query("DELETE FROM identifiers WHERE node = $1")
        .bind(node.id.as_str())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    for identifier in &node.identifiers {
        sqlx::query(
            "INSERT INTO identifiers (identifier, node) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(identifier)
        .bind(node.id.as_str())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
