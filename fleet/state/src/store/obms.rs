//! OBM records: how nodes are switched from outside.

use serde_json::Value;
use sqlx::FromRow;

use super::{Durability, State, belongs, database, from_text, to_text};
use crate::{Error, NodeId, Obm, ObmId};

#[derive(FromRow)]
struct Row {
    id: String,
    node: String,
    service: String,
    config: String,
}

impl Row {
    fn obm(self) -> Result<Obm, Error> {
        const DOING: &str = "reading an OBM record";
        let bad = |source| Error::Id { doing: DOING, source };
        Ok(Obm {
            id: self.id.parse().map_err(bad)?,
            node: self.node.parse().map_err(bad)?,
            service: self.service,
            config: from_text(DOING, &self.config)?,
        })
    }
}

impl State {
    /// Sets how a node is switched through a service. There is one record per node and service; an existing one
    /// keeps its id.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`], [`Error::Database`].
    pub async fn put_obm(
        &self,
        node: &NodeId,
        service: &str,
        config: &Value,
    ) -> Result<Obm, Error> {
        const DOING: &str = "writing an OBM record";
        let (node, service, config) = (node.clone(), service.to_owned(), to_text(DOING, config)?);
        self.write(Durability::Full, DOING, |connection| {
            Box::pin(async move {
                let row: Row = sqlx::query_as(
                    "INSERT INTO obms (id, node, service, config) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (node, service) DO UPDATE SET config = excluded.config \
                     RETURNING *",
                )
                .bind(ObmId::new().as_str())
                .bind(node.as_str())
                .bind(&service)
                .bind(&config)
                .fetch_one(connection)
                .await
                .map_err(belongs(DOING, &node))?;
                row.obm()
            })
        })
        .await
    }

    /// The record with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn obm(&self, id: &ObmId) -> Result<Option<Obm>, Error> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM obms WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading an OBM record"))?;
        row.map(Row::obm).transpose()
    }

    /// All records, or those of one node.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn obms(&self, node: Option<&NodeId>) -> Result<Vec<Obm>, Error> {
        let query = match node {
            Some(node) => {
                sqlx::query_as::<_, Row>("SELECT * FROM obms WHERE node = $1 ORDER BY service")
                    .bind(node.to_string())
            }
            None => sqlx::query_as("SELECT * FROM obms ORDER BY node, service"),
        };
        let rows = query.fetch_all(&self.readers).await.map_err(database("listing OBM records"))?;
        rows.into_iter().map(Row::obm).collect()
    }

    /// Deletes a record. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn delete_obm(&self, id: &ObmId) -> Result<bool, Error> {
        self.delete("deleting an OBM record", "DELETE FROM obms WHERE id = $1", &[id.as_str()])
            .await
    }
}
