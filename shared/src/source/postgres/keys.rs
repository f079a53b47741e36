//! Looking up single resources by their keys: whether a list names them, what they were, and whether they are gone, as of a
//! time.

use std::collections::{HashMap, HashSet};

use super::PostgresSource;
use super::columns::{At, Text};
use super::members::must_exist;
use super::rows::{KEYS_A_STATEMENT, columns, not_null, numbered, read, stored, texts};
use crate::fault::Fault;
use crate::fhir::{Instant, Resource, ResourceId, ResourceKey};
use crate::source::{Deleted, Stored};

const LISTED_AMONG: &str = "-- listed_among: which of the keys a list names as of a time, and since when
    SELECT k.number, named.listed_since
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL (
        SELECT l.listed_since FROM attribution_listed l
        WHERE l.list = $1 AND l.resource_type = k.resource_type AND l.id = k.id
            AND l.valid_from <= $2 AND $2 < l.valid_to
        LIMIT 1
    ) named";

const LISTED_BETWEEN: &str = "-- listed_between: which of the keys a list named at any time between two
    SELECT k.number
    FROM unnest($4::text[], $5::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL (
        SELECT FROM attribution_listed l
        WHERE l.list = $1 AND l.resource_type = k.resource_type AND l.id = k.id
            AND l.valid_from <= $3 AND $2 < l.valid_to
        LIMIT 1
    ) named";

const FETCH: &str = "-- fetch: resources by key as of a time
    SELECT k.number, found.last_updated, found.body
    FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL version_at(k.resource_type, k.id, $1) found";

// The last version that had begun says whether the resource was deleted; of its history only that one is read.
const DELETED_AMONG: &str =
    "-- deleted_among: which of the keys were deleted between two times and are gone as of the second
    SELECT k.number, gone.deleted_at, gone.body
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS k (resource_type, id, number)
    CROSS JOIN LATERAL (
        SELECT h.deleted_at, h.body FROM resource_history h
        WHERE h.resource_type = k.resource_type AND h.id = k.id AND h.last_updated <= $2
        ORDER BY h.version DESC LIMIT 1
    ) gone
    WHERE gone.deleted_at > $1 AND gone.deleted_at <= $2 AND NOT EXISTS (
        SELECT FROM resource r WHERE r.resource_type = k.resource_type AND r.id = k.id AND r.last_updated <= $2
    )";

pub(super) async fn listed_among(
    source: &PostgresSource,
    list: &ResourceId,
    as_of: Instant,
    keys: &[ResourceKey],
) -> Result<HashMap<ResourceKey, Instant>, Fault> {
    let doing = format!("failed to look up what list {list} names");
    let mut among = HashMap::new();
    for keys in keys.chunks(KEYS_A_STATEMENT) {
        let (types, ids) = columns(keys);
        for row in source.rows(&doing, LISTED_AMONG, &[&list.as_str(), &At(as_of), &types, &ids]).await? {
            among.insert(numbered(&doing, keys, &row)?.clone(), read::<At>(&doing, &row, 1)?.0);
        }
    }
    if among.is_empty() {
        must_exist(source, &doing, list, as_of).await?;
    }
    Ok(among)
}

pub(super) async fn listed_between(
    source: &PostgresSource,
    list: &ResourceId,
    since: Instant,
    as_of: Instant,
    keys: &[ResourceKey],
) -> Result<HashSet<ResourceKey>, Fault> {
    let doing = format!("failed to look up what list {list} named");
    let mut between = HashSet::new();
    for keys in keys.chunks(KEYS_A_STATEMENT) {
        let (types, ids) = columns(keys);
        let rows = source.rows(&doing, LISTED_BETWEEN, &[&list.as_str(), &At(since), &At(as_of), &types, &ids]).await?;
        for row in rows {
            between.insert(numbered(&doing, keys, &row)?.clone());
        }
    }
    Ok(between)
}

pub(super) async fn deleted_among(
    source: &PostgresSource,
    since: Instant,
    as_of: Instant,
    keys: &[ResourceKey],
) -> Result<Vec<Deleted>, Fault> {
    const DOING: &str = "failed to look up what was deleted";
    let distinct: HashSet<&ResourceKey> = keys.iter().collect();
    let distinct: Vec<&ResourceKey> = distinct.into_iter().collect();
    let mut deleted = Vec::new();
    for keys in distinct.chunks(KEYS_A_STATEMENT) {
        let (types, ids) = columns(keys.iter().copied());
        for row in source.rows(DOING, DELETED_AMONG, &[&At(since), &At(as_of), &types, &ids]).await? {
            let key = (*numbered(DOING, keys, &row)?).clone();
            let (at, body) = (read::<At>(DOING, &row, 1)?.0, read::<Text>(DOING, &row, 2)?.0);
            deleted.push(Deleted { resource: Resource { key, body }, at });
        }
    }
    Ok(deleted)
}

pub(super) async fn fetch(source: &PostgresSource, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
    const DOING: &str = "failed to fetch resources";
    let distinct: HashSet<&ResourceKey> = keys.iter().collect();
    let distinct: Vec<&ResourceKey> = distinct.into_iter().collect();
    let mut found = Vec::with_capacity(distinct.len());
    for keys in distinct.chunks(KEYS_A_STATEMENT) {
        let (types, ids) = columns(keys.iter().copied());
        let rows = source.rows(DOING, FETCH, &[&At(as_of), &types, &ids]).await?;
        for (row, body) in rows.iter().zip(texts(DOING, &rows, 2)?) {
            let key = (*numbered(DOING, keys, row)?).clone();
            found.push(stored(DOING, key, row, 1, not_null(DOING, body)?)?);
        }
    }
    Ok(found)
}
