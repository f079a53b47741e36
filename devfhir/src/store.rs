//! Resources and their versions, in the order in which they were written.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::clock::{Clock, Moment};
use crate::resource::{Known, Resource};

/// Everything that is stored, and the clock that orders it.
#[derive(Default)]
pub struct Store {
    kinds: BTreeMap<String, Kind>,
    clock: Clock,
    written: u64,
}

/// The resources of one type.
#[derive(Default)]
pub struct Kind {
    records: Vec<Record>,
    by_id: BTreeMap<Arc<str>, usize>,
    /// Those that are there now, by the number of their last write: the order in which a search gives them.
    live: BTreeMap<u64, usize>,
    /// Every version of every resource, the oldest first.
    changes: Vec<Arc<Version>>,
}

/// A resource, which may be deleted.
#[derive(Default)]
pub struct Record {
    /// The oldest version first; never empty.
    history: Vec<Arc<Version>>,
    known: Known,
    /// How many versions had a text; a deletion uses up no number.
    numbers: u64,
}

/// A version, or the absence of one: a deletion.
#[derive(Debug)]
pub struct Version {
    pub kind: Arc<str>,
    pub id: Arc<str>,
    /// The number of the write among all writes.
    pub write: u64,
    pub stamp: Moment,
    pub change: Change,
}

/// How a version came to be.
#[derive(Debug)]
pub enum Change {
    Written {
        version: String,
        text: Arc<str>,
        /// Where the stamp is in the text.
        stamp: Range<usize>,
        how: Written,
    },
    Deleted,
}

/// What a write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing: the resource is new.
    New,
    /// A deletion.
    Again,
    /// Another text.
    Update,
}

impl Store {
    /// Writes all that differ from what is there, with one stamp. The last one of an id wins.
    pub fn load(&mut self, resources: Vec<Resource<'_>>, opaque_versions: bool, now: Moment) {
        let stamp = self.clock.write(now);
        let instant = stamp.instant();
        let mut last = HashMap::with_capacity(resources.len());
        for (at, resource) in resources.iter().enumerate() {
            last.insert((resource.kind.clone(), resource.id.clone()), at);
        }
        for (at, resource) in resources.into_iter().enumerate() {
            if last.get(&(resource.kind.clone(), resource.id.clone())) != Some(&at) {
                continue;
            }
            let kind = self.kinds.entry(resource.kind.clone()).or_default();
            self.written += 1;
            kind.write(resource, self.written, stamp, &instant, opaque_versions);
        }
    }

    /// Deletes those of these resources that are there, by type and id, with one stamp.
    pub fn delete(&mut self, resources: &[(&str, &str)], now: Moment) {
        let stamp = self.clock.write(now);
        for (kind, id) in resources {
            let Some(kind) = self.kinds.get_mut(*kind) else { continue };
            self.written += 1;
            kind.delete(id, self.written, stamp);
        }
    }

    /// A time to tell with what is read from this store before it changes.
    pub fn tell(&mut self, now: Moment) -> Moment {
        self.clock.tell(now)
    }

    /// The resources of a type, if there ever were any.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    /// The types that were ever loaded.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// A resource that is or was there.
    pub fn record(&self, kind: &str, id: &str) -> Option<&Record> {
        self.kind(kind)?.record(id)
    }
}

impl Kind {
    /// A resource that is or was there.
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.by_id.get(id).map(|slot| &self.records[*slot])
    }

    /// What is there, by the last write, the oldest first; only what was written after the write `after`.
    pub fn by_write(&self, after: Option<u64>) -> impl DoubleEndedIterator<Item = &Record> {
        self.live.range(after.map_or(0, |write| write + 1)..).map(|(_, slot)| &self.records[*slot])
    }

    /// What is there, by the last write, the newest first; only what was written before the write `before`.
    pub fn by_write_backwards(&self, before: Option<u64>) -> impl Iterator<Item = &Record> {
        self.live.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, slot)| &self.records[*slot])
    }

    /// What is there, by id; only ids behind `after`.
    pub fn by_id<'a>(&'a self, after: Option<&'a str>) -> impl Iterator<Item = &'a Record> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let records = self.by_id.range::<str, _>((from, Unbounded)).map(|(_, slot)| &self.records[*slot]);
        records.filter(|record| record.is_there())
    }

    /// Every version of every resource, the oldest first.
    pub fn changes(&self) -> &[Arc<Version>] {
        &self.changes
    }

    fn write(&mut self, resource: Resource<'_>, write: u64, stamp: Moment, instant: &str, opaque_versions: bool) {
        let Resource { text, kind, id, gap, known } = resource;
        let slot = self.by_id.get(id.as_str()).copied();
        let before = slot.map(|slot| self.records[slot].newest());
        if before.is_some_and(|version| version.was_loaded_as(text)) {
            return;
        }
        let (how, kind, id) = match before {
            None => (Written::New, Arc::from(kind), Arc::from(id)),
            Some(version) => {
                let deleted = matches!(version.change, Change::Deleted);
                let how = if deleted { Written::Again } else { Written::Update };
                (how, Arc::clone(&version.kind), Arc::clone(&version.id))
            }
        };
        if let Some(version) = before {
            self.live.remove(&version.write);
        }
        let slot = slot.unwrap_or_else(|| {
            self.records.push(Record::default());
            self.by_id.insert(Arc::clone(&id), self.records.len() - 1);
            self.records.len() - 1
        });
        let record = &mut self.records[slot];
        record.numbers += 1;
        let version = if opaque_versions { opaque(write) } else { record.numbers.to_string() };
        let (text, range) = gap.filled(text, &version, instant);
        let change = Change::Written { version, text: text.into(), stamp: range, how };
        let version = Arc::new(Version { kind, id, write, stamp, change });
        record.known = known;
        record.history.push(Arc::clone(&version));
        self.changes.push(version);
        self.live.insert(write, slot);
    }

    fn delete(&mut self, id: &str, write: u64, stamp: Moment) {
        let Some(slot) = self.by_id.get(id).copied() else { return };
        let record = &mut self.records[slot];
        if !record.is_there() {
            return;
        }
        let before = record.newest();
        self.live.remove(&before.write);
        let (kind, id) = (Arc::clone(&before.kind), Arc::clone(&before.id));
        let version = Arc::new(Version { kind, id, write, stamp, change: Change::Deleted });
        record.known = Known::default();
        record.history.push(Arc::clone(&version));
        self.changes.push(version);
    }
}

impl Record {
    /// What it is now.
    pub fn newest(&self) -> &Arc<Version> {
        self.history.last().expect("a record is made with its first version")
    }

    /// What can be searched for.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The oldest version first.
    pub fn history(&self) -> &[Arc<Version>] {
        &self.history
    }

    /// Whether it is not deleted.
    pub fn is_there(&self) -> bool {
        self.newest().text().is_some()
    }
}

impl Version {
    /// With its stamp; none if it is a deletion.
    pub fn text(&self) -> Option<&Arc<str>> {
        match &self.change {
            Change::Written { text, .. } => Some(text),
            Change::Deleted => None,
        }
    }

    /// `versionId`; none if it is a deletion.
    pub fn version(&self) -> Option<&str> {
        match &self.change {
            Change::Written { version, .. } => Some(version),
            Change::Deleted => None,
        }
    }

    fn was_loaded_as(&self, loaded: &str) -> bool {
        let Change::Written { text, stamp, .. } = &self.change else { return false };
        let (text, loaded) = (text.as_bytes(), loaded.as_bytes());
        text.len() == loaded.len() + stamp.len()
            && text[..stamp.start] == loaded[..stamp.start]
            && text[stamp.end..] == loaded[stamp.start..]
    }
}

/// A text that is different for each number and shows nothing of their order (the finalizer of SplitMix64).
pub fn opaque(number: u64) -> String {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::without_stamp;

    fn load(store: &mut Store, texts: &[&str]) {
        let resources = texts.iter().map(|text| Resource::read(text, "")).collect();
        store.load(resources, false, Moment::now());
    }

    fn versions(store: &Store, id: &str) -> Vec<Option<String>> {
        let record = store.record("Patient", id).expect("it was loaded");
        record.history().iter().map(|version| version.version().map(str::to_owned)).collect()
    }

    const OLD: &str = r#"{"resourceType":"Patient","id":"a"}"#;
    const NEW: &str = r#"{"resourceType":"Patient", "id":"a"}"#;

    #[test]
    fn the_same_text_is_no_new_version_and_a_deletion_uses_up_no_number() {
        let mut store = Store::default();
        load(&mut store, &[OLD]);
        load(&mut store, &[OLD]);
        load(&mut store, &[NEW]);
        store.delete(&[("Patient", "a")], Moment::now());
        store.delete(&[("Patient", "a")], Moment::now());
        store.delete(&[("Patient", "never")], Moment::now());
        store.delete(&[("Basic", "never")], Moment::now());
        load(&mut store, &[NEW]);
        assert_eq!(versions(&store, "a"), [Some("1"), Some("2"), None, Some("3")].map(|v| v.map(str::to_owned)));
        let stamps: Vec<_> = store.kind("Patient").expect("there is one").changes().iter().map(|v| v.stamp).collect();
        assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
    }

    #[test]
    fn the_last_of_an_id_wins_and_what_is_loaded_at_once_has_one_stamp() {
        let mut store = Store::default();
        load(&mut store, &[OLD, r#"{"resourceType":"Patient","id":"b"}"#, NEW]);
        assert_eq!(versions(&store, "a"), [Some("1".to_owned())]);
        let [a, b] = ["a", "b"].map(|id| store.record("Patient", id).expect("it was loaded").newest());
        assert_eq!(a.stamp, b.stamp);
        assert_eq!(without_stamp(a.text().expect("it is there")), NEW);
    }

    #[test]
    fn a_search_sees_what_is_there_by_its_last_write() {
        let mut store = Store::default();
        for id in ["c", "b", "a"] {
            load(&mut store, &[&format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)]);
        }
        load(&mut store, &[r#"{"resourceType":"Patient","id":"c","active":true}"#]);
        store.delete(&[("Patient", "b")], Moment::now());
        let kind = store.kind("Patient").expect("there are some");
        let ids =
            |records: Vec<&Record>| records.iter().map(|record| record.newest().id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(kind.by_write(None).collect()), ["a", "c"]);
        assert_eq!(ids(kind.by_write_backwards(None).collect()), ["c", "a"]);
        assert_eq!(ids(kind.by_id(None).collect()), ["a", "c"]);
        assert_eq!(ids(kind.by_id(Some("a")).collect()), ["c"]);
        assert_eq!(ids(kind.by_write(Some(3)).collect()), ["c"]);
    }
}
