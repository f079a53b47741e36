//! Loading: from resources in memory to rows, so that what has not changed stays as it is.
//!
//! A batch is one transaction: COPY into temporary tables, then a stamp (see `take_stamp` in the migration), then a few
//! statements that compare the whole batch with what is there. Of a batch nothing is seen before all of it is.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::{Client, Error, Transaction};

use super::address::Address;
use super::columns::At;
use super::copy::Rows;
use super::errors::fault;
use super::lists;
use super::migrate::migrate;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{OwnBases, Resource, ResourceKey, ResourceType};

/// How long a load waits after its commit: with it, a transaction time in whole milliseconds that is taken afterwards
/// is later than the load.
const SETTLE: Duration = Duration::from_millis(2);

/// What a load did, in resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadedCounts {
    /// Were not there before.
    pub new: u64,
    /// Had another content before.
    pub changed: u64,
    /// Were there with the same content, so that nothing was written.
    pub unchanged: u64,
}

impl LoadedCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.new + self.changed + self.unchanged
    }
}

impl std::ops::AddAssign for LoadedCounts {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.changed += more.changed;
        self.unchanged += more.unchanged;
    }
}

/// Writes resources and attribution lists into the database.
///
/// Several may load at once: the copying goes on side by side, the writing one after the other. Superseded versions stay
/// for good, because an export may still be reading as of their time.
pub struct Loader {
    client: Client,
    own: OwnBases,
}

impl Loader {
    /// Connects, and creates the tables where they are missing. `own` are the URLs under which this server is known, so
    /// that absolute references to it count as its own.
    pub async fn connect(url: &str, own: OwnBases) -> Result<Self, Fault> {
        let address = Address::parse(url)?;
        migrate(url).await?;
        let client = address.connect().await?;
        client.batch_execute(STAGING).await.map_err(|error| fault("failed to prepare for loading", &error))?;
        Ok(Self { client, own })
    }

    /// Loads a batch; 10,000 to 20,000 resources are a good size. The last one of an id wins.
    ///
    /// A resource with the same text as the current version is left alone: its version and `last_updated` stay. A Group
    /// is compared member by member, and what it goes on listing keeps its `listed_since`. Fails with `Invalid`, and
    /// loads nothing of the batch, when a Group cannot be read; `files` lets none through.
    pub async fn load(&mut self, batch: &[Resource]) -> Result<LoadedCounts, Fault> {
        const DOING: &str = "failed to load resources";
        let failed = |error: Error| fault(DOING, &error);
        let mut seen = HashSet::with_capacity(batch.len());
        let latest: Vec<&Resource> = batch.iter().rev().filter(|resource| seen.insert(&resource.key)).collect();
        let (groups, plain): (Vec<&Resource>, Vec<&Resource>) =
            latest.into_iter().partition(|resource| resource.key.resource_type == ResourceType::GROUP);
        let groups = groups.into_iter().map(lists::open).collect::<Result<Vec<_>, Fault>>()?;

        let mut counts = LoadedCounts::default();
        let transaction = self.client.transaction().await.map_err(failed)?;
        stage(&transaction, &plain).await.map_err(failed)?;
        // A Group's staging is emptied before the next one, so only the first can be staged before the stamp is taken:
        // the stamp holds the transaction time back, and most batches have one Group or none.
        let mut groups = groups.iter();
        let first = groups.next();
        if let Some(group) = first {
            lists::stage(&transaction, group, &self.own).await.map_err(failed)?;
        }
        let stamp = take_stamp(&transaction).await.map_err(failed)?;
        if !plain.is_empty() {
            counts += merge(&transaction, stamp, plain.len() as u64).await.map_err(failed)?;
        }
        if let Some(group) = first {
            counts += lists::merge(&transaction, group, stamp).await.map_err(failed)?;
        }
        for group in groups {
            lists::stage(&transaction, group, &self.own).await.map_err(failed)?;
            counts += lists::merge(&transaction, group, stamp).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        tokio::time::sleep(SETTLE).await;
        Ok(counts)
    }

    /// Deletes resources, and with a Group its list; says how many there were. Their last versions stay in the history.
    pub async fn delete(&mut self, keys: &[ResourceKey]) -> Result<u64, Fault> {
        let failed = |error: Error| fault("failed to delete resources", &error);
        let transaction = self.client.transaction().await.map_err(failed)?;
        let stamp = take_stamp(&transaction).await.map_err(failed)?;
        let types: Vec<&str> = keys.iter().map(|key| key.resource_type.name()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let gone = transaction.execute(DELETE, &[&types, &ids, &stamp]).await.map_err(failed)?;
        for key in keys.iter().filter(|key| key.resource_type == ResourceType::GROUP) {
            lists::close(&transaction, &key.id, stamp).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        tokio::time::sleep(SETTLE).await;
        Ok(gone)
    }

    /// Tells the planner about what has come; worth its seconds at the end of a big load.
    pub async fn analyze(&self) -> Result<(), Fault> {
        let analyze = "-- analyze: after a load
            ANALYZE resource, resource_history, attribution_list, attribution_member, attribution_listed,
                attribution_run";
        self.client.execute(analyze, &[]).await.map_err(|error| fault("failed to analyze the tables", &error))?;
        Ok(())
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

/// The shape in which resources and the rows of one list wait in a transaction; it is empty between transactions.
const STAGING: &str = "-- staging: temporary tables of this connection
    CREATE TEMPORARY TABLE staged_resource (
        resource_type text COLLATE \"C\" NOT NULL, id text COLLATE \"C\" NOT NULL, body text NOT NULL
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE staged_member (
        ordinal bigint NOT NULL, body text NOT NULL, patient text, coverage text, provider text
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE staged_reference (
        resource_type text COLLATE \"C\" NOT NULL, id text COLLATE \"C\" NOT NULL, named_by smallint NOT NULL
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE staged_listed (LIKE staged_reference) ON COMMIT DELETE ROWS;
    ALTER TABLE staged_resource ALTER COLUMN body SET STORAGE EXTERNAL;
    -- A load takes as long as it takes.
    SET statement_timeout = 0;";

/// The time under which this transaction writes; nothing may be written before it.
async fn take_stamp(transaction: &Transaction<'_>) -> Result<At, Error> {
    let row = transaction.query_one("-- take_stamp\nSELECT take_stamp()", &[]).await?;
    row.try_get(0)
}

async fn stage(transaction: &Transaction<'_>, resources: &[&Resource]) -> Result<(), Error> {
    if resources.is_empty() {
        return Ok(());
    }
    let copy = "-- stage: resources
        COPY staged_resource (resource_type, id, body) FROM STDIN (FORMAT binary)";
    let mut rows = Rows::begin(transaction, copy).await?;
    for resource in resources {
        let ResourceKey { resource_type, id } = &resource.key;
        rows.row(3).text(resource_type.name().as_bytes()).text(id.as_str().as_bytes()).text(&resource.body);
        rows.flush().await?;
    }
    rows.finish().await?;
    Ok(())
}

/// Compares the staged resources with the current ones. The writer's lock keeps everybody else out, so that what one
/// statement finds the next one finds too.
async fn merge(transaction: &Transaction<'_>, stamp: At, staged: u64) -> Result<LoadedCounts, Error> {
    // The batch is small and the table may be huge and without statistics: only a probe by key is ever right.
    transaction.batch_execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off").await?;
    let keep = "-- merge: keep the versions that are about to be superseded
        INSERT INTO resource_history (resource_type, id, version, last_updated, superseded_at, body)
        SELECT r.resource_type, r.id, r.version, r.last_updated, $1, r.body
        FROM staged_resource s JOIN resource r USING (resource_type, id)
        WHERE r.body <> s.body";
    let replace = "-- merge: replace what has changed
        UPDATE resource r SET version = r.version + 1, last_updated = $1, body = s.body
        FROM staged_resource s
        WHERE r.resource_type = s.resource_type AND r.id = s.id AND r.body <> s.body";
    // A resource that was deleted goes on counting its versions.
    let insert = "-- merge: insert what is new
        INSERT INTO resource (resource_type, id, version, last_updated, body)
        SELECT s.resource_type, s.id, 1 + coalesce((
            SELECT max(h.version) FROM resource_history h WHERE h.resource_type = s.resource_type AND h.id = s.id
        ), 0), $1, s.body
        FROM staged_resource s
        WHERE NOT EXISTS (SELECT FROM resource r WHERE r.resource_type = s.resource_type AND r.id = s.id)
        ORDER BY s.resource_type, s.id";
    let changed = transaction.execute(keep, &[&stamp]).await?;
    if changed > 0 {
        transaction.execute(replace, &[&stamp]).await?;
    }
    let new = transaction.execute(insert, &[&stamp]).await?;
    transaction.batch_execute("SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on").await?;
    Ok(LoadedCounts { new, changed, unchanged: staged.saturating_sub(new + changed) })
}

const DELETE: &str = "-- delete: the current version goes, and stays in the history
    WITH gone AS (
        DELETE FROM resource r USING unnest($1::text[], $2::text[]) AS k (resource_type, id)
        WHERE r.resource_type = k.resource_type AND r.id = k.id
        RETURNING r.resource_type, r.id, r.version, r.last_updated, r.body
    )
    INSERT INTO resource_history (resource_type, id, version, last_updated, superseded_at, deleted_at, body)
    SELECT resource_type, id, version, last_updated, $3, $3, body FROM gone";

/// A Group that cannot be opened, or a member of it that cannot be read.
pub(super) fn unreadable_group(why: &str) -> Fault {
    Fault::new(FaultKind::Invalid, "failed to read a Group that is to be loaded").because(why)
}
