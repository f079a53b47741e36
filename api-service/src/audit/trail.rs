//! Writing the trail down: a line for each event, at the end of a file or on standard output.
//!
//! One task writes, so that lines never mix; what comes while it writes goes out together with the next write. Whoever
//! records an event waits until it is written. A file may be moved away at any time, as programs that rotate logs do: the
//! next event begins a new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::metrics::Metrics;
use shared::settings::{AuditStream, Settings, WrongSetting};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Event;

/// Events that wait for the write before theirs; who comes after them waits for a place.
const WAITING: usize = 1_024;

/// How long a request waits for an event that is not required.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// An event was to be recorded and could not be.
#[derive(Debug)]
pub struct Lost;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is written.
    Recorded,
    /// It was not written in time, and may still be.
    Late,
    /// It will not be written.
    Lost,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Late => "late",
            Self::Lost => "lost",
        }
    }
}

/// The trail. Dropping it ends the task that writes; nobody waits for it then.
pub struct Trail {
    writer: Option<Writer>,
    is_required: bool,
    patience: Duration,
    metrics: Metrics,
}

/// The way to the task that writes.
struct Writer {
    entries: mpsc::Sender<Entry>,
    /// Whether an event was not written in time, and none has been since. Nobody waits then who need not.
    is_stalled: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

/// Lines to write, and who waits for that.
struct Entry {
    lines: String,
    written: oneshot::Sender<bool>,
}

impl Trail {
    /// Opens the trail of the settings. Fails when its file cannot be written to.
    pub fn open(settings: &Settings, metrics: Metrics) -> Result<Self, WrongSetting> {
        let is_required = settings.audit_required;
        let sink: Option<Box<dyn Sink>> = match settings.audit_stream()? {
            AuditStream::None => None,
            AuditStream::Stdout => Some(Box::new(Stdout)),
            AuditStream::File(path) => {
                let file = AuditFile::open(path, is_required).map_err(|error| WrongSetting::of("audit", error))?;
                Some(Box::new(file))
            }
        };
        let writer = sink.map(Writer::start);
        let patience = if is_required { Duration::from_secs(settings.call_seconds) } else { SHORT_PATIENCE };
        Ok(Self { writer, is_required, patience, metrics })
    }

    /// Records events together, in this order. What is not written in time is logged and counted, and a failure where
    /// recording is required.
    pub async fn record(&self, base: &str, events: &[Event]) -> Result<(), Lost> {
        let Some(writer) = self.writer.as_ref().filter(|_| !events.is_empty()) else { return Ok(()) };
        let lines: String = events.iter().map(|event| event.line(base) + "\n").collect();
        let outcome = writer.write(lines, self.is_required, self.patience).await;
        self.metrics.audit_events.with_label_values(&[outcome.name()]).inc_by(events.len() as u64);
        if outcome == Outcome::Recorded {
            return Ok(());
        }
        tracing::error!(events = events.len(), outcome = outcome.name(), "events of the audit trail are not written");
        if self.is_required { Err(Lost) } else { Ok(()) }
    }
}

impl Writer {
    fn start(sink: Box<dyn Sink>) -> Self {
        let (entries, receiver) = mpsc::channel(WAITING);
        let is_stalled = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(write(sink, receiver, Arc::clone(&is_stalled)));
        Self { entries, is_stalled, _task: AbortOnDropHandle::new(task) }
    }

    /// Has lines written. Waits no longer than `patience`, and not at all when that is known to be in vain and not required.
    async fn write(&self, lines: String, is_required: bool, patience: Duration) -> Outcome {
        let (written, answer) = oneshot::channel();
        let entry = Entry { lines, written };
        if !is_required && self.is_stalled.load(Ordering::Relaxed) {
            return if self.entries.try_send(entry).is_ok() { Outcome::Late } else { Outcome::Lost };
        }
        let writing = async { self.entries.send(entry).await.is_ok() && answer.await.unwrap_or(false) };
        match timeout(patience, writing).await {
            Ok(true) => Outcome::Recorded,
            Ok(false) => Outcome::Lost,
            Err(_) => {
                self.is_stalled.store(true, Ordering::Relaxed);
                Outcome::Late
            }
        }
    }
}

async fn write(mut sink: Box<dyn Sink>, mut entries: mpsc::Receiver<Entry>, is_stalled: Arc<AtomicBool>) {
    let mut batch = Vec::new();
    while entries.recv_many(&mut batch, WAITING).await > 0 {
        let lines: String = batch.iter().map(|entry| entry.lines.as_str()).collect();
        let writing = tokio::task::spawn_blocking(move || {
            let written = sink.write(lines.as_bytes());
            (sink, written)
        });
        let written = match writing.await {
            Ok((same, written)) => {
                sink = same;
                written
            }
            Err(error) => {
                tracing::error!(%error, "the writer of the audit trail has ended");
                return;
            }
        };
        match &written {
            Ok(()) => is_stalled.store(false, Ordering::Relaxed),
            Err(error) => tracing::error!(%error, events = batch.len(), "the audit trail cannot be written"),
        }
        for entry in batch.drain(..) {
            // Whoever has given up waiting has said so.
            let _ = entry.written.send(written.is_ok());
        }
    }
}

/// Where lines go; a file takes all of them or none.
trait Sink: Send {
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(lines)?;
        out.flush()
    }
}

struct AuditFile {
    path: PathBuf,
    file: File,
    /// Whether what is written has to survive the end of the machine.
    is_durable: bool,
}

impl AuditFile {
    fn open(path: PathBuf, is_durable: bool) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self { path, file, is_durable })
    }
}

/// Opens a file for appending whole lines, and ends a line that was broken off.
fn append_to(path: &Path) -> io::Result<File> {
    let describe = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path).map_err(describe)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(describe)?;
        if last != *b"\n" {
            file.write_all(b"\n").map_err(describe)?;
        }
    }
    Ok(file)
}

impl Sink for AuditFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let opened = self.file.metadata()?;
        let is_there = |there: std::fs::Metadata| (there.dev(), there.ino()) == (opened.dev(), opened.ino());
        if !std::fs::metadata(&self.path).is_ok_and(is_there) {
            self.file = append_to(&self.path)?;
        }
        let before = self.file.metadata()?;
        let written =
            self.file.write_all(lines).and_then(|()| if self.is_durable { self.file.sync_data() } else { Ok(()) });
        if written.is_err() && before.is_file() {
            // A full disk takes a part of a line, and nobody can read what follows on it. What is longer than that, somebody
            // else has written too.
            let longest = before.len() + lines.len() as u64;
            if self.file.metadata().is_ok_and(|after| after.len() <= longest) {
                let _ = self.file.set_len(before.len());
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).expect("it is there").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let (path, moved) = (folder.path().join("audit.ndjson"), folder.path().join("audit.ndjson.1"));
        let mut file = AuditFile::open(path.clone(), true).expect("it can be made");
        file.write(b"1\n").expect("it can be written to");
        std::fs::rename(&path, &moved).expect("it is there");
        file.write(b"2\n3\n").expect("a new one can be made");
        std::fs::remove_file(&path).expect("it is there");
        file.write(b"4\n").expect("a new one can be made");
        assert_eq!((lines(&moved), lines(&path)), (vec!["1".to_owned()], vec!["4".to_owned()]));
    }

    #[test]
    fn a_line_that_was_broken_off_is_ended_before_the_next() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let path = folder.path().join("audit.ndjson");
        std::fs::write(&path, "whole\nbro").expect("it can be written");
        let mut file = AuditFile::open(path.clone(), false).expect("it can be opened");
        file.write(b"next\n").expect("it can be written to");
        assert_eq!(lines(&path), ["whole", "bro", "next"]);
    }

    /// Takes lines when the gate is open, and tells how many it has taken.
    struct Gate {
        gate: std::sync::mpsc::Receiver<()>,
        taken: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Sink for Gate {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            self.gate.recv().map_err(io::Error::other)?;
            self.taken.fetch_add(String::from_utf8_lossy(lines).lines().count(), Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_sink_that_hangs_who_need_not_and_its_lines_are_written_when_it_goes_on() {
        let (open, gate) = std::sync::mpsc::channel();
        let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let writer = Writer::start(Box::new(Gate { gate, taken: Arc::clone(&taken) }));
        let soon = Duration::from_millis(5);
        assert_eq!(writer.write("1\n".to_owned(), false, soon).await, Outcome::Late);
        // These would wait for an hour.
        for _ in 0..3 {
            assert_eq!(writer.write("2\n".to_owned(), false, Duration::from_hours(1)).await, Outcome::Late);
        }
        assert_eq!(writer.write("3\n".to_owned(), true, soon).await, Outcome::Late, "it is tried all the same");
        for _ in 0..10 {
            open.send(()).expect("the sink is there");
        }
        while taken.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(soon).await;
        }
        while writer.is_stalled.load(Ordering::Relaxed) {
            tokio::time::sleep(soon).await;
        }
        assert_eq!(writer.write("4\n".to_owned(), false, Duration::from_hours(1)).await, Outcome::Recorded);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut full = AuditFile::open(PathBuf::from("/dev/full"), false).expect("Linux has it");
        assert!(full.write(b"1\n").is_err());
    }
}
