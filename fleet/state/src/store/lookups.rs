//! Lookups: which MAC and IP address belong to which node.

use std::net::IpAddr;

use overboot_dhcp::Mac;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{Durability, State, database};
use crate::{Error, Lookup, LookupId, NodeId, Timestamp};

#[derive(FromRow)]
struct Row {
    id: String,
    mac_address: String,
    ip_address: Option<String>,
    node: Option<String>,
    proxy: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn lookup(self) -> Result<Lookup, Error> {
        const DOING: &str = "reading a lookup";
        let damaged = |what: &str| Error::Document {
            doing: DOING,
            source: serde::de::Error::custom(format!("{what} of lookup {} is none", self.id)),
        };
        Ok(Lookup {
            mac_address: self.mac_address.parse().map_err(|_| damaged("the MAC address"))?,
            ip_address: self
                .ip_address
                .as_deref()
                .map(|ip| ip.parse().map_err(|_| damaged("the IP address")))
                .transpose()?,
            id: self.id.parse().map_err(|source| Error::Id { doing: DOING, source })?,
            node: self.node,
            proxy: self.proxy,
            created_at: Timestamp::from_millis(self.created_at),
            updated_at: Timestamp::from_millis(self.updated_at),
        })
    }
}

impl State {
    /// Writes a lookup: a new one, or over the one with its id.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateLookup`] if another one has the MAC address; [`Error::Database`].
    pub async fn put_lookup(&self, lookup: &Lookup) -> Result<(), Error> {
        const DOING: &str = "writing a lookup";
        let lookup = lookup.clone();
        self.write(Durability::Full, DOING, |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO lookups \
                     (id, mac_address, ip_address, node, proxy, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) \
                     ON CONFLICT (id) DO UPDATE SET mac_address = excluded.mac_address, \
                     ip_address = excluded.ip_address, node = excluded.node, \
                     proxy = excluded.proxy, updated_at = excluded.updated_at",
                )
                .bind(lookup.id.as_str())
                .bind(lookup.mac_address.to_string())
                .bind(lookup.ip_address.map(|ip| ip.to_string()))
                .bind(&lookup.node)
                .bind(&lookup.proxy)
                .bind(lookup.created_at.as_millis())
                .bind(lookup.updated_at.as_millis())
                .execute(connection)
                .await
                .map_err(|source| match &source {
                    sqlx::Error::Database(error) if error.is_unique_violation() => {
                        Error::DuplicateLookup { mac: lookup.mac_address.to_string() }
                    }
                    _ => Error::Database { doing: DOING, source },
                })?;
                Ok(())
            })
        })
        .await
    }

    /// Adds what was just seen of a MAC address; what is not given stays. The IP address is taken from every other
    /// MAC address, since it moved.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn learn(
        &self,
        mac: Mac,
        ip: Option<IpAddr>,
        node: Option<&NodeId>,
        proxy: Option<&str>,
    ) -> Result<Lookup, Error> {
        let (node, proxy) = (node.map(NodeId::to_string), proxy.map(str::to_owned));
        self.write(Durability::Relaxed, "noting an address", |connection| {
            Box::pin(
                async move { learn(connection, mac, ip, node.as_deref(), proxy.as_deref()).await },
            )
        })
        .await
    }

    /// The lookup with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn lookup(&self, id: &LookupId) -> Result<Option<Lookup>, Error> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM lookups WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("reading a lookup"))?;
        row.map(Row::lookup).transpose()
    }

    /// The lookups that `term` finds, by its form: an IP address, a node id (24 hexadecimal digits), or else a MAC
    /// address; all of them for the empty term. (RackHD's `findByTerm`.)
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn lookups(&self, term: &str) -> Result<Vec<Lookup>, Error> {
        let mut connection =
            self.readers.acquire().await.map_err(database("looking for lookups"))?;
        by_term(&mut connection, term).await
    }

    /// Deletes a lookup. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn delete_lookup(&self, id: &LookupId) -> Result<bool, Error> {
        self.delete("deleting a lookup", "DELETE FROM lookups WHERE id = $1", &[id.as_str()]).await
    }
}

/// See [`State::lookups`].
pub(super) async fn by_term(
    connection: &mut SqliteConnection,
    term: &str,
) -> Result<Vec<Lookup>, Error> {
    let query = if term.is_empty() {
        sqlx::query_as::<_, Row>("SELECT * FROM lookups ORDER BY created_at, id")
    } else if let Ok(ip) = term.parse::<IpAddr>() {
        sqlx::query_as("SELECT * FROM lookups WHERE ip_address = $1 ORDER BY updated_at DESC, id")
            .bind(ip.to_string())
    } else if let Ok(id) = term.parse::<NodeId>() {
        sqlx::query_as("SELECT * FROM lookups WHERE node = $1 ORDER BY created_at, id")
            .bind(id.to_string())
    } else {
        let mac = term.parse::<Mac>().map_or_else(|_| term.to_ascii_lowercase(), |m| m.to_string());
        sqlx::query_as("SELECT * FROM lookups WHERE mac_address = $1").bind(mac)
    };
    let rows = query.fetch_all(connection).await.map_err(database("looking for lookups"))?;
    rows.into_iter().map(Row::lookup).collect()
}

/// See [`State::learn`].
pub(super) async fn learn(
    connection: &mut SqliteConnection,
    mac: Mac,
    ip: Option<IpAddr>,
    node: Option<&str>,
    proxy: Option<&str>,
) -> Result<Lookup, Error> {
    const DOING: &str = "noting an address";
    let failed = database(DOING);
    let now = Timestamp::now().as_millis();
    let ip = ip.map(|ip| ip.to_string());
    if let Some(ip) = &ip {
        sqlx::query(
            "UPDATE lookups SET ip_address = NULL WHERE ip_address = $1 AND mac_address <> $2",
        )
        .bind(ip)
        .bind(mac.to_string())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    let row: Row = sqlx::query_as(
        "INSERT INTO lookups (id, mac_address, ip_address, node, proxy, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) \
         ON CONFLICT (mac_address) DO UPDATE SET \
         ip_address = COALESCE(excluded.ip_address, lookups.ip_address), \
         node = COALESCE(excluded.node, lookups.node), \
         proxy = COALESCE(excluded.proxy, lookups.proxy), updated_at = excluded.updated_at \
         RETURNING *",
    )
    .bind(LookupId::new().as_str())
    .bind(mac.to_string())
    .bind(ip)
    .bind(node)
    .bind(proxy)
    .bind(now)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    row.lookup()
}
