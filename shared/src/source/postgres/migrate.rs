//! The tables, and how they come to be.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::errors::fault;
use crate::fault::Fault;

/// The steps in order; a step that has been released is never changed, the next one is added.
const STEPS: [(i32, &str, &str); 5] = [
    (1, "resources", include_str!("../../../migrations/0001_resources.sql")),
    (2, "beyond_lists", include_str!("../../../migrations/0002_beyond_lists.sql")),
    (3, "runs", include_str!("../../../migrations/0003_runs.sql")),
    (4, "stamps", include_str!("../../../migrations/0004_stamps.sql")),
    (5, "json", include_str!("../../../migrations/0005_json.sql")),
];

/// How often a step is tried that did not get a table for itself in time: for long reads to end in between.
const TRIES: u32 = 30;

/// Creates the schema and its tables, or brings them up to date. Several may do so at once, each step is done once.
pub async fn migrate(url: &str) -> Result<(), Fault> {
    let address = Address::parse(url)?;
    let mut client = address.connect().await?;
    let mut tries = 1;
    loop {
        match apply(&mut client, &address.schema).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries < TRIES => tries += 1,
            done => {
                let doing = || format!("failed to create the tables in the schema {}", address.schema);
                return done.map_err(|error| fault(doing(), &error));
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn apply(client: &mut tokio_postgres::Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // The schema's name has only letters, digits and _ (see `Address::parse`).
    let begin = format!(
        "-- migrate: one at a time, in a schema of its own
        SELECT pg_advisory_xact_lock(hashtext('migration of {schema}'));
        CREATE SCHEMA IF NOT EXISTS {schema};
        CREATE TABLE IF NOT EXISTS migration (
            version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
        );"
    );
    transaction.batch_execute(&begin).await?;
    let done = "-- migrate: the last step that was done
        SELECT coalesce(max(version), 0) FROM migration";
    let done: i32 = transaction.query_one(done, &[]).await?.get(0);
    for (version, name, sql) in STEPS.into_iter().filter(|(version, ..)| *version > done) {
        transaction.batch_execute(sql).await?;
        let record = "-- migrate: record a step
            INSERT INTO migration (version, name) VALUES ($1, $2)";
        transaction.execute(record, &[&version, &name]).await?;
    }
    transaction.commit().await
}
