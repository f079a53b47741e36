//! What the database says there was, read straight from its tables when all is quiet, and the state at a time made of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio_postgres::Client;

use crate::harness::random::OWN_BASE;
use crate::oracle::{Resources, named};

/// A time that never comes.
pub const NEVER: i64 = i64::MAX;

/// A version of a resource that is no Group. Times are in microseconds since 1970; a thing holds from `from` until before
/// `to`.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    pub key: String,
    pub number: i64,
    pub from: i64,
    pub to: i64,
    /// Whether it was deleted then, and not changed.
    pub deleted: bool,
    pub body: String,
}

/// A head of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    pub from: i64,
    pub to: i64,
    pub before: String,
    pub after: String,
}

/// A member at its place in the list.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub ordinal: i64,
    pub from: i64,
    pub to: i64,
    pub body: String,
}

/// All that there ever was; each kind in the order of its times.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Past {
    pub versions: Vec<Version>,
    pub heads: Vec<Head>,
    pub members: Vec<Member>,
}

/// What there was at a time.
#[derive(Debug, Default)]
pub struct State {
    /// The resources, with the Group and its members.
    pub lines: Resources,
    /// Since when each of them has been as it is.
    pub changed: BTreeMap<String, i64>,
    /// Since when the list has named each thing without a break.
    pub listed: BTreeMap<String, i64>,
}

impl Past {
    /// Reads all of the schema in which the client is, which has the list `g` and no other.
    pub async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let micros = |column: &str| {
            format!(
                "CASE WHEN {column} = 'infinity' THEN {NEVER} ELSE (extract(epoch FROM {column}) * 1000000)::bigint END"
            )
        };
        let versions = format!(
            "SELECT resource_type || '/' || id, version, {from}, {NEVER}, false, body FROM resource
             WHERE resource_type <> 'Group'
             UNION ALL
             SELECT resource_type || '/' || id, version, {from}, {to}, deleted_at IS NOT NULL, body FROM resource_history
             WHERE resource_type <> 'Group'
             ORDER BY 1, 2",
            from = micros("last_updated"),
            to = micros("superseded_at"),
        );
        let (from, to) = (micros("valid_from"), micros("valid_to"));
        let heads = format!("SELECT {from}, {to}, before, after FROM attribution_list ORDER BY 1");
        let members = format!("SELECT ordinal, {from}, {to}, body FROM attribution_member ORDER BY 2, 1");
        let (versions, heads, members) =
            (client.query(&versions, &[]).await?, client.query(&heads, &[]).await?, client.query(&members, &[]).await?);
        let version = |row: &tokio_postgres::Row| Version {
            key: row.get(0),
            number: row.get(1),
            from: row.get(2),
            to: row.get(3),
            deleted: row.get(4),
            body: row.get(5),
        };
        let head = |row: &tokio_postgres::Row| Head {
            from: row.get(0),
            to: row.get(1),
            before: row.get(2),
            after: row.get(3),
        };
        let member = |row: &tokio_postgres::Row| Member {
            ordinal: row.get(0),
            from: row.get(1),
            to: row.get(2),
            body: row.get(3),
        };
        Ok(Self {
            versions: versions.iter().map(version).collect(),
            heads: heads.iter().map(head).collect(),
            members: members.iter().map(member).collect(),
        })
    }

    /// The Group as a head began it.
    pub fn group(&self, head: &Head) -> String {
        let mut members: Vec<&Member> =
            self.members.iter().filter(|member| member.from <= head.from && head.from < member.to).collect();
        members.sort_by_key(|member| member.ordinal);
        let members: Vec<&str> = members.iter().map(|member| member.body.as_str()).collect();
        format!("{}{}{}", head.before, members.join(","), head.after)
    }

    /// What there was at a time.
    pub fn at(&self, time: i64) -> State {
        let mut state = State::default();
        for version in self.versions.iter().filter(|version| version.from <= time && time < version.to) {
            state.lines.insert(version.key.clone(), version.body.clone());
            state.changed.insert(version.key.clone(), version.from);
        }
        for head in self.heads.iter().filter(|head| head.from <= time) {
            let group = self.group(head);
            let names: BTreeSet<String> = named(&group, &[OWN_BASE]);
            state.listed.retain(|key, _| names.contains(key));
            for key in names {
                state.listed.entry(key).or_insert(head.from);
            }
            if time < head.to {
                state.lines.insert("Group/g".to_owned(), group);
                state.changed.insert("Group/g".to_owned(), head.from);
            }
        }
        state
    }

    /// What the list named at any time after `since` and up to `until`, or at `since`.
    pub fn named(&self, since: i64, until: i64) -> BTreeSet<String> {
        let heads = self.heads.iter().filter(|head| head.from <= until && since < head.to);
        heads.flat_map(|head| named(&self.group(head), &[OWN_BASE])).collect()
    }

    /// What was deleted in the time after `since` and up to `until`.
    pub fn deleted(&self, since: i64, until: i64) -> BTreeSet<&str> {
        let deleted = self.versions.iter().filter(|version| version.deleted);
        deleted
            .filter(|version| since < version.to && version.to <= until)
            .map(|version| version.key.as_str())
            .collect()
    }
}
