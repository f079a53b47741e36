//! Reading all that the server holds of a type as of a time, list or no list: cut into slices, then read page by page,
//! and what was deleted.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;

use super::PostgresSource;
use super::columns::{At, Text};
use super::rows::{PAGE_BYTES, behind, key_of, not_null, parsed, read, stored, texts};
use super::walk::slices;
use crate::export::Slice;
use crate::fault::Fault;
use crate::fhir::{Instant, Resource, ResourceKey, ResourceType};
use crate::source::{Deleted, Stored};

// At any time at most one version of a resource is the current one, so the two halves have no id in common. The first is
// answered by the primary key alone once the table is vacuumed, for `last_updated` is in it. The second is small, what has
// changed since, and must be found by that: apart and MATERIALIZED, so that the type does not tempt the planner to read
// the whole history of it, and with an end, because a range without one is taken for a third of the table.
const CUT_ALL: &str = "-- cut_all: the last id and the length of each slice of a type as of a time
    WITH past AS MATERIALIZED (
        SELECT resource_type, id FROM resource_history
        WHERE $2 < superseded_at AND superseded_at < 'infinity' AND last_updated <= $2
    )
    SELECT $1::text, max(id), count(*) FROM (
        SELECT id, (row_number() OVER (ORDER BY id) - 1) / $3 AS slice FROM (
            SELECT id FROM resource WHERE resource_type = $1 AND last_updated <= $2
            UNION ALL
            SELECT id FROM past WHERE resource_type = $1
        ) there
    ) numbered
    GROUP BY slice
    ORDER BY slice";

// The history is read no further than the page that `resource` gave: most ids have many old versions, hardly any of
// them was the current one at a time that is seconds ago. Without its own end each page would read it to the slice's.
// A page ends early as that of `listed` does.
const SCAN: &str = "-- scan: a page of a slice of all resources as of a time
    WITH present AS MATERIALIZED (
        SELECT id, last_updated, body FROM resource
        WHERE resource_type = $1 AND id > $3 AND id <= $4 AND last_updated <= $2
        ORDER BY id LIMIT $5
    ), past AS MATERIALIZED (
        SELECT id, last_updated, body FROM resource_history
        WHERE resource_type = $1 AND id > $3 AND last_updated <= $2 AND $2 < superseded_at
            AND id <= (SELECT CASE WHEN count(*) < $5 THEN $4 ELSE max(id) END FROM present)
        ORDER BY id LIMIT $5
    )
    SELECT id, last_updated, body
    FROM (
        SELECT id, last_updated, body, sum(octet_length(body)) OVER (
            ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM (SELECT * FROM present UNION ALL SELECT * FROM past ORDER BY id LIMIT $5) page
    ) sized
    WHERE coalesce(bytes_before, 0) < $6
    ORDER BY id";

// A range of the index of deletions, in its order; `$3 <=` says nothing new but that it is one. A deleted version is the
// last one when no later one had begun; LIMIT keeps that a probe of two primary keys.
const DELETED: &str = "-- deleted: a page of the resources that are gone as of a time
    SELECT resource_type, id, deleted_at, body
    FROM (
        SELECT resource_type, id, deleted_at, body, sum(octet_length(body)) OVER (
            ORDER BY deleted_at, resource_type, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM (
            SELECT h.resource_type, h.id, h.deleted_at, h.body
            FROM resource_history h
            LEFT JOIN LATERAL (
                SELECT true AS had_begun FROM resource r
                WHERE r.resource_type = h.resource_type AND r.id = h.id AND r.last_updated <= $2
                UNION ALL
                SELECT true FROM resource_history l
                WHERE l.resource_type = h.resource_type AND l.id = h.id AND l.version > h.version
                    AND l.last_updated <= $2
                LIMIT 1
            ) later ON true
            WHERE (h.deleted_at, h.resource_type, h.id) > ($3, $4, $5) AND $3 <= h.deleted_at AND h.deleted_at <= $2
                AND h.resource_type = ANY ($1) AND later.had_begun IS NULL
            ORDER BY h.deleted_at, h.resource_type, h.id LIMIT $6
        ) page
    ) sized
    WHERE coalesce(bytes_before, 0) < $7
    ORDER BY deleted_at, resource_type, id";

pub(super) async fn cut_all(
    source: &PostgresSource,
    types: &[ResourceType],
    as_of: Instant,
    size: u64,
) -> Result<Vec<Slice>, Fault> {
    let size = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
    let mut all = Vec::new();
    for resource_type in types {
        let doing = format!("failed to cut all that there is of {resource_type}");
        let rows = source.rows(&doing, CUT_ALL, &[&resource_type.name(), &At(as_of), &size]).await?;
        all.extend(slices(&doing, &rows)?);
    }
    Ok(all)
}

pub(super) async fn scan(
    source: &PostgresSource,
    slice: &Slice,
    as_of: Instant,
    limit: u32,
) -> Result<Vec<Stored>, Fault> {
    let doing = format!("failed to read a page of all that there is of {}", slice.resource_type);
    let name = slice.resource_type.name();
    let (after, through) = (behind(slice.after.as_ref()), slice.through.as_str());
    let limit = i64::from(limit);
    let rows = source.rows(&doing, SCAN, &[&name, &At(as_of), &after, &through, &limit, &PAGE_BYTES]).await?;
    let bodies = texts(&doing, &rows, 2)?;
    let stored = |(row, body): (&Row, Option<Bytes>)| {
        let key = key_of(&doing, slice.resource_type, row, 0)?;
        stored(&doing, key, row, 1, not_null(&doing, body)?)
    };
    rows.iter().zip(bodies).map(stored).collect()
}

pub(super) async fn deleted(
    source: &PostgresSource,
    types: &[ResourceType],
    since: Instant,
    as_of: Instant,
    after: Option<&Deleted>,
    limit: u32,
) -> Result<Vec<Deleted>, Fault> {
    const DOING: &str = "failed to read what was deleted";
    let types: Vec<&str> = types.iter().map(|resource_type| resource_type.name()).collect();
    // Behind all that was deleted at `since` is before all that was deleted a microsecond later: no type is empty.
    let (at, resource_type, id) = match after {
        None => (since + Duration::from_micros(1), "", ""),
        Some(Deleted { resource: Resource { key, .. }, at }) => (*at, key.resource_type.name(), key.id.as_str()),
    };
    let limit = i64::from(limit);
    let rows =
        source.rows(DOING, DELETED, &[&types, &At(as_of), &At(at), &resource_type, &id, &limit, &PAGE_BYTES]).await?;
    let deleted = |row: &Row| {
        let key = ResourceKey::new(parsed(DOING, row, 0)?, parsed(DOING, row, 1)?);
        let body = read::<Text>(DOING, row, 3)?.0;
        Ok(Deleted { resource: Resource { key, body }, at: read::<At>(DOING, row, 2)?.0 })
    };
    rows.iter().map(deleted).collect()
}
