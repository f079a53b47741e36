//! Making the file of a list or of a type ([`Held`]), out of what arrives from the server piece by piece.
//!
//! A list may come in several versions: which of them is the one as of a time is known only behind its members, because
//! `meta` may stand at its end. So all are taken in, and sorted out at the end; as a rule there is one.

use std::cmp::Reverse;
use std::fs::File;

use bytes::Bytes;
use rusqlite::{Connection, params};
use tempfile::NamedTempFile;

use super::held::{Held, fault};
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Attribution, Instant, Member, OwnBases, Reference, ResourceKey, ResourceType, Target, json};

const DOING: &str = "failed to write a list to the disk";

/// The tables of the file, and in another one what is known of each version that has come: that one goes when the file is
/// finished, with all its room. Nothing of a file that is not finished is of use, so nothing is done to save it.
const TABLES: &str = "
    PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF; PRAGMA main.cache_size = -8192;
    PRAGMA come.journal_mode = OFF; PRAGMA come.synchronous = OFF; PRAGMA temp_store = FILE;
    CREATE TABLE head (before BLOB, after BLOB, last_updated INTEGER, members INTEGER);
    CREATE TABLE member (ordinal INTEGER PRIMARY KEY, body BLOB);
    CREATE TABLE patient (id TEXT, ordinal INTEGER, PRIMARY KEY (id, ordinal)) WITHOUT ROWID;
    CREATE TABLE named (type TEXT, id TEXT, way INTEGER, since INTEGER, PRIMARY KEY (type, id)) WITHOUT ROWID;
    CREATE TABLE was_named (type TEXT, id TEXT, until INTEGER, PRIMARY KEY (type, id)) WITHOUT ROWID;
    CREATE TABLE come.reference (version INTEGER, type TEXT, id TEXT, way INTEGER, ordinal INTEGER);
    BEGIN";

const MEMBER: &str = "INSERT INTO member VALUES (?, ?)";
const REFERENCE: &str = "INSERT INTO come.reference VALUES (?, ?, ?, ?, ?)";
const NAMED: &str = "INSERT OR IGNORE INTO named VALUES (?, ?, 0, 0)";

const COME_NAMES: &str = "
    CREATE TABLE come.name (version INTEGER, type TEXT, id TEXT, way INTEGER, PRIMARY KEY (version, type, id))
        WITHOUT ROWID;
    INSERT INTO come.name SELECT version, type, id, min(way) FROM come.reference
        GROUP BY version, type, id ORDER BY version, type, id";

/// From the names of one version to those of the next: who is not named any more, until the time of the next one;
const LEAVE: &str = "INSERT OR REPLACE INTO was_named SELECT type, id, ?2 FROM named n WHERE NOT EXISTS
    (SELECT 1 FROM come.name c WHERE c.version = ?1 AND c.type = n.type AND c.id = n.id)";
const LEFT: &str = "DELETE FROM named WHERE NOT EXISTS
    (SELECT 1 FROM come.name c WHERE c.version = ?1 AND c.type = named.type AND c.id = named.id)";
/// who is named still keeps the time since when, and who is new gets that of the version.
const JOIN: &str = "INSERT INTO named SELECT type, id, way, ?2 FROM come.name WHERE version = ?1
    ON CONFLICT (type, id) DO UPDATE SET way = excluded.way";

/// A version of a list, once all of it has come.
#[derive(Clone, Debug)]
pub struct Come {
    /// When it came to be.
    pub from: Instant,
    /// Its place (see [`Builder::place`]) and the Group without its members; `None` when this is its deletion.
    pub group: Option<(usize, Bytes)>,
}

/// A file that is being made.
pub struct Builder {
    file: File,
    connection: Connection,
    versions: Vec<Come>,
    /// The number of the first member of each version.
    places: Vec<i64>,
    /// How many members have come, of all versions.
    members: i64,
}

impl Builder {
    /// Begins a file, in the folder for temporary files.
    pub fn begin() -> Result<Self, Fault> {
        let named = || {
            let named = NamedTempFile::with_prefix("atr-held-");
            named.map_err(|error| Fault::new(FaultKind::Unavailable, DOING).because(error))
        };
        let (named, come) = (named()?, named()?);
        let begun = || {
            let connection = Connection::open(named.path())?;
            connection.execute("ATTACH ?1 AS come", [come.path().to_string_lossy()])?;
            connection.set_prepared_statement_cache_capacity(16);
            connection.execute_batch(TABLES)?;
            Ok(connection)
        };
        let connection = begun().map_err(|error| fault(DOING, error))?;
        // From here on they have no names.
        let file = named.into_file();
        Ok(Self { file, connection, versions: Vec::new(), places: Vec::new(), members: 0 })
    }

    /// Begins a version: the members that come now are its members. Answers its place, counted from 0.
    pub fn place(&mut self) -> usize {
        self.places.push(self.members);
        self.places.len() - 1
    }

    /// How many versions have begun.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Takes the next member of the version that began last.
    pub fn member(&mut self, list: &ResourceKey, text: &[u8], own: &OwnBases) -> Result<(), Fault> {
        self.take_member(list, text, own).map_err(|error| fault(DOING, error))
    }

    fn take_member(&mut self, list: &ResourceKey, text: &[u8], own: &OwnBases) -> rusqlite::Result<()> {
        let place = place_number(self.places.len().saturating_sub(1));
        let ordinal = self.members;
        self.members += 1;
        let text = String::from_utf8_lossy(text);
        let line = json::one_line(&text);
        self.connection.prepare_cached(MEMBER)?.execute(params![ordinal, line.as_bytes()])?;
        // One that cannot be read names nobody, and is reported by the task that writes the list.
        let Ok(member) = Member::read(&line) else { return Ok(()) };
        let mut statement = self.connection.prepare_cached(REFERENCE)?;
        for (way, key) in member.references.iter().filter_map(|(way, reference)| local(*way, reference, own)) {
            // The list itself is in none of its slices, but a reference to it may stand in any member.
            if key != *list {
                statement.execute(params![place, key.resource_type.name(), key.id.as_str(), way.code(), ordinal])?;
            }
        }
        Ok(())
    }

    /// Tells of a version.
    pub fn version(&mut self, come: Come) {
        self.versions.push(come);
    }

    /// The time of the oldest version that was told of.
    pub fn oldest(&self) -> Option<Instant> {
        self.versions.iter().map(|version| version.from).min()
    }

    /// Takes an id of a type. Answers whether it is a new one.
    pub fn id(&mut self, key: &ResourceKey) -> Result<bool, Fault> {
        let insert = || {
            let mut statement = self.connection.prepare_cached(NAMED)?;
            statement.execute([key.resource_type.name(), key.id.as_str()])
        };
        insert().map(|rows| rows > 0).map_err(|error| fault(DOING, error))
    }

    /// Ends a file of ids.
    pub fn finish(self) -> Result<Held, Fault> {
        // What is prepared would keep the other file open.
        self.connection.flush_prepared_statement_cache();
        self.connection.execute_batch("COMMIT; DETACH come").map_err(|error| fault(DOING, error))?;
        Held::of(self.connection, self.file)
    }

    /// Ends a file of a list: its newest version at or before `as_of`, with what it named since `since`. Without a head when it
    /// was deleted by then; `None` when it had not come to be.
    pub fn finish_list(mut self, as_of: Instant, since: Option<Instant>) -> Result<Option<Held>, Fault> {
        // The newest first; of those of one time the one that came first.
        self.versions.sort_by_key(|version| Reverse(version.from));
        let Some(chosen) = self.versions.iter().position(|version| version.from <= as_of) else { return Ok(None) };
        if let Some((place, text)) = &self.versions[chosen].group {
            let unreadable = |why: String| Fault::new(FaultKind::Corrupt, "failed to read a list").because(why);
            let text = std::str::from_utf8(text).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
            let opened = json::open_group(text).map_err(|error| unreadable(json::reason(&error)))?;
            if !opened.members.is_empty() {
                return Err(unreadable("its members could not be taken out of it".to_owned()));
            }
            let from = self.versions[chosen].from;
            self.write_list(*place, from, opened.before, opened.after).map_err(|error| fault(DOING, error))?;
        }
        self.write_names(chosen, since).map_err(|error| fault(DOING, error))?;
        self.finish().map(Some)
    }

    /// The head of the version at a place, and its members alone.
    fn write_list(&self, place: usize, from: Instant, before: &str, after: &str) -> rusqlite::Result<()> {
        let connection = &self.connection;
        let first = self.places[place];
        let end = self.places.get(place + 1).copied().unwrap_or(self.members);
        if self.places.len() > 1 {
            connection.execute("DELETE FROM member WHERE ordinal < ?1 OR ordinal >= ?2", [first, end])?;
            connection.execute("UPDATE member SET ordinal = ordinal - ?1 WHERE ?1 > 0", [first])?;
        }
        connection.execute(
            "INSERT OR IGNORE INTO patient SELECT id, ordinal - ?4 FROM come.reference
             WHERE version = ?1 AND type = ?2 AND way = ?3 ORDER BY id, ordinal",
            params![place_number(place), ResourceType::PATIENT.name(), Attribution::Entity.code(), first],
        )?;
        connection.execute(
            "INSERT INTO head VALUES (?1, ?2, ?3, ?4)",
            params![before.as_bytes(), after.as_bytes(), from.unix_micros(), end - first],
        )?;
        Ok(())
    }

    /// What the list names, and what it named since `since`: from the version that there was then on, the oldest first.
    fn write_names(&self, chosen: usize, since: Option<Instant>) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.execute_batch(COME_NAMES)?;
        let oldest = since.map_or(chosen, |since| {
            let known = self.versions.iter().position(|version| version.from <= since);
            known.unwrap_or(self.versions.len() - 1).max(chosen)
        });
        for Come { from, group } in self.versions[chosen..=oldest].iter().rev() {
            // A deletion names nobody.
            let place = group.as_ref().map(|(place, _)| place_number(*place));
            connection.execute(LEAVE, params![place, from.unix_micros()])?;
            connection.execute(LEFT, [place])?;
            connection.execute(JOIN, params![place, from.unix_micros()])?;
        }
        Ok(())
    }
}

fn place_number(place: usize) -> i64 {
    i64::try_from(place).expect("a disk has no room for so many versions")
}

/// The resource of this server that a reference leads to. Others are in no slice: they are reported by the export.
fn local(way: Attribution, reference: &Reference<'_>, own: &OwnBases) -> Option<(Attribution, ResourceKey)> {
    match reference.target(own) {
        Ok(Target::Local(key)) => Some((way, key)),
        Ok(Target::Contained) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn list() -> ResourceKey {
        ResourceKey::new(ResourceType::GROUP, "g".parse().expect("it is an id"))
    }

    fn at(second: i64) -> Instant {
        Instant::from_unix_millis(second * 1_000)
    }

    /// A file of versions, the newest first: when each came to be, and its Patients; none for a deletion.
    fn built(versions: &[(i64, Option<&[&str]>)]) -> Builder {
        let mut builder = Builder::begin().expect("there is room for a file");
        for (from, patients) in versions {
            let group = patients.map(|patients| {
                let place = builder.place();
                for patient in patients {
                    let member = format!(r#"{{"entity":{{"reference":"Patient/{patient}"}}}}"#);
                    builder.member(&list(), member.as_bytes(), &OwnBases::default()).expect("there is room for it");
                }
                (place, Bytes::from_static(br#"{"resourceType":"Group","id":"g","member":[]}"#))
            });
            builder.version(Come { from: at(*from), group });
        }
        builder
    }

    async fn named(held: &Arc<Held>) -> Vec<(String, i64)> {
        let slice = held.cut(100).await.expect("it can be read").remove(0);
        let named = held.named(&slice, 100).await.expect("it can be read");
        named.into_iter().map(|named| (named.id.to_string(), named.since.unix_millis() / 1_000)).collect()
    }

    #[tokio::test]
    async fn the_version_as_of_a_time_is_chosen_and_says_since_when_it_names_whom() {
        let versions: &[(i64, Option<&[&str]>)] =
            &[(4, Some(&["x"])), (3, Some(&["a", "c", "b"])), (2, Some(&["b"])), (1, Some(&["a", "b"]))];
        let held = built(versions).finish_list(at(3), Some(at(1))).expect("it can be written").expect("it was there");
        let held = Arc::new(held);
        assert_eq!(held.head().map(|head| (head.members, head.last_updated)), Some((3, at(3))));
        let expected = [("a", 3), ("b", 1), ("c", 3)].map(|(id, since)| (id.to_owned(), since));
        assert_eq!(named(&held).await, expected, "who left and came back has not been there without a break");
        let second = held.members(1, 1).await.expect("it can be read");
        assert_eq!(second, [r#"{"entity":{"reference":"Patient/c"}}"#]);
    }

    #[test]
    fn a_list_that_had_not_come_to_be_is_none_and_one_that_was_deleted_has_no_head() {
        let versions: &[(i64, Option<&[&str]>)] = &[(3, None), (2, Some(&["a"]))];
        assert!(built(versions).finish_list(at(1), None).expect("it can be written").is_none());
        let deleted = built(versions).finish_list(at(3), Some(at(2))).expect("it can be written");
        assert!(deleted.is_some_and(|held| held.head().is_none()));
    }

    #[test]
    fn a_file_that_is_finished_has_nothing_else_open() {
        let held = built(&[(1, Some(&["a"]))]).finish_list(at(1), None).expect("it can be written");
        assert_eq!(held.expect("it was there").databases(), ["main"]);
    }
}
