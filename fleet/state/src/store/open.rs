//! Opening and closing the database.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::State;
use crate::Error;

/// How long to wait for another program that writes to the same file (a backup, a curious operator).
const BUSY: Duration = Duration::from_secs(10);

/// Readers do not wait for the writer in WAL mode, so a few serve many.
const READERS: u32 = 4;

impl State {
    /// Opens the database in the file `path`, made if there is none, and brings its tables up to date. The file's
    /// folder is made too.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`], [`Error::Open`], [`Error::Migrate`].
    pub async fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs_err::create_dir_all(folder)
                .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        }
        let open = |source| Error::Open { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(open)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(|source| Error::Migrate { path: path.to_owned(), source })?;
        let readers: SqlitePool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.create_if_missing(false).read_only(true))
            .await
            .map_err(open)?;
        Ok(Self { writer, readers })
    }

    /// Ends all connections, after what they are doing. Later calls fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
