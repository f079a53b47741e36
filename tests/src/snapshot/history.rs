//! What happened in a run: who wrote what, what each export answered, and what the database has kept of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::past::Past;
use crate::oracle::Resources;

/// A transaction. `invoked` and `returned` are places in the one order of all calls and returns of the run: all of its
/// clients are in this process. Times are in microseconds since 1970 by the clock of the database.
#[derive(Clone, Debug, Serialize)]
pub struct Write {
    /// Who wrote.
    pub who: String,
    /// Before the transaction began.
    pub invoked: u64,
    /// When it was acknowledged, or was known to be rolled back.
    pub returned: u64,
    /// Whether it was committed.
    pub committed: bool,
    /// The earliest and the latest that its stamp can be.
    pub stamp: (i64, i64),
    /// What it wrote, by `Type/id`; `None` where it deleted.
    pub wrote: Vec<(String, Option<String>)>,
}

/// A finished export.
#[derive(Clone, Debug, Serialize)]
pub struct Export {
    /// Whose client asked. Exports of one client of which each has the transaction time of the one before as its `since`
    /// are a chain.
    pub who: String,
    /// Before the kick-off was sent.
    pub invoked: u64,
    /// When the last file had been read.
    pub returned: u64,
    /// `_since`.
    pub since: Option<i64>,
    /// `transactionTime`.
    pub transaction_time: i64,
    /// The lines of `output`.
    pub output: Resources,
    /// The `Type/id` that `deleted` deletes.
    pub deleted: BTreeSet<String>,
    /// The `Type/id` that `error` says are missing.
    pub missing: BTreeSet<String>,
    /// The references that it says lead nowhere.
    pub unresolvable: BTreeSet<String>,
}

/// All that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// In the order in which they returned.
    pub writes: Vec<Write>,
    /// In the order in which they returned.
    pub exports: Vec<Export>,
    /// What the database knows, after all is quiet.
    pub past: Past,
}

/// The record that the clients of a run keep together.
#[derive(Debug, Default)]
pub struct History {
    ticks: AtomicU64,
    events: Mutex<Events>,
}

impl History {
    /// The next place in the order of calls and returns.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// What is known so far.
    pub fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that is known into a file under `target/histories`, a line of JSON for each thing, and says where.
    pub fn save(&self, seed: u64) -> PathBuf {
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Line<'a> {
            Write(&'a Write),
            Export(&'a Export),
            Past(&'a Past),
        }
        let events = self.events();
        let lines = events.writes.iter().map(Line::Write).chain(events.exports.iter().map(Line::Export));
        let lines = lines.chain(std::iter::once(Line::Past(&events.past)));
        let text: Vec<String> =
            lines.map(|line| serde_json::to_string(&line).expect("it has nothing but texts and numbers")).collect();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
        let folder = target.join("histories");
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        let path = folder.join(format!("snapshot-{seed}-{}.jsonl", uuid::Uuid::new_v4().simple()));
        fs::write(&path, text.join("\n") + "\n").expect("the target folder can be written to");
        path
    }
}
