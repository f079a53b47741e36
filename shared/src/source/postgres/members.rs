//! Reading the members of a list as of a time: its head, its members in their order, those of some patients.

use std::collections::HashSet;

use bytes::Bytes;

use super::PostgresSource;
use super::columns::{At, Text};
use super::rows::{KEYS_A_STATEMENT, PAGE_BYTES, not_null, parsed, read, texts, unsigned};
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Instant, ResourceId};
use crate::source::ListHead;

const HEAD: &str = "-- list: the head of a list as of a time
    SELECT before, after, members, valid_from FROM attribution_list
    WHERE list = $1 AND valid_from <= $2 AND $2 < valid_to";

// As in `walk.rs`, a page ends when its texts have reached `PAGE_BYTES`.
const MEMBERS: &str = "-- members: a page of a list as of a time
    SELECT body FROM (
        SELECT ordinal, body, sum(octet_length(body)) OVER (
            ORDER BY ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM attribution_member
        WHERE list = $1 AND ordinal >= $3 AND ordinal < $4 AND valid_from <= $2 AND $2 < valid_to
    ) sized
    WHERE coalesce(bytes_before, 0) < $5
    ORDER BY ordinal";

// OFFSET 0 keeps the planner from turning the probe for each patient inside out.
const MEMBERS_OF: &str = "-- members_of: the members of a list that are some patients, as of a time
    SELECT mine.ordinal, k.patient, mine.body
    FROM unnest($3::text[]) AS k (patient)
    CROSS JOIN LATERAL (
        SELECT m.ordinal, m.body FROM attribution_member m
        WHERE m.patient = k.patient AND m.list = $1 AND m.valid_from <= $2 AND $2 < m.valid_to
        OFFSET 0
    ) mine";

pub(super) async fn list(
    source: &PostgresSource,
    list: &ResourceId,
    as_of: Instant,
) -> Result<Option<ListHead>, Fault> {
    let doing = format!("failed to read the head of list {list}");
    let rows = source.rows(&doing, HEAD, &[&list.as_str(), &At(as_of)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(ListHead {
        before: read::<Text>(&doing, row, 0)?.0,
        after: read::<Text>(&doing, row, 1)?.0,
        members: unsigned(&doing, row, 2)?,
        last_updated: read::<At>(&doing, row, 3)?.0,
    }))
}

/// Fails with `NotFound` when there is no such list. Asked only when there is nothing else to tell it by.
pub(super) async fn must_exist(
    source: &PostgresSource,
    doing: &str,
    list: &ResourceId,
    as_of: Instant,
) -> Result<(), Fault> {
    let rows = source.rows(doing, HEAD, &[&list.as_str(), &At(as_of)]).await?;
    if rows.is_empty() { Err(Fault::new(FaultKind::NotFound, doing).because("there is no such list")) } else { Ok(()) }
}

pub(super) async fn members(
    source: &PostgresSource,
    list: &ResourceId,
    as_of: Instant,
    from: u64,
    limit: u32,
) -> Result<Vec<Bytes>, Fault> {
    let doing = format!("failed to read members of list {list}");
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let end = from.saturating_add(i64::from(limit));
    let rows = source.rows(&doing, MEMBERS, &[&list.as_str(), &At(as_of), &from, &end, &PAGE_BYTES]).await?;
    if rows.is_empty() {
        must_exist(source, &doing, list, as_of).await?;
    }
    texts(&doing, &rows, 0)?.into_iter().map(|member| not_null(&doing, member)).collect()
}

pub(super) async fn members_of(
    source: &PostgresSource,
    list: &ResourceId,
    as_of: Instant,
    patients: &[ResourceId],
) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
    let doing = format!("failed to look up members of list {list}");
    let distinct: HashSet<&str> = patients.iter().map(ResourceId::as_str).collect();
    let distinct: Vec<&str> = distinct.into_iter().collect();
    let mut found: Vec<(i64, ResourceId, Bytes)> = Vec::with_capacity(distinct.len());
    for patients in distinct.chunks(KEYS_A_STATEMENT) {
        for row in source.rows(&doing, MEMBERS_OF, &[&list.as_str(), &At(as_of), &patients]).await? {
            found.push((read(&doing, &row, 0)?, parsed(&doing, &row, 1)?, read::<Text>(&doing, &row, 2)?.0));
        }
    }
    if found.is_empty() {
        must_exist(source, &doing, list, as_of).await?;
    }
    found.sort_unstable_by_key(|(ordinal, ..)| *ordinal);
    Ok(found.into_iter().map(|(_, patient, member)| (patient, member)).collect())
}
