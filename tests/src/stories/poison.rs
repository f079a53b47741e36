//! Poison and limits: what no client and no payer should send and somebody will, and parts of the system that have no room or
//! let nobody in. Each is bounded, explained and kept apart: the job says what was wrong, and what others asked for at the
//! same time is done.

mod credentials;
mod full_disk;
mod full_queue;
mod ids;
mod kick_offs;
mod killer;
mod large;
mod patience;
mod rows;
mod small_lists;

use serde_json::Value;

use crate::harness::exported::Exported;
use crate::harness::postgres_url;
use crate::harness::system::System;

/// Runs SQL in the tables of a system, as somebody who writes past the loader.
async fn sql(system: &System, statements: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&postgres_url(), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let schema = &system.settings.namespace;
    let done = client.batch_execute(&format!("SET search_path = {schema}; {statements}")).await;
    drop(client);
    connection.await.expect("a connection does not panic")?;
    done
}

/// What the error files say, each line.
fn told(exported: &Exported) -> Vec<&str> {
    let text = |issue: &'_ Value| issue["issue"][0]["diagnostics"].as_str().map(str::len).is_some();
    assert!(exported.issues.iter().all(text), "each line says something");
    exported.issues.iter().filter_map(|issue| issue["issue"][0]["diagnostics"].as_str()).collect()
}

/// The account of the members in a manifest.
fn account(exported: &Exported) -> &Value {
    let extension = exported.manifest["extension"].as_object().expect("a list has an account of its members");
    extension.values().next().expect("it is the only extension")
}
