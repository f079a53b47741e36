//! Writing the trail down: a line for each event, at the end of a file or on standard output.
//!
//! One task writes, so that lines never mix; what comes while it writes goes out together with the next write. Whoever
//! records an event waits until it is written. A file may be moved away at any time, as programs that rotate logs do: the
//! next event begins a new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::metrics::Metrics;
use shared::settings::{AuditStream, Settings, WrongSetting};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Event;

/// Events that wait for the write before theirs; who comes after them waits for a place.
const WAITING: usize = 1_024;

/// An event was to be recorded and could not be.
#[derive(Debug)]
pub struct Lost;

/// The trail. Dropping it ends the task that writes; nobody waits for it then.
pub struct Trail {
    writer: Option<(mpsc::Sender<Entry>, AbortOnDropHandle<()>)>,
    is_required: bool,
    patience: Duration,
    metrics: Metrics,
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
        let writer = sink.map(|sink| {
            let (sender, receiver) = mpsc::channel(WAITING);
            (sender, AbortOnDropHandle::new(tokio::spawn(write(sink, receiver))))
        });
        Ok(Self { writer, is_required, patience: Duration::from_secs(settings.call_seconds), metrics })
    }

    /// Records events together, in this order. A failure is one only where recording is required; it is logged and counted
    /// in any case. What was given up may be written all the same.
    pub async fn record(&self, base: &str, events: &[Event]) -> Result<(), Lost> {
        let Some((writer, _)) = self.writer.as_ref().filter(|_| !events.is_empty()) else { return Ok(()) };
        let lines: String = events.iter().map(|event| event.line(base) + "\n").collect();
        let is_written = timeout(self.patience, async {
            let (written, answer) = oneshot::channel();
            writer.send(Entry { lines, written }).await.is_ok() && answer.await.unwrap_or(false)
        });
        let is_written = is_written.await.unwrap_or_else(|_| {
            tracing::error!("the audit trail was not written in time");
            false
        });
        let outcome = if is_written { "recorded" } else { "lost" };
        self.metrics.audit_events.with_label_values(&[outcome]).inc_by(events.len() as u64);
        if is_written || !self.is_required { Ok(()) } else { Err(Lost) }
    }
}

async fn write(mut sink: Box<dyn Sink>, mut entries: mpsc::Receiver<Entry>) {
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
            // The process is about to end.
            Err(_) => return,
        };
        if let Err(error) = &written {
            tracing::error!(%error, events = batch.len(), "the audit trail cannot be written");
        }
        for entry in batch.drain(..) {
            // Whoever has given up waiting has said so.
            let _ = entry.written.send(written.is_ok());
        }
    }
}

/// Where lines go: all of them, or none.
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
            // A full disk takes a part of a line, and nobody can read what follows on it.
            let _ = self.file.set_len(before.len());
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

    #[test]
    fn a_full_disk_is_an_error() {
        let mut full = AuditFile::open(PathBuf::from("/dev/full"), false).expect("Linux has it");
        assert!(full.write(b"1\n").is_err());
    }
}
