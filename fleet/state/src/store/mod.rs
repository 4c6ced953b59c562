//! The database: SQLite, one writer, many readers.
//!
//! One file per kind of thing; each says its SQL in full, with `$N` parameters, in words that PostgreSQL knows too.

mod batch;
mod catalogs;
mod definitions;
mod fleet;
mod lookups;
mod obms;
mod open;
mod timelines;
mod workflows;

#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Executor as _};

use crate::ids::BadId;
use crate::{Error, NodeId};

pub use batch::Batch;
pub use definitions::{Definition, DefinitionKind};

/// How sure a write is once its call has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: it survives the loss of power. For what is acted on.
    Full,
    /// Written whole or not at all, and survives the end of the program; the loss of power may undo the last
    /// seconds. For what is told again anyway.
    Relaxed,
}

/// The fleet's state on disk. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub struct State {
    /// One connection: SQLite has one writer, and waiting for it here keeps the order.
    writer: SqlitePool,
    readers: SqlitePool,
}

/// A boxed future that borrows the transaction's connection.
type Work<'c, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

impl State {
    /// Runs `work` in one transaction, which is undone when `work` fails.
    async fn write<T: Send>(
        &self,
        durability: Durability,
        doing: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let failed = database(doing);
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        // In WAL mode FULL is one fsync of the log per transaction, NORMAL is none until the next checkpoint. An
        // fsync also carries every NORMAL transaction before it.
        connection
            .execute(match durability {
                Durability::Full => "PRAGMA synchronous = FULL",
                Durability::Relaxed => "PRAGMA synchronous = NORMAL",
            })
            .await
            .map_err(failed)?;
        // IMMEDIATE: a read that turns into a write half-way could not wait for another program's write.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let value = work(&mut transaction).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(value)
    }
}

impl State {
    /// Deletes what `sql` names by its parameters. Whether there was anything.
    async fn delete(
        &self,
        doing: &'static str,
        sql: &'static str,
        key: &[&str],
    ) -> Result<bool, Error> {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        self.write(Durability::Full, doing, |connection| {
            Box::pin(async move {
                let query = key.into_iter().fold(sqlx::query(sql), sqlx::query::Query::bind);
                let done = query.execute(connection).await.map_err(database(doing))?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }
}

/// As [`database`], for what belongs to a node that may be gone.
fn belongs(doing: &'static str, node: &NodeId) -> impl Fn(sqlx::Error) -> Error {
    move |source| match &source {
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => {
            Error::NoNode { node: node.clone() }
        }
        _ => Error::Database { doing, source },
    }
}

/// Texts as ids.
fn ids<T: FromStr<Err = BadId>>(doing: &'static str, rows: &[(String,)]) -> Result<Vec<T>, Error> {
    rows.iter().map(|(id,)| id.parse().map_err(|source| Error::Id { doing, source })).collect()
}

/// Names what was being done when the database failed.
fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Error + Copy {
    move |source| Error::Database { doing, source }
}

/// A document as text.
fn to_text<T: Serialize>(doing: &'static str, document: &T) -> Result<String, Error> {
    serde_json::to_string(document).map_err(|source| Error::Document { doing, source })
}

/// Text as a document.
fn from_text<T: DeserializeOwned>(doing: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Document { doing, source })
}

/// Texts as documents.
fn documents<T: DeserializeOwned>(
    doing: &'static str,
    rows: Vec<(String,)>,
) -> Result<Vec<T>, Error> {
    rows.iter().map(|(text,)| from_text(doing, text)).collect()
}
