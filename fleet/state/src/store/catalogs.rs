//! Catalogs: what sources said of nodes.

use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{State, belongs, database, from_text, to_text};
use crate::{Catalog, CatalogId, Error, NodeId, Timestamp};

#[derive(FromRow)]
struct Row {
    id: String,
    node: String,
    source: String,
    data: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn catalog(self) -> Result<Catalog, Error> {
        const DOING: &str = "reading a catalog";
        let bad = |source| Error::Id { doing: DOING, source };
        Ok(Catalog {
            id: self.id.parse().map_err(bad)?,
            node: self.node.parse().map_err(bad)?,
            source: self.source,
            data: from_text(DOING, &self.data)?,
            created_at: Timestamp::from_millis(self.created_at),
            updated_at: Timestamp::from_millis(self.updated_at),
        })
    }
}

impl State {
    /// The catalog with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn catalog(&self, id: &CatalogId) -> Result<Option<Catalog>, Error> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM catalogs WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading a catalog"))?;
        row.map(Row::catalog).transpose()
    }

    /// All catalogs, or those of one node, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn catalogs(&self, node: Option<&NodeId>) -> Result<Vec<Catalog>, Error> {
        let query = match node {
            Some(node) => sqlx::query_as::<_, Row>(
                "SELECT * FROM catalogs WHERE node = $1 ORDER BY created_at, source, id",
            )
            .bind(node.to_string()),
            None => sqlx::query_as("SELECT * FROM catalogs ORDER BY created_at, source, id"),
        };
        let rows = query.fetch_all(&self.readers).await.map_err(database("listing catalogs"))?;
        rows.into_iter().map(Row::catalog).collect()
    }

    /// The newest catalog of a node from one source.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn newest_catalog(
        &self,
        node: &NodeId,
        source: &str,
    ) -> Result<Option<Catalog>, Error> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT * FROM catalogs WHERE node = $1 AND source = $2 \
             ORDER BY created_at DESC, id LIMIT 1",
        )
        .bind(node.as_str())
        .bind(source)
        .fetch_optional(&self.readers)
        .await
        .map_err(database("reading a catalog"))?;
        row.map(Row::catalog).transpose()
    }

    /// Whether a node counts as discovered: it has at least one catalog.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn is_discovered(&self, node: &NodeId) -> Result<bool, Error> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM catalogs WHERE node = $1 LIMIT 1")
            .bind(node.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("looking for catalogs"))?;
        Ok(row.is_some())
    }
}

/// Writes a new catalog.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    catalog: &Catalog,
) -> Result<(), Error> {
    const DOING: &str = "writing a catalog";
    sqlx::query(
        "INSERT INTO catalogs (id, node, source, data, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(catalog.id.as_str())
    .bind(catalog.node.as_str())
    .bind(&catalog.source)
    .bind(to_text(DOING, &catalog.data)?)
    .bind(catalog.created_at.as_millis())
    .bind(catalog.updated_at.as_millis())
    .execute(connection)
    .await
    .map_err(belongs(DOING, &catalog.node))?;
    Ok(())
}
