//! Attribution lists and resources in PostgreSQL: the adapter, and the loader that fills the tables.
//!
//! Read `migrations/` first; it says what the tables hold and why a point in time is safe. Then come the reads, a file for
//! each way of asking: `members.rs` has the list itself, `walk.rs` what it names, `keys.rs` single resources, `scan.rs`
//! all that there is, `versions.rs` the past of one resource, `find.rs` the search for lists. `loader.rs` writes
//! resources and `lists.rs` one list.
//!
//! Every read is a probe or a range of an index, and the statements are written so that the planner has no other
//! way: after a bulk load its statistics are wrong or missing. The source must be the primary, not a standby.

mod address;
mod columns;
mod copy;
mod errors;
mod find;
mod keys;
mod lists;
mod loader;
mod members;
mod migrate;
mod rows;
mod scan;
mod versions;
mod walk;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

pub use self::loader::{LoadedCounts, Loader};
pub use self::migrate::migrate;

use self::address::Address;
use self::columns::At;
use self::rows::{parsed, read};
use super::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};
use crate::export::{JobId, Slice};
use crate::fault::{Fault, FaultKind};
use crate::fhir::search::Query;
use crate::fhir::{Instant, ResourceId, ResourceKey, ResourceType};

const SAFE_POINT: &str = "-- transaction_time: see safe_point in the migration
    SELECT safe_point()";

const LARGEST_LIST: &str = "-- largest_list: for whoever does not say which one
    SELECT list FROM attribution_list WHERE valid_to = 'infinity' ORDER BY members DESC, list LIMIT 1";

const READY: &str = "-- ready: the server answers and has the tables, the newest one too
    SELECT FROM attribution_run LIMIT 1";

/// How the adapter uses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// How many connections there may be at once.
    pub connections: usize,
    /// How long to wait for a new connection.
    pub connect_timeout: Duration,
    /// How long a statement may take, and how long to wait for a free connection.
    pub statement_timeout: Duration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { connections: 8, connect_timeout: Duration::from_secs(5), statement_timeout: Duration::from_mins(1) }
    }
}

/// The adapter of [`ResourceSource`] over PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresSource {
    pool: Pool,
    statement_timeout: Duration,
}

impl PostgresSource {
    /// Reads the URL and makes ready to connect; connections are opened when they are needed, so a server that is down
    /// is `Unavailable` later, not a failed start.
    ///
    /// `url` is `postgres://user:password@host:5432/database`, with what PostgreSQL takes behind the `?`, and `schema`
    /// (default `atr`): the schema that holds the tables. Without `sslmode` TLS is used where the server offers it, and
    /// the certificate must be good. Fails with `Invalid` when the URL is wrong.
    pub fn connect(url: &str, settings: PostgresSettings) -> Result<Self, Fault> {
        let address = Address::parse(url)?.for_reading(settings.connect_timeout, settings.statement_timeout);
        // A check before each use would cost a round trip; a connection that broke fails once, transiently.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if address.config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(address.config, NoTls, recycling)
        } else {
            Manager::from_config(address.config, address::tls()?, recycling)
        };
        let pool = Pool::builder(manager)
            .max_size(settings.connections.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(settings.statement_timeout),
                create: Some(settings.connect_timeout),
                recycle: Some(settings.connect_timeout),
            })
            .build()
            .map_err(|error| Fault::new(FaultKind::Invalid, "failed to set up the PostgreSQL pool").because(error))?;
        Ok(Self { pool, statement_timeout: settings.statement_timeout })
    }

    /// The list with the most members now, the first of them by id; `None` when there is no list.
    pub async fn largest_list(&self) -> Result<Option<ResourceId>, Fault> {
        const DOING: &str = "failed to look for the largest list";
        let rows = self.rows(DOING, LARGEST_LIST, &[]).await?;
        rows.first().map(|row| parsed(DOING, row, 0)).transpose()
    }

    /// The rows of one statement, of which the text is prepared once a connection.
    async fn rows(
        &self,
        doing: &str,
        statement: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let client = self.pool.get().await.map_err(|error| errors::pool_fault(doing, &error))?;
        let asked = async {
            let prepared = client.prepare_cached(statement).await?;
            client.query(&prepared, parameters).await
        };
        // The server ends its statement in time; a server that cannot be heard ends nothing.
        if let Ok(answer) = tokio::time::timeout(self.statement_timeout + Duration::from_secs(1), asked).await {
            return answer.map_err(|error| errors::fault(doing, &error));
        }
        // The answer may still come: whoever used the connection next would wait behind it.
        drop(Object::take(client));
        // What has fallen silent on one wire has as a rule on all: to find that out for each in turn would take as long each time.
        self.pool.retain(|_, _| false);
        Err(Fault::new(FaultKind::Unavailable, doing).because("PostgreSQL did not answer in time"))
    }
}

#[async_trait]
impl ResourceSource for PostgresSource {
    fn of_job(self: Arc<Self>, _: JobId) -> Arc<dyn ResourceSource> {
        self
    }

    async fn is_repeatable(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn hold(&self, _: &ResourceId, _: Instant, _: Option<Instant>) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn transaction_time(&self) -> Result<Instant, Fault> {
        const DOING: &str = "failed to fix a transaction time";
        let rows = self.rows(DOING, SAFE_POINT, &[]).await?;
        let row = rows.first().ok_or_else(|| rows::corrupt(DOING, "there is no answer"))?;
        Ok(read::<At>(DOING, row, 0)?.0)
    }

    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        members::list(self, list, as_of).await
    }

    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        members::members(self, list, as_of, from, limit).await
    }

    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        members::members_of(self, list, as_of, patients).await
    }

    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        walk::cut(self, list, as_of, size).await
    }

    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        walk::listed(self, list, slice, as_of, limit).await
    }

    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        keys::listed_among(self, list, as_of, keys).await
    }

    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        keys::listed_between(self, list, since, as_of, keys).await
    }

    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        _: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault> {
        scan::cut_all(self, types, as_of, size).await
    }

    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        scan::scan(self, slice, as_of, limit).await
    }

    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        scan::deleted(self, types, since, as_of, after, limit).await
    }

    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        keys::deleted_among(self, since, as_of, keys).await
    }

    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        keys::fetch(self, as_of, keys).await
    }

    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        versions::versions(self, key, before, limit).await
    }

    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        find::find_lists(self, query, after, limit).await
    }

    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        find::lists_of(self, patients).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.rows("failed to ask PostgreSQL", READY, &[]).await.map(drop)
    }
}
