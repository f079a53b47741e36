//! Who writes while exports run: loaders, transactions by hand that commit late or not at all, and somebody who holds a load
//! up when it has its stamp.

use std::time::Duration;

use shared::fhir::{OwnBases, Resource, ResourceKey};
use shared::source::postgres::Loader;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use super::draws::{Block, Late, Load, Stamp, Writes};
use super::history::{History, Write};
use crate::harness::postgres_url;
use crate::harness::random::OWN_BASE;
use crate::harness::system::source_url;

/// Who writes by hand.
pub const LATE: &str = "late";

/// As long as a loader waits after its commit, and for the same reason: a transaction time is in whole milliseconds.
const SETTLE: Duration = Duration::from_millis(2);

/// A connection in a namespace.
pub async fn connect(namespace: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&postgres_url(), NoTls).await.expect("PostgreSQL is there");
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {namespace}")).await.expect("the schema is there");
    client
}

/// The time by the clock of the database.
async fn now(client: &Client) -> i64 {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    client.query_one(now, &[]).await.expect("PostgreSQL is there").get(0)
}

/// Loads and deletes as the product does.
pub async fn load(who: String, namespace: &str, steps: Vec<Load>, history: &History) {
    let mut loader =
        Loader::connect(&source_url(namespace), OwnBases::new([OWN_BASE])).await.expect("PostgreSQL is there");
    let client = connect(namespace).await;
    for Load { wait, writes } in steps {
        sleep(wait).await;
        let (from, invoked) = (now(&client).await, history.tick());
        let bodies = writes.iter().filter_map(|(_, body)| body.clone());
        let resources: Vec<Resource> =
            bodies.map(|body| Resource::read(&body.into()).expect("the draws are resources")).collect();
        if resources.is_empty() {
            let keys: Vec<ResourceKey> = writes.iter().map(|(key, _)| parsed(key)).collect();
            loader.delete(&keys).await.expect("it can be deleted");
        } else {
            loader.load(&resources).await.expect("it can be loaded");
        }
        let (returned, to) = (history.tick(), now(&client).await);
        let who = who.clone();
        let write = Write { who, invoked, returned, committed: true, stamp: (from, to), wrote: writes };
        history.events().writes.push(write);
    }
}

fn parsed(key: &str) -> ResourceKey {
    let (resource_type, id) = key.split_once('/').expect("a key is Type/id");
    ResourceKey::new(resource_type.parse().expect("it is a type"), id.parse().expect("it is an id"))
}

/// Writes by hand: takes its stamp, writes, and waits.
pub async fn write_late(namespace: &str, steps: Vec<Late>, history: &History) {
    let mut client = connect(namespace).await;
    for Late { wait, stamp, writes, hold, commits } in steps {
        sleep(wait).await;
        let invoked = history.tick();
        let transaction = client.transaction().await.expect("PostgreSQL is there");
        let taken = "SELECT (extract(epoch FROM take_stamp()) * 1000000)::bigint";
        let taken: i64 = transaction.query_one(taken, &[]).await.expect("it is its turn").get(0);
        let stamp = match stamp {
            Stamp::Taken => taken,
            Stamp::Earliest => taken - taken % 1_000 + 1,
            Stamp::Next(micros) => taken - taken % 1_000 + 1_000 + micros,
        };
        for (key, body) in &writes {
            let (resource_type, id) = key.split_once('/').expect("a key is Type/id");
            let what = (resource_type, id, stamp);
            write(&transaction, what, body.as_deref()).await.expect("it can be written");
        }
        sleep(hold).await;
        // No stamp is in the future when its transaction commits.
        let is_past = "SELECT clock_timestamp() > 'epoch'::timestamptz + $1 * interval '1 microsecond'";
        while !transaction.query_one(is_past, &[&stamp_of(stamp)]).await.expect("PostgreSQL is there").get::<_, bool>(0)
        {
        }
        if commits {
            transaction.commit().await.expect("it can be committed");
            sleep(SETTLE).await;
        } else {
            transaction.rollback().await.expect("it can be rolled back");
        }
        let (who, returned) = (LATE.to_owned(), history.tick());
        let stamp = (stamp, stamp);
        history.events().writes.push(Write { who, invoked, returned, committed: commits, stamp, wrote: writes });
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 are fewer than 2^53")]
fn stamp_of(micros: i64) -> f64 {
    micros as f64
}

/// One version, or the end of one, as the tables want it.
async fn write(
    transaction: &tokio_postgres::Transaction<'_>,
    (resource_type, id, stamp): (&str, &str, i64),
    body: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let end = "
        INSERT INTO resource_history (resource_type, id, version, last_updated, superseded_at, deleted_at, body)
        SELECT resource_type, id, version, last_updated, stamp, CASE WHEN $4 THEN stamp END, body
        FROM resource, (SELECT 'epoch'::timestamptz + $3 * interval '1 microsecond' AS stamp) stamped
        WHERE resource_type = $1 AND id = $2";
    let remove = "DELETE FROM resource WHERE resource_type = $1 AND id = $2";
    let begin = "
        INSERT INTO resource (resource_type, id, version, last_updated, body)
        SELECT $1, $2, 1 + coalesce(max(version), 0), 'epoch'::timestamptz + $3 * interval '1 microsecond', $4
        FROM resource_history WHERE resource_type = $1 AND id = $2";
    transaction.execute(end, &[&resource_type, &id, &stamp_of(stamp), &body.is_none()]).await?;
    transaction.execute(remove, &[&resource_type, &id]).await?;
    if let Some(body) = body {
        transaction.execute(begin, &[&resource_type, &id, &stamp_of(stamp), &body]).await?;
    }
    Ok(())
}

/// Holds the head of the list, so that a load of it has to wait between its stamp and its commit.
pub async fn block(namespace: &str, steps: Vec<Block>) {
    let mut client = connect(namespace).await;
    for Block { wait, hold } in steps {
        sleep(wait).await;
        let transaction = client.transaction().await.expect("PostgreSQL is there");
        let lock = "SELECT FROM attribution_list WHERE valid_to = 'infinity' FOR UPDATE";
        transaction.execute(lock, &[]).await.expect("it can be locked");
        sleep(hold).await;
        transaction.rollback().await.expect("it can be rolled back");
    }
}

/// What was there before anybody else wrote, as a transaction of its own.
pub fn world(lines: &[String], history: &History) -> Write {
    let wrote: Writes = lines.iter().map(|line| (crate::oracle::key_of(line), Some(line.clone()))).collect();
    let (who, invoked, returned) = ("world".to_owned(), history.tick(), history.tick());
    Write { who, invoked, returned, committed: true, stamp: (0, 0), wrote }
}
