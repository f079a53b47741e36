//! The versions of one resource, as they are now.

use tokio_postgres::Row;

use super::PostgresSource;
use super::columns::{At, Text};
use super::rows::{read, unsigned};
use crate::fault::Fault;
use crate::fhir::{Resource, ResourceKey};
use crate::source::Version;

const VERSIONS: &str = "-- versions: a page of the versions of a resource, the newest first
    SELECT version, last_updated, NULL::timestamptz AS superseded_at, body FROM resource
    WHERE resource_type = $1 AND id = $2 AND version < $3
    UNION ALL
    SELECT version, last_updated, superseded_at, body FROM resource_history
    WHERE resource_type = $1 AND id = $2 AND version < $3
    ORDER BY version DESC LIMIT $4";

pub(super) async fn versions(
    source: &PostgresSource,
    key: &ResourceKey,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Version>, Fault> {
    let doing = format!("failed to read the versions of a {}", key.resource_type);
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let limit = i64::from(limit);
    let (name, id) = (key.resource_type.name(), key.id.as_str());
    let rows = source.rows(&doing, VERSIONS, &[&name, &id, &before, &limit]).await?;
    rows.iter().map(|row| version(&doing, key.clone(), row, 0)).collect()
}

/// A version of a resource, from a row that goes on, from `column`, with `version`, `last_updated`, `superseded_at` and
/// `body`.
pub(super) fn version(doing: &str, key: ResourceKey, row: &Row, column: usize) -> Result<Version, Fault> {
    Ok(Version {
        number: unsigned(doing, row, column)?,
        from: read::<At>(doing, row, column + 1)?.0,
        to: read::<Option<At>>(doing, row, column + 2)?.map(|to| to.0),
        resource: Resource { key, body: read::<Text>(doing, row, column + 3)?.0 },
    })
}
