//! One file on its way to the store: its lines are counted, its text is hashed, and compressed when the client wants that.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use shared::export::{Encoding, Output, OutputKey, OutputKind};
use shared::fault::{Fault, FaultKind};
use shared::outputs::OutputWriter;

/// Lines are gathered to pieces of about this size: to hash, compress and hand on each by itself costs more than the copy.
const PIECE_BYTES: usize = 64 << 10;

/// A file that is being written. Call `finish` or `abort`.
pub struct OpenFile {
    key: OutputKey,
    kind: OutputKind,
    writer: Box<dyn OutputWriter>,
    /// The fastest level: lines of FHIR shrink to a tenth with it, and little more with the others.
    gzip: Option<GzEncoder<Vec<u8>>>,
    sha256: Sha256,
    /// What has been written and not handed on yet.
    gathered: Vec<u8>,
    lines: u64,
    bytes: u64,
}

impl OpenFile {
    pub fn new(key: OutputKey, kind: OutputKind, encoding: Encoding, writer: Box<dyn OutputWriter>) -> Self {
        let gzip = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(GzEncoder::new(Vec::with_capacity(PIECE_BYTES), Compression::fast())),
        };
        Self { key, kind, writer, gzip, sha256: Sha256::new(), gathered: Vec::new(), lines: 0, bytes: 0 }
    }

    pub fn key(&self) -> &OutputKey {
        &self.key
    }

    /// The length of its text so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes += bytes.len() as u64;
        // A line may be of any length, and is in memory once already.
        for bytes in bytes.chunks(PIECE_BYTES) {
            self.gathered.extend_from_slice(bytes);
            if self.gathered.len() >= PIECE_BYTES {
                self.hand_on().await?;
            }
        }
        Ok(())
    }

    /// Hands on what has been gathered. If it is called off in the middle, neither the file nor its writer is of any use.
    async fn hand_on(&mut self) -> Result<(), Fault> {
        self.sha256.update(&self.gathered);
        match &mut self.gzip {
            None => self.writer.write(&self.gathered).await?,
            Some(gzip) => {
                gzip.write_all(&self.gathered).map_err(compression_failed)?;
                if gzip.get_ref().len() >= PIECE_BYTES {
                    let piece = std::mem::replace(gzip.get_mut(), Vec::with_capacity(PIECE_BYTES));
                    self.writer.write(&piece).await?;
                }
            }
        }
        self.gathered.clear();
        Ok(())
    }

    pub async fn end_line(&mut self) -> Result<(), Fault> {
        self.lines += 1;
        self.write(b"\n").await
    }

    pub async fn finish(mut self) -> Result<Output, Fault> {
        if let Err(fault) = self.hand_on_the_rest().await {
            self.abort().await;
            return Err(fault);
        }
        let stored_bytes = self.writer.finish().await?;
        let sha256 = self.sha256.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes what is written to it");
            text
        });
        let Self { key, kind, lines, bytes, .. } = self;
        Ok(Output { key, kind, lines, bytes, stored_bytes, sha256 })
    }

    async fn hand_on_the_rest(&mut self) -> Result<(), Fault> {
        self.hand_on().await?;
        let Some(gzip) = self.gzip.take() else { return Ok(()) };
        self.writer.write(&gzip.finish().map_err(compression_failed)?).await
    }

    pub async fn abort(self) {
        if let Err(fault) = self.writer.abort().await {
            tracing::info!(job.id = %self.key.job, task.no = %self.key.task, %fault, "an upload was not given up; the janitor removes it");
        }
    }
}

/// Memory is what it is written to, so this is a fault of the program.
fn compression_failed(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Corrupt, "failed to compress a file").because(error)
}
