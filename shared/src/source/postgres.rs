//! Attribution lists and resources in PostgreSQL: the adapter, and the loader that fills the tables.
//!
//! Read `migrations/0001_resources.sql` first; it says what the tables hold and why a point in time is safe. Then this
//! file reads, `loader.rs` writes resources and `lists.rs` one list.
//!
//! Every read is a probe or a range of a primary key, and the statements are written so that the planner has no other
//! way: after a bulk load its statistics are wrong or missing. The source must be the primary, not a standby.

mod address;
mod columns;
mod copy;
mod errors;
mod lists;
mod loader;
mod migrate;

use std::collections::HashSet;
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
use self::columns::{At, Text};
use super::{ListHead, Listed, ResourceSource, Stored};
use crate::export::Slice;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Attribution, Instant, Resource, ResourceId, ResourceKey, ResourceType};

/// How many keys one statement is asked about: enough to make the round trip cheap, few enough to keep its answer small.
const KEYS_A_STATEMENT: usize = 1_000;

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
        Err(Fault::new(FaultKind::Unavailable, doing).because("PostgreSQL did not answer in time"))
    }

    /// Fails with `NotFound` when there is no such list. Asked only when there is nothing else to tell it by.
    async fn must_exist(&self, doing: &str, list: &ResourceId, as_of: Instant) -> Result<(), Fault> {
        let rows = self.rows(doing, HEAD, &[&list.as_str(), &At(as_of)]).await?;
        if rows.is_empty() {
            Err(Fault::new(FaultKind::NotFound, doing).because("there is no such list"))
        } else {
            Ok(())
        }
    }
}

/// The bytes of bodies with which a page of listed resources ends, whatever its limit.
const PAGE_BYTES: i64 = 16 << 20;

const SAFE_POINT: &str = "-- transaction_time: see safe_point in the migration
    SELECT safe_point()";

const LARGEST_LIST: &str = "-- largest_list: for whoever does not say which one
    SELECT list FROM attribution_list WHERE valid_to = 'infinity' ORDER BY members DESC, list LIMIT 1";

const HEAD: &str = "-- list: the head of a list as of a time
    SELECT before, after, members, valid_from FROM attribution_list
    WHERE list = $1 AND valid_from <= $2 AND $2 < valid_to";

const MEMBERS: &str = "-- members: a page of a list as of a time
    SELECT body FROM attribution_member
    WHERE list = $1 AND ordinal >= $3 AND ordinal < $4 AND valid_from <= $2 AND $2 < valid_to
    ORDER BY ordinal";

// The rows come in the order of the primary key, so numbering them needs no sort and one pass.
const CUT: &str = "-- cut: the last id and the length of each slice
    SELECT resource_type, max(id), count(*) FROM (
        SELECT resource_type, id,
            (row_number() OVER (PARTITION BY resource_type ORDER BY id) - 1) / $3 AS slice
        FROM attribution_listed
        WHERE list = $1 AND valid_from <= $2 AND $2 < valid_to
    ) numbered
    GROUP BY resource_type, slice
    ORDER BY resource_type, slice";

// LEFT JOIN LATERAL over a subquery with a LIMIT is always a probe for each row of the page, and keeps the page's order.
// A page ends before `limit` when its bodies have reached `PAGE_BYTES`: a photograph in each Patient must not fill a worker.
// The lengths are known without reading the bodies that are stored out of line.
const LISTED: &str = "-- listed: a page of a slice, each id with its resource as of a time
    SELECT id, named_by, listed_since, last_updated, body
    FROM (
        SELECT page.id, page.named_by, page.listed_since, found.last_updated, found.body,
            sum(octet_length(found.body)) OVER (
                ORDER BY page.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS bytes_before
        FROM (
            SELECT id, named_by, listed_since FROM attribution_listed
            WHERE list = $1 AND resource_type = $3 AND id > $4 AND id <= $5 AND valid_from <= $2 AND $2 < valid_to
            ORDER BY id LIMIT $6
        ) page
        LEFT JOIN LATERAL version_at($3, page.id, $2) found ON true
    ) sized
    WHERE coalesce(bytes_before, 0) < $7
    ORDER BY id";

const LISTED_AMONG: &str = "-- listed_among: the numbers of the keys that a list names as of a time
    SELECT k.number FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL (
        SELECT FROM attribution_listed l
        WHERE l.list = $1 AND l.resource_type = k.resource_type AND l.id = k.id
            AND l.valid_from <= $2 AND $2 < l.valid_to
        LIMIT 1
    ) named";

const FETCH: &str = "-- fetch: resources by key as of a time
    SELECT k.number, found.last_updated, found.body
    FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL version_at(k.resource_type, k.id, $1) found";

const READY: &str = "-- ready: the server answers and has the tables
    SELECT version FROM migration LIMIT 1";

#[async_trait]
impl ResourceSource for PostgresSource {
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        const DOING: &str = "failed to fix a transaction time";
        let rows = self.rows(DOING, SAFE_POINT, &[]).await?;
        let row = rows.first().ok_or_else(|| Fault::new(FaultKind::Corrupt, DOING).because("there is no answer"))?;
        Ok(read::<At>(DOING, row, 0)?.0)
    }

    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        let doing = format!("failed to read the head of list {list}");
        let rows = self.rows(&doing, HEAD, &[&list.as_str(), &At(as_of)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(ListHead {
            before: read::<Text>(&doing, row, 0)?.0,
            after: read::<Text>(&doing, row, 1)?.0,
            members: unsigned(&doing, read(&doing, row, 2)?)?,
            last_updated: read::<At>(&doing, row, 3)?.0,
        }))
    }

    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        let doing = format!("failed to read members of list {list}");
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let end = from.saturating_add(i64::from(limit));
        let rows = self.rows(&doing, MEMBERS, &[&list.as_str(), &At(as_of), &from, &end]).await?;
        if rows.is_empty() {
            self.must_exist(&doing, list, as_of).await?;
        }
        rows.iter().map(|row| Ok(read::<Text>(&doing, row, 0)?.0)).collect()
    }

    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        let doing = format!("failed to cut list {list}");
        let size = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
        let rows = self.rows(&doing, CUT, &[&list.as_str(), &At(as_of), &size]).await?;
        if rows.is_empty() {
            self.must_exist(&doing, list, as_of).await?;
        }
        let mut slices: Vec<Slice> = Vec::with_capacity(rows.len());
        for row in &rows {
            let resource_type: ResourceType = parsed(&doing, row, 0)?;
            let before = slices.last().filter(|before| before.resource_type == resource_type);
            let after = before.map(|before| before.through.clone());
            let ids = unsigned(&doing, read(&doing, row, 2)?)?;
            slices.push(Slice { resource_type, after, through: parsed(&doing, row, 1)?, ids });
        }
        Ok(slices)
    }

    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        let doing = format!("failed to read a page of {} of list {list}", slice.resource_type);
        let name = slice.resource_type.name();
        // No id is empty, so the empty text is before the first.
        let after = slice.after.as_ref().map_or("", ResourceId::as_str);
        let through = slice.through.as_str();
        let limit = i64::from(limit);
        let rows = self
            .rows(&doing, LISTED, &[&list.as_str(), &At(as_of), &name, &after, &through, &limit, &PAGE_BYTES])
            .await?;
        if rows.is_empty() {
            self.must_exist(&doing, list, as_of).await?;
        }
        let listed = |row: &Row| {
            let id: ResourceId = parsed(&doing, row, 0)?;
            let named_by = Attribution::from_code(read(&doing, row, 1)?)
                .ok_or_else(|| corrupt(&doing, "a way of naming has an unknown code"))?;
            let listed_since = read::<At>(&doing, row, 2)?.0;
            let stored = match read::<Option<At>>(&doing, row, 3)? {
                None => None,
                Some(At(last_updated)) => {
                    let key = ResourceKey::new(slice.resource_type, id.clone());
                    let body = read::<Text>(&doing, row, 4)?.0;
                    Some(Stored { resource: Resource { key, body }, last_updated })
                }
            };
            Ok(Listed { id, named_by, listed_since, stored })
        };
        rows.iter().map(listed).collect()
    }

    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        let doing = format!("failed to look up what list {list} names");
        let mut among = HashSet::new();
        for keys in keys.chunks(KEYS_A_STATEMENT) {
            let (types, ids) = columns(keys);
            for row in self.rows(&doing, LISTED_AMONG, &[&list.as_str(), &At(as_of), &types, &ids]).await? {
                among.insert(numbered(&doing, keys, &row)?.clone());
            }
        }
        if among.is_empty() {
            self.must_exist(&doing, list, as_of).await?;
        }
        Ok(among)
    }

    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        const DOING: &str = "failed to fetch resources";
        let distinct: HashSet<&ResourceKey> = keys.iter().collect();
        let distinct: Vec<&ResourceKey> = distinct.into_iter().collect();
        let mut found = Vec::with_capacity(distinct.len());
        for keys in distinct.chunks(KEYS_A_STATEMENT) {
            let (types, ids) = columns(keys.iter().copied());
            for row in self.rows(DOING, FETCH, &[&At(as_of), &types, &ids]).await? {
                let key = (*numbered(DOING, keys, &row)?).clone();
                let last_updated = read::<At>(DOING, &row, 1)?.0;
                found.push(Stored { resource: Resource { key, body: read::<Text>(DOING, &row, 2)?.0 }, last_updated });
            }
        }
        Ok(found)
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.rows("failed to ask PostgreSQL", READY, &[]).await.map(drop)
    }
}

/// Keys as the two arrays that a statement takes.
fn columns<'a>(keys: impl IntoIterator<Item = &'a ResourceKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (key.resource_type.name(), key.id.as_str())).unzip()
}

/// The key that a row speaks of by its number, from 1, in the arrays: shorter than sending the key back.
fn numbered<'a, K>(doing: &str, keys: &'a [K], row: &Row) -> Result<&'a K, Fault> {
    let number: i64 = read(doing, row, 0)?;
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    at.and_then(|at| keys.get(at)).ok_or_else(|| corrupt(doing, "an answer has no question"))
}

fn read<'a, T: tokio_postgres::types::FromSql<'a>>(doing: &str, row: &'a Row, column: usize) -> Result<T, Fault> {
    row.try_get(column).map_err(|error| errors::fault(doing, &error))
}

/// A column of text that is a type or an id.
fn parsed<T: std::str::FromStr>(doing: &str, row: &Row, column: usize) -> Result<T, Fault> {
    read::<&str>(doing, row, column)?.parse().map_err(|_| corrupt(doing, "a type or an id is not legal"))
}

fn unsigned(doing: &str, number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| corrupt(doing, "a count is negative"))
}

fn corrupt(doing: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Corrupt, doing).because(why)
}
