//! Definitions of graphs and tasks that users have put.

use serde_json::Value;

use super::{Durability, State, database, from_text, to_text};
use crate::Error;

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefinitionKind {
    /// A graph.
    Graph,
    /// A task.
    Task,
    /// A base task.
    BaseTask,
}

impl DefinitionKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Task => "task",
            Self::BaseTask => "base-task",
        }
    }
}

/// A definition in RackHD's JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What it defines.
    pub kind: DefinitionKind,
    /// Its injectable name.
    pub name: String,
    /// It.
    pub document: Value,
}

impl State {
    /// Writes a definition: a new one, or over the one with its kind and name.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn put_definition(&self, definition: &Definition) -> Result<(), Error> {
        const DOING: &str = "writing a definition";
        let definition = definition.clone();
        self.write(Durability::Full, DOING, |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO definitions (kind, name, document) VALUES ($1, $2, $3) \
                     ON CONFLICT (kind, name) DO UPDATE SET document = excluded.document",
                )
                .bind(definition.kind.name())
                .bind(&definition.name)
                .bind(to_text(DOING, &definition.document)?)
                .execute(connection)
                .await
                .map_err(database(DOING))?;
                Ok(())
            })
        })
        .await
    }

    /// All definitions of a kind, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn definitions(&self, kind: DefinitionKind) -> Result<Vec<Definition>, Error> {
        const DOING: &str = "listing definitions";
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT name, document FROM definitions WHERE kind = $1 ORDER BY name")
                .bind(kind.name())
                .fetch_all(&self.readers)
                .await
                .map_err(database(DOING))?;
        rows.into_iter()
            .map(|(name, text)| Ok(Definition { kind, name, document: from_text(DOING, &text)? }))
            .collect()
    }

    /// Deletes a definition. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn delete_definition(&self, kind: DefinitionKind, name: &str) -> Result<bool, Error> {
        let sql = "DELETE FROM definitions WHERE kind = $1 AND name = $2";
        self.delete("deleting a definition", sql, &[kind.name(), name]).await
    }
}
