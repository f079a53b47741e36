//! `atr load`: FHIR files into PostgreSQL.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use shared::fhir::{OwnBases, Resource};
use shared::source::files::{self, Found};
use shared::source::postgres::{LoadedCounts, Loader};
use tokio::sync::mpsc;

use crate::arguments::LoadArguments;
use crate::progress::Resources;

/// What one transaction takes: enough to make a set-based merge worth it, little enough to hold.
const BATCH_RESOURCES: usize = 10_000;
const BATCH_BYTES: usize = 32 << 20;
/// Exit code when all was loaded but lines that cannot be read.
const BAD_LINES: u8 = 2;

/// What the reading thread has to tell.
enum Read {
    Batch { resources: Vec<Resource>, bytes_read: u64 },
    Bad(String),
}

/// What became of the files.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Resources that could be read.
    pub counts: LoadedCounts,
    /// Lines that could not, and were left out.
    pub bad_lines: u64,
}

/// Loads what the arguments name, and says what became of it.
pub(crate) async fn load(arguments: LoadArguments) -> anyhow::Result<ExitCode> {
    let Loaded { counts, bad_lines } = files(&arguments.source, &arguments.own_urls, arguments.paths).await?;
    let LoadedCounts { new, changed, unchanged } = counts;
    writeln!(std::io::stdout(), "{new} new, {changed} changed, {unchanged} unchanged, {bad_lines} left out").ok();
    Ok(if bad_lines == 0 { ExitCode::SUCCESS } else { ExitCode::from(BAD_LINES) })
}

/// Loads files and folders into the source at a URL, which knows itself by `own_urls` too; reports each bad line with its
/// place on standard error, and loads the rest.
pub async fn files(source_url: &str, own_urls: &[String], paths: Vec<PathBuf>) -> anyhow::Result<Loaded> {
    let mut loader = Loader::connect(source_url, OwnBases::new(own_urls)).await?;
    let reader = tokio::task::spawn_blocking(move || files::read(&paths)).await??;
    let mut progress = Resources::begin("loading", reader.total_bytes());
    // One batch is read while another is loaded; more would only fill memory.
    let (send, mut receive) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || read(reader, &send));

    let mut counts = LoadedCounts::default();
    let mut bad_lines = 0_u64;
    while let Some(read) = receive.recv().await {
        match read {
            Read::Batch { resources, bytes_read } => {
                counts += loader.load(&resources).await?;
                progress.reached(bytes_read, counts.total());
            }
            Read::Bad(line) => {
                bad_lines += 1;
                progress.say(&line);
            }
        }
    }
    reading.await.context("reading the files broke off")??;
    loader.analyze().await?;
    progress.end();
    Ok(Loaded { counts, bad_lines })
}

/// Reads on until the files end or nobody listens any more, because the load has failed.
fn read(mut reader: files::Reader, send: &mpsc::Sender<Read>) -> anyhow::Result<()> {
    let (mut resources, mut bytes) = (Vec::new(), 0);
    while let Some(found) = reader.next() {
        match found? {
            Found::Resource(resource) => {
                bytes += resource.body.len();
                resources.push(resource);
            }
            Found::Bad(bad) => {
                if send.blocking_send(Read::Bad(bad.to_string())).is_err() {
                    return Ok(());
                }
            }
        }
        if resources.len() >= BATCH_RESOURCES || bytes >= BATCH_BYTES {
            let batch = Read::Batch { resources: std::mem::take(&mut resources), bytes_read: reader.bytes_read() };
            bytes = 0;
            if send.blocking_send(batch).is_err() {
                return Ok(());
            }
        }
    }
    let bytes_read = reader.bytes_read();
    // Nobody listens only after a failure, which has its own report.
    let _ = send.blocking_send(Read::Batch { resources, bytes_read });
    Ok(())
}
