//! Finding attribution lists by a search, or by who is a member of them, as they are now.
//!
//! A search is answered by reading Groups and asking it about each; an index says which ones may be found at all when
//! the search names ids or values of identifiers, as nearly all do (standards §3.5).

use tokio_postgres::Row;

use super::PostgresSource;
use super::rows::{behind, corrupt, key_of};
use super::versions::version;
use crate::fault::Fault;
use crate::fhir::search::{Query, value_at};
use crate::fhir::{ResourceId, ResourceType};
use crate::source::Version;
use crate::source::candidates::{Candidates, candidates};

/// The most Groups that one statement reads.
const BATCH: u32 = 1_000;

const ALL: &str = "-- find_lists: a page of the Groups
    SELECT id, version, last_updated, NULL::timestamptz, body FROM resource
    WHERE resource_type = 'Group' AND id > $1
    ORDER BY id LIMIT $2";

// LATERAL with a LIMIT is always a probe for each id.
const BY_ID: &str = "-- find_lists: those of the Groups that have one of some ids
    SELECT one.id, one.version, one.last_updated, NULL::timestamptz, one.body
    FROM unnest($3::text[]) AS k (id)
    CROSS JOIN LATERAL (
        SELECT r.id, r.version, r.last_updated, r.body FROM resource r
        WHERE r.resource_type = 'Group' AND r.id = k.id AND r.id > $1
        LIMIT 1
    ) one
    ORDER BY one.id LIMIT $2";

// Apart and MATERIALIZED, so that the order and the limit do not tempt the planner to try every Group by its id. The
// empty text stands for Groups whose identifiers the database could not read (see the migration).
const BY_IDENTIFIER: &str = "-- find_lists: those of the Groups that have one of some identifiers
    WITH identified AS MATERIALIZED (
        SELECT id, version, last_updated, body FROM resource
        WHERE resource_type = 'Group' AND identifier_values(body) && (ARRAY[''] || $3::text[])
    )
    SELECT id, version, last_updated, NULL::timestamptz, body FROM identified
    WHERE id > $1
    ORDER BY id LIMIT $2";

const OF_PATIENTS: &str = "-- lists_of: the Groups of which one of some patients is a member
    WITH mine AS MATERIALIZED (
        SELECT DISTINCT list FROM attribution_member WHERE patient = ANY ($1::text[]) AND valid_to = 'infinity'
    )
    SELECT r.id, r.version, r.last_updated, NULL::timestamptz, r.body
    FROM mine JOIN resource r ON r.resource_type = 'Group' AND r.id = mine.list
    ORDER BY r.id";

pub(super) async fn find_lists(
    source: &PostgresSource,
    query: &Query,
    after: Option<&ResourceId>,
    limit: u32,
) -> Result<Vec<Version>, Fault> {
    const DOING: &str = "failed to search for lists";
    let candidates = candidates(query);
    let (mut after, mut batch) = (after.cloned(), limit.clamp(1, BATCH));
    let mut found = Vec::new();
    loop {
        let rows = page(source, DOING, &candidates, after.as_ref(), batch).await?;
        for row in &rows {
            let list = version(DOING, key_of(DOING, ResourceType::GROUP, row, 0)?, row, 1)?;
            let text = std::str::from_utf8(&list.resource.body).map_err(|_| corrupt(DOING, "a Group is not text"))?;
            after = Some(list.resource.key.id.clone());
            if value_at(text, list.from).is_some_and(|list| query.matches_value(&list)) {
                found.push(list);
                if found.len() == limit as usize {
                    return Ok(found);
                }
            }
        }
        if rows.len() < batch as usize {
            return Ok(found);
        }
        // Few of them are found, so the next ones are read in larger steps.
        batch = batch.saturating_mul(2).min(BATCH);
    }
}

pub(super) async fn lists_of(source: &PostgresSource, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
    const DOING: &str = "failed to look up the lists of some patients";
    let patients: Vec<&str> = patients.iter().map(ResourceId::as_str).collect();
    let rows = source.rows(DOING, OF_PATIENTS, &[&patients]).await?;
    rows.iter().map(|row| version(DOING, key_of(DOING, ResourceType::GROUP, row, 0)?, row, 1)).collect()
}

/// Some of the Groups behind one, in the order of their ids; fewer than `limit` only at the end.
async fn page(
    source: &PostgresSource,
    doing: &str,
    candidates: &Candidates,
    after: Option<&ResourceId>,
    limit: u32,
) -> Result<Vec<Row>, Fault> {
    let (after, limit) = (behind(after), i64::from(limit));
    match candidates {
        Candidates::All => source.rows(doing, ALL, &[&after, &limit]).await,
        Candidates::OfIds(ids) => {
            let ids: Vec<&str> = ids.iter().map(ResourceId::as_str).collect();
            source.rows(doing, BY_ID, &[&after, &limit, &ids]).await
        }
        Candidates::OfIdentifiers(values) => source.rows(doing, BY_IDENTIFIER, &[&after, &limit, values]).await,
    }
}
