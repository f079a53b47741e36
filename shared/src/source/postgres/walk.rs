//! Walking what the members of a list name, as of a time: cut into slices, then read page by page.

use bytes::Bytes;
use tokio_postgres::Row;

use super::PostgresSource;
use super::columns::At;
use super::members::must_exist;
use super::rows::{PAGE_BYTES, behind, corrupt, parsed, read, stored, texts, unsigned};
use crate::export::Slice;
use crate::fault::Fault;
use crate::fhir::{Attribution, Instant, ResourceId, ResourceKey, ResourceType};
use crate::source::Listed;

// Runs that did not begin with the head are of an older one: somebody has loaded the list with a program that counts nothing.
const RUNS: &str = "-- cut: the runs that were counted when the list was loaded
    SELECT resource_type, through, ids FROM attribution_run
    WHERE list = $1 AND $2 < valid_to AND valid_from = (
        SELECT valid_from FROM attribution_list WHERE list = $1 AND valid_from <= $2 AND $2 < valid_to
    )
    ORDER BY resource_type, through";

// The rows come in the order of the primary key, so numbering them needs no sort and one pass; three seconds for two million.
const CUT: &str = "-- cut: the last id and the length of each slice, counted
    SELECT resource_type, max(id), count(*) FROM (
        SELECT resource_type, id,
            (row_number() OVER (PARTITION BY resource_type ORDER BY id) - 1) / $3 AS slice
        FROM attribution_listed
        WHERE list = $1 AND valid_from <= $2 AND $2 < valid_to
    ) numbered
    GROUP BY resource_type, slice
    ORDER BY resource_type, slice";

// LEFT JOIN LATERAL over a subquery with a LIMIT is always a probe for each row of the page, and keeps the page's order.
// A page ends before `limit` when its bodies have reached `PAGE_BYTES`. The lengths are known without reading the bodies
// that are stored out of line.
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

pub(super) async fn cut(
    source: &PostgresSource,
    list: &ResourceId,
    as_of: Instant,
    size: u64,
) -> Result<Vec<Slice>, Fault> {
    let doing = format!("failed to cut list {list}");
    // What was counted by the load is added up. For slices shorter than a run, or a list without runs, it is counted now.
    let runs = source.rows(&doing, RUNS, &[&list.as_str(), &At(as_of)]).await?;
    let runs = slices(&doing, &runs)?;
    if !runs.is_empty() && runs.iter().all(|run| run.ids <= size) {
        return Ok(add_up(runs, size));
    }
    let size = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
    let rows = source.rows(&doing, CUT, &[&list.as_str(), &At(as_of), &size]).await?;
    if rows.is_empty() {
        must_exist(source, &doing, list, as_of).await?;
    }
    slices(&doing, &rows)
}

/// Slices from rows of the type, the last id and the count of ids; those of one type in their order.
pub(super) fn slices(doing: &str, rows: &[Row]) -> Result<Vec<Slice>, Fault> {
    let mut slices: Vec<Slice> = Vec::with_capacity(rows.len());
    for row in rows {
        let resource_type: ResourceType = parsed(doing, row, 0)?;
        let before = slices.last().filter(|before| before.resource_type == resource_type);
        let after = before.map(|before| before.through.clone());
        slices.push(Slice { resource_type, after, through: parsed(doing, row, 1)?, ids: unsigned(doing, row, 2)? });
    }
    Ok(slices)
}

/// Slices of at most `size` ids out of runs that are no longer.
fn add_up(runs: Vec<Slice>, size: u64) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    for run in runs {
        match slices.last_mut() {
            Some(last) if last.resource_type == run.resource_type && last.ids + run.ids <= size => {
                last.through = run.through;
                last.ids += run.ids;
            }
            _ => slices.push(run),
        }
    }
    slices
}

pub(super) async fn listed(
    source: &PostgresSource,
    list: &ResourceId,
    slice: &Slice,
    as_of: Instant,
    limit: u32,
) -> Result<Vec<Listed>, Fault> {
    let doing = format!("failed to read a page of {} of list {list}", slice.resource_type);
    let name = slice.resource_type.name();
    let (after, through) = (behind(slice.after.as_ref()), slice.through.as_str());
    let limit = i64::from(limit);
    let rows = source
        .rows(&doing, LISTED, &[&list.as_str(), &At(as_of), &name, &after, &through, &limit, &PAGE_BYTES])
        .await?;
    if rows.is_empty() {
        must_exist(source, &doing, list, as_of).await?;
    }
    let bodies = texts(&doing, &rows, 4)?;
    let listed = |(row, body): (&Row, Option<Bytes>)| {
        let id: ResourceId = parsed(&doing, row, 0)?;
        let named_by = Attribution::from_code(read(&doing, row, 1)?)
            .ok_or_else(|| corrupt(&doing, "a way of naming has an unknown code"))?;
        let listed_since = read::<At>(&doing, row, 2)?.0;
        let key = |id: &ResourceId| ResourceKey::new(slice.resource_type, id.clone());
        let stored = body.map(|body| stored(&doing, key(&id), row, 3, body)).transpose()?;
        Ok(Listed { id, named_by, listed_since, stored })
    };
    rows.iter().zip(bodies).map(listed).collect()
}
