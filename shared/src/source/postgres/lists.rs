//! Loading one attribution list: the head, the members in order, the set of what they name, and the runs in which that is
//! counted.
//!
//! Written to be read with a million members in mind: each step is one statement over all of them. A member that is
//! taken out in the middle moves those behind it, and their rows are written anew; what they name stays untouched.

use tokio_postgres::{Error, Transaction};

use super::columns::At;
use super::copy::Rows;
use super::loader::{LoadedCounts, unreadable_group};
use crate::fault::Fault;
use crate::fhir::{
    Attribution, Member, OwnBases, Reference, Resource, ResourceId, ResourceKey, ResourceType, Target, json,
};

/// From so many members on the planner is told about the staging tables, which have no other statistics: a million rows
/// must not meet a million in nested loops, and ten rows must not wait for it.
const WORTH_ANALYZING: usize = 1_000;

/// The ids in a run: so few that slices made of runs are as long as they may be, or nearly, and so many that there are few.
const RUN_IDS: i64 = 1_000;

const END_RUNS: &str = "-- merge: the runs of a list end
    UPDATE attribution_run SET valid_to = $2 WHERE list = $1 AND valid_to = 'infinity'";

/// A Group, cut open at its members, of which each can be read.
pub(super) struct OpenedList<'a> {
    id: &'a ResourceId,
    before: &'a str,
    after: &'a str,
    members: Vec<&'a str>,
}

/// Cuts a Group open. Fails with `Invalid` when that cannot be done.
pub(super) fn open(group: &Resource) -> Result<OpenedList<'_>, Fault> {
    let text = std::str::from_utf8(&group.body).map_err(|_| unreadable_group("it is not UTF-8 text"))?;
    let opened = json::open_group(text).map_err(|error| unreadable_group(&json::reason(&error)))?;
    for (ordinal, member) in opened.members.iter().enumerate() {
        Member::read(member)
            .map_err(|error| unreadable_group(&format!("its member {ordinal}: {}", json::reason(&error))))?;
    }
    Ok(OpenedList { id: &group.key.id, before: opened.before, after: opened.after, members: opened.members })
}

/// Copies the members and what they name into the staging tables, in place of what is there.
pub(super) async fn stage(transaction: &Transaction<'_>, list: &OpenedList<'_>, own: &OwnBases) -> Result<(), Error> {
    transaction.batch_execute("TRUNCATE staged_member, staged_reference, staged_listed").await?;
    stage_members(transaction, list, own).await?;
    stage_references(transaction, list, own).await?;
    let set = "-- stage: what the list names, each resource once
        SET LOCAL work_mem = '64MB';
        INSERT INTO staged_listed (resource_type, id, named_by)
        SELECT resource_type, id, min(named_by) FROM staged_reference GROUP BY resource_type, id";
    transaction.batch_execute(set).await?;
    if list.members.len() >= WORTH_ANALYZING {
        transaction.batch_execute("-- stage: analyze\nANALYZE staged_member; ANALYZE staged_listed").await?;
    }
    Ok(())
}

async fn stage_members(transaction: &Transaction<'_>, list: &OpenedList<'_>, own: &OwnBases) -> Result<(), Error> {
    let copy = "-- stage: members
        COPY staged_member (ordinal, body, patient, coverage, provider) FROM STDIN (FORMAT binary)";
    let mut rows = Rows::begin(transaction, copy).await?;
    for (ordinal, body) in (0_i64..).zip(&list.members) {
        let named = named(body, own);
        let first = |way| named.iter().find(|(named_by, _)| *named_by == way).map(|(_, key)| key);
        let id = |way, of_type| {
            first(way).filter(|key: &&ResourceKey| key.resource_type == of_type).map(|key| key.id.as_str())
        };
        let patient = id(Attribution::Entity, ResourceType::PATIENT);
        let coverage = id(Attribution::Coverage, ResourceType::COVERAGE);
        let provider = first(Attribution::Provider).map(ToString::to_string);
        rows.row(5).bigint(ordinal).text(body.as_bytes());
        rows.maybe_text(patient).maybe_text(coverage).maybe_text(provider.as_deref());
        rows.flush().await?;
    }
    rows.finish().await?;
    Ok(())
}

async fn stage_references(transaction: &Transaction<'_>, list: &OpenedList<'_>, own: &OwnBases) -> Result<(), Error> {
    let copy = "-- stage: references
        COPY staged_reference (resource_type, id, named_by) FROM STDIN (FORMAT binary)";
    let itself = ResourceKey::new(ResourceType::GROUP, list.id.clone());
    let mut rows = Rows::begin(transaction, copy).await?;
    for body in &list.members {
        for (way, key) in named(body, own).iter().filter(|(_, key)| *key != itself) {
            rows.row(3).text(key.resource_type.name().as_bytes()).text(key.id.as_str().as_bytes());
            rows.smallint(way.code());
        }
        rows.flush().await?;
    }
    rows.finish().await?;
    Ok(())
}

/// The resources of this server that a member names. Other references make no row: they are reported by the export.
fn named(member: &str, own: &OwnBases) -> Vec<(Attribution, ResourceKey)> {
    let member = Member::read(member).expect("`open` has read every member");
    let local = |(way, reference): &(_, Reference<'_>)| match reference.target(own) {
        Ok(Target::Local(key)) => Some((*way, key)),
        Ok(Target::Contained) | Err(_) => None,
    };
    member.references.iter().filter_map(local).collect()
}

/// Compares the staged list with the current one and writes what differs. The Group has changed when its head, any
/// member or the place of any member has.
pub(super) async fn merge(
    transaction: &Transaction<'_>,
    list: &OpenedList<'_>,
    stamp: At,
) -> Result<LoadedCounts, Error> {
    let id = list.id.as_str();
    // The planner takes a list that another load has just written for a row or two until it is analyzed, and would meet
    // a million staged members in nested loops.
    transaction.batch_execute("-- merge: sets meet as sets\nSET LOCAL enable_nestloop = off").await?;
    let members = merge_members(transaction, id, stamp).await?;
    let rows = members + merge_listed(transaction, id, stamp).await?;
    transaction.batch_execute("-- merge: as usual\nSET LOCAL enable_nestloop = on").await?;
    let current = "-- merge: the current head of a list
        SELECT before, after FROM attribution_list WHERE list = $1 AND valid_to = 'infinity'";
    let current = transaction.query_opt(current, &[&id]).await?;
    let same_head = match &current {
        Some(row) => row.try_get::<_, &str>(0)? == list.before && row.try_get::<_, &str>(1)? == list.after,
        None => false,
    };
    if same_head && rows == 0 {
        return Ok(LoadedCounts { unchanged: 1, ..LoadedCounts::default() });
    }
    let end = "-- merge: the current head of a list ends
        UPDATE attribution_list SET valid_to = $2 WHERE list = $1 AND valid_to = 'infinity'";
    let begin = "-- merge: a head of a list begins
        INSERT INTO attribution_list (list, before, after, members, valid_from) VALUES ($1, $2, $3, $4, $5)";
    let keep = "-- merge: keep the version of a Group that is about to be superseded
        INSERT INTO resource_history (resource_type, id, version, last_updated, superseded_at, body)
        SELECT resource_type, id, version, last_updated, $2, body FROM resource
        WHERE resource_type = 'Group' AND id = $1";
    let replace = "-- merge: the Group as a resource
        INSERT INTO resource (resource_type, id, version, last_updated, body)
        SELECT 'Group', $1, 1 + coalesce(max(h.version), 0), $2, $3 FROM resource_history h
        WHERE h.resource_type = 'Group' AND h.id = $1
        ON CONFLICT (resource_type, id) DO UPDATE
        SET version = excluded.version, last_updated = excluded.last_updated, body = excluded.body";
    let count = i64::try_from(list.members.len()).unwrap_or(i64::MAX);
    renew_runs(transaction, id, stamp).await?;
    transaction.execute(end, &[&id, &stamp]).await?;
    transaction.execute(begin, &[&id, &list.before, &list.after, &count, &stamp]).await?;
    transaction.execute(keep, &[&id, &stamp]).await?;
    transaction.execute(replace, &[&id, &stamp, &format!("{}{}", list.before, list.after)]).await?;
    Ok(if current.is_some() {
        LoadedCounts { changed: 1, ..LoadedCounts::default() }
    } else {
        LoadedCounts { new: 1, ..LoadedCounts::default() }
    })
}

/// Ends the members that are no longer at their place, and begins those that are there now; says how many rows differ.
async fn merge_members(transaction: &Transaction<'_>, list: &str, stamp: At) -> Result<u64, Error> {
    let end = "-- merge: members that left their place
        UPDATE attribution_member m SET valid_to = $2
        WHERE m.list = $1 AND m.valid_to = 'infinity'
            AND NOT EXISTS (SELECT FROM staged_member s WHERE s.ordinal = m.ordinal AND s.body = m.body)";
    let begin = "-- merge: members that came to a place
        INSERT INTO attribution_member (list, ordinal, body, patient, coverage, provider, valid_from)
        SELECT $1, s.ordinal, s.body, s.patient, s.coverage, s.provider, $2 FROM staged_member s
        WHERE NOT EXISTS (
            SELECT FROM attribution_member m
            WHERE m.list = $1 AND m.ordinal = s.ordinal AND m.valid_to = 'infinity'
        )
        ORDER BY s.ordinal";
    let ended = transaction.execute(end, &[&list, &stamp]).await?;
    Ok(ended + transaction.execute(begin, &[&list, &stamp]).await?)
}

/// The same for the set of what the list names. A row that ends because only the way of naming has changed hands its
/// `listed_since` to the next.
async fn merge_listed(transaction: &Transaction<'_>, list: &str, stamp: At) -> Result<u64, Error> {
    let end = "-- merge: resources that are listed no more, or in another way
        UPDATE attribution_listed l SET valid_to = $2
        WHERE l.list = $1 AND l.valid_to = 'infinity' AND NOT EXISTS (
            SELECT FROM staged_listed s
            WHERE s.resource_type = l.resource_type AND s.id = l.id AND s.named_by = l.named_by
        )";
    let begin = "-- merge: resources that are listed from now on
        INSERT INTO attribution_listed (list, resource_type, id, named_by, listed_since, valid_from)
        SELECT $1, s.resource_type, s.id, s.named_by, coalesce(o.listed_since, $2), $2
        FROM staged_listed s
        LEFT JOIN attribution_listed o
            ON o.list = $1 AND o.resource_type = s.resource_type AND o.id = s.id AND o.valid_to = $2
        WHERE NOT EXISTS (
            SELECT FROM attribution_listed l
            WHERE l.list = $1 AND l.resource_type = s.resource_type AND l.id = s.id AND l.valid_to = 'infinity'
        )
        ORDER BY s.resource_type, s.id";
    let ended = transaction.execute(end, &[&list, &stamp]).await?;
    Ok(ended + transaction.execute(begin, &[&list, &stamp]).await?)
}

/// Counts anew what the list names. Runs begin with each head of the list, by which a plan knows that they are of this head
/// and not of one before.
async fn renew_runs(transaction: &Transaction<'_>, list: &str, stamp: At) -> Result<(), Error> {
    let begin = "-- merge: the runs begin
        INSERT INTO attribution_run (list, resource_type, through, ids, valid_from)
        SELECT $1, resource_type, max(id), count(*), $2 FROM (
            SELECT resource_type, id,
                (row_number() OVER (PARTITION BY resource_type ORDER BY id) - 1) / $3 AS run
            FROM staged_listed
        ) numbered
        GROUP BY resource_type, run";
    // Nobody plans as of long ago, and each version of a list has all of its runs anew.
    let forget = "-- merge: the runs of long ago
        DELETE FROM attribution_run WHERE list = $1 AND valid_to < $2::timestamptz - interval '2 days'";
    transaction.execute(forget, &[&list, &stamp]).await?;
    transaction.execute(END_RUNS, &[&list, &stamp]).await?;
    transaction.execute(begin, &[&list, &stamp, &RUN_IDS]).await?;
    Ok(())
}

/// Ends a list.
pub(super) async fn close(transaction: &Transaction<'_>, list: &ResourceId, stamp: At) -> Result<(), Error> {
    for close in [
        "-- close: a list
        UPDATE attribution_list SET valid_to = $2 WHERE list = $1 AND valid_to = 'infinity'",
        "-- close: the members of a list
        UPDATE attribution_member SET valid_to = $2 WHERE list = $1 AND valid_to = 'infinity'",
        "-- close: what a list names
        UPDATE attribution_listed SET valid_to = $2 WHERE list = $1 AND valid_to = 'infinity'",
        END_RUNS,
    ] {
        transaction.execute(close, &[&list.as_str(), &stamp]).await?;
    }
    Ok(())
}
