//! The tables, and how they come to be.

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

/// Creates the schema and its tables, or brings them up to date. Several may do so at once, each step is done once.
pub async fn migrate(url: &str) -> Result<(), Fault> {
    let address = Address::parse(url)?;
    let doing = || format!("failed to create the tables in the schema {}", address.schema);
    let failed = |error: tokio_postgres::Error| fault(doing(), &error);
    let mut client = address.connect().await?;
    let transaction = client.transaction().await.map_err(failed)?;
    // The schema's name has only letters, digits and _ (see `Address::parse`).
    let begin = format!(
        "-- migrate: one at a time, in a schema of its own
        SELECT pg_advisory_xact_lock(hashtext('migration of {schema}'));
        CREATE SCHEMA IF NOT EXISTS {schema};
        CREATE TABLE IF NOT EXISTS migration (
            version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
        );",
        schema = address.schema,
    );
    transaction.batch_execute(&begin).await.map_err(failed)?;
    let done = "-- migrate: the last step that was done
        SELECT coalesce(max(version), 0) FROM migration";
    let done: i32 = transaction.query_one(done, &[]).await.map_err(failed)?.get(0);
    for (version, name, sql) in STEPS.into_iter().filter(|(version, ..)| *version > done) {
        transaction.batch_execute(sql).await.map_err(failed)?;
        let record = "-- migrate: record a step
            INSERT INTO migration (version, name) VALUES ($1, $2)";
        transaction.execute(record, &[&version, &name]).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
