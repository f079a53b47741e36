//! A list as it was at a time, or the ids of all that there was of a type: in a file of SQLite, so that it may be of any
//! length, is looked up by id, and can be handed from one worker to another as it is.
//!
//! The tables say what PostgreSQL's say (`migrations/`), but for one list and one time:
//! - `head`: the one row of the Group without its members;
//! - `member`: each member as it was written, in the order of the list;
//! - `patient`: which members have this Patient as their entity;
//! - `named`: what the list names, or what there is of a type; the way, and since when without a break;
//! - `was_named`: what it named at some time before and does not any more, and until when.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use crate::export::Slice;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Attribution, Instant, ResourceId, ResourceKey, ResourceType};
use crate::source::ListHead;

/// What a page of members holds at most, but for one that is longer by itself.
const PAGE_BYTES: usize = 8 << 20;

/// How much of a file is kept in memory, in KiB: many may be held.
const CACHE: &str = "PRAGMA cache_size = -1024; PRAGMA shrink_memory";

const DOING: &str = "failed to look something up in a list that is held";

/// The file. It has no name, so that it is gone when nobody looks into it any more, even if the process is killed.
#[derive(Debug)]
pub struct Held {
    connection: Mutex<Connection>,
    head: Option<ListHead>,
    file: File,
    bytes: u64,
}

/// An id of a slice, how the list names it, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The id.
    pub id: ResourceId,
    /// The first of the ways.
    pub by: Attribution,
    /// Since when without a break.
    pub since: Instant,
}

impl Held {
    /// Looks into a file that a builder has made somewhere.
    pub fn open(file: NamedTempFile) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file.path(), flags).map_err(|error| fault(DOING, error))?;
        Self::of(connection, file.into_file())
    }

    /// Looks into a file through the connection by which it was made.
    pub fn of(connection: Connection, file: File) -> Result<Self, Fault> {
        connection.execute_batch(CACHE).map_err(|error| fault(DOING, error))?;
        let head = connection.query_row("SELECT before, after, last_updated, members FROM head", [], |row| {
            Ok(ListHead {
                before: Bytes::from(row.get::<_, Vec<u8>>(0)?),
                after: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                last_updated: Instant::from_unix_micros(row.get(2)?),
                members: row.get::<_, i64>(3)?.unsigned_abs(),
            })
        });
        let head = head.optional().map_err(|error| fault(DOING, error))?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self { connection: Mutex::new(connection), head, file, bytes })
    }

    /// The Group without its members; `None` in a file that holds no list.
    pub fn head(&self) -> Option<&ListHead> {
        self.head.as_ref()
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A piece of the file, from a byte on; empty at its end. Several may read it at the same time.
    pub async fn piece(self: &Arc<Self>, from: u64, length: usize) -> Result<Bytes, Fault> {
        let held = Arc::clone(self);
        let reading = spawn_blocking(move || {
            let mut piece = vec![0; length];
            let read = held.file.read_at(&mut piece, from)?;
            piece.truncate(read);
            Ok::<_, std::io::Error>(Bytes::from(piece))
        });
        let unavailable = |error: std::io::Error| Fault::new(FaultKind::Unavailable, DOING).because(error);
        reading.await.map_err(|stopped| unavailable(stopped.into()))?.map_err(unavailable)
    }

    /// The members from the `from`-th on: at most `limit`, fewer when they are long.
    pub async fn members(self: &Arc<Self>, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        self.ask(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT body FROM member WHERE ordinal >= ? ORDER BY ordinal LIMIT ?")?;
            let mut rows = statement.query(params![from, limit])?;
            let (mut members, mut bytes) = (Vec::new(), 0);
            while bytes < PAGE_BYTES
                && let Some(row) = rows.next()?
            {
                let member = Bytes::from(row.get::<_, Vec<u8>>(0)?);
                bytes += member.len();
                members.push(member);
            }
            Ok(members)
        })
        .await
    }

    /// The members whose entity is one of these patients, in the order of the list.
    pub async fn members_of(self: &Arc<Self>, patients: &[ResourceId]) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        let distinct: HashSet<ResourceId> = patients.iter().cloned().collect();
        self.ask(move |connection| {
            let text = "SELECT ordinal, body FROM patient JOIN member USING (ordinal) WHERE id = ?";
            let mut statement = connection.prepare_cached(text)?;
            let mut found: Vec<(i64, ResourceId, Bytes)> = Vec::new();
            for patient in distinct {
                let mut rows = statement.query([patient.as_str()])?;
                while let Some(row) = rows.next()? {
                    found.push((row.get(0)?, patient.clone(), Bytes::from(row.get::<_, Vec<u8>>(1)?)));
                }
            }
            found.sort_unstable_by_key(|(ordinal, ..)| *ordinal);
            Ok(found.into_iter().map(|(_, patient, member)| (patient, member)).collect())
        })
        .await
    }

    /// Cuts what is named into slices of at most `size` ids; of all types, or of one.
    pub async fn cut(self: &Arc<Self>, size: u64) -> Result<Vec<Slice>, Fault> {
        self.ask(move |connection| {
            let mut statement = connection.prepare("SELECT type, id FROM named ORDER BY type, id")?;
            let mut rows = statement.query([])?;
            let mut slices: Vec<Slice> = Vec::new();
            while let Some(row) = rows.next()? {
                let (resource_type, id): (ResourceType, ResourceId) = (parsed(row, 0)?, parsed(row, 1)?);
                match slices.last_mut() {
                    Some(slice) if slice.resource_type == resource_type && slice.ids < size => {
                        slice.through = id;
                        slice.ids += 1;
                    }
                    last => {
                        let before = last.filter(|slice| slice.resource_type == resource_type);
                        let after = before.map(|slice| slice.through.clone());
                        slices.push(Slice { resource_type, after, through: id, ids: 1 });
                    }
                }
            }
            Ok(slices)
        })
        .await
    }

    /// The first ids of a slice.
    pub async fn named(self: &Arc<Self>, slice: &Slice, limit: u32) -> Result<Vec<Named>, Fault> {
        let slice = slice.clone();
        self.ask(move |connection| {
            let text = "SELECT id, way, since FROM named WHERE type = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?";
            let mut statement = connection.prepare_cached(text)?;
            let after = slice.after.as_ref().map_or("", ResourceId::as_str);
            let mut rows =
                statement.query(params![slice.resource_type.name(), after, slice.through.as_str(), limit])?;
            let mut named = Vec::new();
            while let Some(row) = rows.next()? {
                let by = Attribution::from_code(row.get(1)?).ok_or(rusqlite::Error::InvalidQuery)?;
                named.push(Named { id: parsed(row, 0)?, by, since: Instant::from_unix_micros(row.get(2)?) });
            }
            Ok(named)
        })
        .await
    }

    /// Those of some keys that the list names, each with the time since when.
    pub async fn named_among(self: &Arc<Self>, keys: &[ResourceKey]) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        let keys = keys.to_vec();
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached("SELECT since FROM named WHERE type = ? AND id = ?")?;
            let mut found = HashMap::new();
            for key in keys {
                if let Some(since) = one(&mut statement, &key)? {
                    found.insert(key, Instant::from_unix_micros(since));
                }
            }
            Ok(found)
        })
        .await
    }

    /// Those of some keys that the list named at some time after `since`.
    pub async fn named_after(
        self: &Arc<Self>,
        since: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        let keys = keys.to_vec();
        self.ask(move |connection| {
            let mut now = connection.prepare_cached("SELECT since FROM named WHERE type = ? AND id = ?")?;
            let mut before = connection.prepare_cached("SELECT until FROM was_named WHERE type = ? AND id = ?")?;
            let mut found = HashSet::new();
            for key in keys {
                let is_named = one::<i64>(&mut now, &key)?.is_some()
                    || one::<i64>(&mut before, &key)?.is_some_and(|until| until > since.unix_micros());
                if is_named {
                    found.insert(key);
                }
            }
            Ok(found)
        })
        .await
    }

    /// The files that are open.
    #[cfg(test)]
    pub fn databases(&self) -> Vec<String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = connection.prepare("SELECT name FROM pragma_database_list").expect("the statement is right");
        let names = names.query_map([], |row| row.get(0)).expect("the statement is right");
        names.collect::<rusqlite::Result<_>>().expect("names are text")
    }

    /// Asks the file on a thread where waiting for the disk holds up nobody.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let held = Arc::clone(self);
        let asking = spawn_blocking(move || {
            let connection = held.connection.lock().unwrap_or_else(PoisonError::into_inner);
            ask(&connection).map_err(|error| fault(DOING, error))
        });
        asking.await.map_err(|stopped| Fault::new(FaultKind::Unavailable, DOING).because(stopped))?
    }
}

/// The fault when SQLite fails while `doing` something. Its messages quote no rows.
pub(super) fn fault(doing: &str, error: rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => FaultKind::Busy,
        // The statements are right, so the tables are not.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) | None => FaultKind::Corrupt,
        Some(_) => FaultKind::Unavailable,
    };
    Fault::new(kind, doing).because(error)
}

/// The value of the one row that a key has.
fn one<T: FromSql>(statement: &mut rusqlite::Statement<'_>, key: &ResourceKey) -> rusqlite::Result<Option<T>> {
    statement.query_row([key.resource_type.name(), key.id.as_str()], |row| row.get(0)).optional()
}

/// A text that was written as one of these.
fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|_| rusqlite::Error::InvalidQuery)
}
