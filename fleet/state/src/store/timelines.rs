//! Boot timelines and node sessions.

use overboot_dhcp::Mac;
use sqlx::sqlite::SqliteConnection;

use super::{Durability, State, belongs, database, documents, from_text, ids, to_text};
use crate::{Boot, BootEvent, Error, NodeId, NodeSession, Recorded, Session, Timeline, Timestamp};

/// A machine that boots in circles must not fill the disk: no boot keeps more events than this.
const MAX_EVENTS: i64 = 500;

/// And no machine more boots than this, the last ones.
const MAX_BOOTS: i64 = 100;

impl State {
    /// Adds an event to the current boot of a machine, or begins a boot with it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn record(&self, mac: Mac, event: &BootEvent) -> Result<Recorded, Error> {
        const DOING: &str = "noting a boot event";
        let event = event.clone();
        self.write(Durability::Relaxed, DOING, |connection| {
            Box::pin(async move {
                let failed = database(DOING);
                let row: Option<(String, i64)> = sqlx::query_as(
                    "SELECT document, number FROM boots WHERE mac_address = $1 \
                     ORDER BY number DESC LIMIT 1",
                )
                .bind(mac.to_string())
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
                let number = row.as_ref().map_or(0, |(_, number)| *number);
                let current: Option<Boot> =
                    row.map(|(text, _)| from_text(DOING, &text)).transpose()?;
                let next = current.and_then(|boot| boot.then(&event));
                let began = next.is_none();
                let number = if began { number + 1 } else { number };
                let boot = next.unwrap_or_else(|| Boot::begin(mac, &event));
                sqlx::query(
                    "INSERT INTO boots (id, mac_address, number, document) \
                     VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                )
                .bind(boot.id.as_str())
                .bind(mac.to_string())
                .bind(number)
                .bind(to_text(DOING, &boot)?)
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
                if began {
                    sqlx::query("DELETE FROM boots WHERE mac_address = $1 AND number <= $2")
                        .bind(mac.to_string())
                        .bind(number - MAX_BOOTS)
                        .execute(&mut *connection)
                        .await
                        .map_err(failed)?;
                }
                if boot.events <= MAX_EVENTS {
                    sqlx::query(
                        "INSERT INTO boot_events (boot, position, document) VALUES ($1, $2, $3)",
                    )
                    .bind(boot.id.as_str())
                    .bind(boot.events)
                    .bind(to_text(DOING, &event)?)
                    .execute(&mut *connection)
                    .await
                    .map_err(failed)?;
                }
                Ok(Recorded { boot, stage: event.stage, began })
            })
        })
        .await
    }

    /// The last boots of the machines with these MAC addresses, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn timelines(&self, macs: &[Mac], limit: u32) -> Result<Vec<Timeline>, Error> {
        const DOING: &str = "reading boot timelines";
        let failed = database(DOING);
        let mut boots: Vec<Boot> = Vec::new();
        for mac in macs {
            let rows = sqlx::query_as(
                "SELECT document FROM boots WHERE mac_address = $1 \
                 ORDER BY number DESC LIMIT $2",
            )
            .bind(mac.to_string())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
            boots.extend(documents::<Boot>(DOING, rows)?);
        }
        boots.sort_by_key(|boot| std::cmp::Reverse(boot.started_at));
        boots.truncate(limit as usize);
        let mut timelines = Vec::with_capacity(boots.len());
        for boot in boots {
            let rows = sqlx::query_as(
                "SELECT document FROM boot_events WHERE boot = $1 ORDER BY position",
            )
            .bind(boot.id.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
            timelines.push(Timeline { events: documents(DOING, rows)?, boot });
        }
        Ok(timelines)
    }

    /// What a node is in the middle of; for one never heard of, nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn session(&self, node: &NodeId) -> Result<Session, Error> {
        const DOING: &str = "reading a node's session";
        let row: Option<(String,)> =
            sqlx::query_as("SELECT document FROM sessions WHERE node = $1")
                .bind(node.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(database(DOING))?;
        Ok(row.map(|(text,)| from_text(DOING, &text)).transpose()?.unwrap_or_default())
    }

    /// Nodes whose login is open and is to be closed at `now` or was to be before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn due_sessions(&self, now: Timestamp) -> Result<Vec<NodeId>, Error> {
        const DOING: &str = "looking for logins to close";
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT node FROM sessions WHERE due_at <= $1 ORDER BY due_at")
                .bind(now.as_millis())
                .fetch_all(&self.readers)
                .await
                .map_err(database(DOING))?;
        ids(DOING, &rows)
    }
}

/// Writes a session.
pub(super) async fn put_session(
    connection: &mut SqliteConnection,
    NodeSession { node, session }: &NodeSession,
) -> Result<(), Error> {
    const DOING: &str = "writing a node's session";
    sqlx::query(
        "INSERT INTO sessions (node, due_at, document) VALUES ($1, $2, $3) \
         ON CONFLICT (node) DO UPDATE SET due_at = excluded.due_at, document = excluded.document",
    )
    .bind(node.as_str())
    .bind(session.login.as_ref().map(|login| login.expires_at.as_millis()))
    .bind(to_text(DOING, session)?)
    .execute(connection)
    .await
    .map_err(belongs(DOING, node))?;
    Ok(())
}
