//! One object on its way to the store.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::types::CompletedPart;
use bytes::BytesMut;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::warn;

use super::S3Settings;
use super::bucket::{Bucket, NotCompleted};
use crate::export::Encoding;
use crate::fault::{Fault, FaultKind};
use crate::outputs::OutputWriter;

/// How many parts S3 puts together to one object.
const MOST_PARTS: i32 = 10_000;

/// How long a writer that gives up waits for its parts under way. A part that lands after its upload was given up may stay
/// in the store for good: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes one object: in one request if it fits in one part, otherwise in parts that go out behind the caller's back.
///
/// Memory: it holds the part that is being filled and at most `uploads_at_once` that are on their way, so never more than
/// `part_bytes * (uploads_at_once + 1)`: 24 MiB with the defaults. An object shorter than a part takes no more than its
/// length. A part is kept until the store has it, so that it can be sent again.
pub(super) struct Writer {
    bucket: Arc<Bucket>,
    object: String,
    encoding: Encoding,
    part_bytes: usize,
    uploads_at_once: usize,
    part: BytesMut,
    bytes: u64,
    upload: Option<Upload>,
    has_failed: bool,
}

/// An upload in parts, begun.
struct Upload {
    id: String,
    parts: i32,
    sent: Vec<CompletedPart>,
    /// Parts under way. They end with the writer when it is dropped.
    under_way: JoinSet<Result<CompletedPart, Fault>>,
}

impl Writer {
    pub(super) fn new(bucket: Arc<Bucket>, object: String, encoding: Encoding, settings: &S3Settings) -> Self {
        Self {
            bucket,
            object,
            encoding,
            part_bytes: settings.part_bytes,
            uploads_at_once: settings.uploads_at_once,
            part: BytesMut::new(),
            bytes: 0,
            upload: None,
            has_failed: false,
        }
    }

    async fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            // Full parts leave when the next byte comes, not before: an object of exactly one part is then one request, and
            // the last part is never empty.
            if self.part.len() == self.part_bytes {
                self.send().await?;
            }
            if self.part.capacity() == 0 {
                // At once, because growing would copy it; a page of memory that is never written to costs nothing.
                self.part.reserve(self.part_bytes);
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.part_bytes - self.part.len()));
            self.part.extend_from_slice(now);
            self.bytes += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Sets the part off, begins the upload before the first, and waits while too many are under way.
    async fn send(&mut self) -> Result<(), Fault> {
        let content = mem::take(&mut self.part).freeze();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => self.upload.insert(Upload::new(self.bucket.begin(&self.object, self.encoding).await?)),
        };
        if upload.parts == MOST_PARTS {
            let doing = format!("failed to upload {}", self.object);
            return Err(Fault::new(FaultKind::Invalid, doing)
                .because(format!("it is longer than {MOST_PARTS} parts of {} bytes", self.part_bytes)));
        }
        // Those that are done are looked at even when there is room, so that a failure is seen soon.
        while let Some(done) = upload.under_way.try_join_next() {
            upload.note(done, &self.object)?;
        }
        while upload.under_way.len() >= self.uploads_at_once
            && let Some(done) = upload.under_way.join_next().await
        {
            upload.note(done, &self.object)?;
        }
        upload.parts += 1;
        let bucket = Arc::clone(&self.bucket);
        upload.under_way.spawn(bucket.part(self.object.clone(), upload.id.clone(), upload.parts, content));
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), Fault> {
        if self.upload.is_none() {
            return self.bucket.put(&self.object, self.encoding, mem::take(&mut self.part).freeze()).await;
        }
        self.send().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        while let Some(done) = upload.under_way.join_next().await {
            upload.note(done, &self.object)?;
        }
        let mut parts = mem::take(&mut upload.sent);
        parts.sort_unstable_by_key(CompletedPart::part_number);
        match self.bucket.complete(&self.object, &upload.id, parts).await {
            Ok(()) => Ok(()),
            Err(NotCompleted::Failed(fault)) => Err(fault),
            // The first answer may have been lost, and most stores do not know an upload any more once it is an object.
            Err(NotCompleted::NoSuchUpload(fault)) => match self.bucket.length(&self.object).await? {
                Some(bytes) if bytes == self.bytes => Ok(()),
                _ => Err(fault),
            },
        }
    }

    async fn give_up(&mut self) -> Result<(), Fault> {
        let Some(mut upload) = self.upload.take() else { return Ok(()) };
        let quiet = async { while upload.under_way.join_next().await.is_some() {} };
        if timeout(PATIENCE, quiet).await.is_err() {
            upload.under_way.shutdown().await;
        }
        self.bucket.abort(&self.object, &upload.id).await
    }
}

impl Upload {
    fn new(id: String) -> Self {
        Self { id, parts: 0, sent: Vec::new(), under_way: JoinSet::new() }
    }

    fn note(&mut self, done: Result<Result<CompletedPart, Fault>, JoinError>, object: &str) -> Result<(), Fault> {
        let part = done.map_err(|error| {
            Fault::new(FaultKind::Unavailable, format!("failed to upload a part of {object}")).because(error)
        })??;
        self.sent.push(part);
        Ok(())
    }
}

#[async_trait]
impl OutputWriter for Writer {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // Set while bytes are taken, so that a call that is dropped half-way counts as failed too.
        let had_failed = mem::replace(&mut self.has_failed, true);
        if had_failed {
            return Err(failed_before("write", &self.object));
        }
        self.take(bytes).await?;
        self.has_failed = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64, Fault> {
        let done = if self.has_failed { Err(failed_before("finish", &self.object)) } else { self.complete().await };
        let Err(fault) = done else { return Ok(self.bytes) };
        if let Err(second) = self.give_up().await {
            warn!("an unfinished upload is left to the janitor: {second}");
        }
        Err(fault)
    }

    async fn abort(mut self: Box<Self>) -> Result<(), Fault> {
        self.give_up().await
    }
}

fn failed_before(verb: &str, object: &str) -> Fault {
    Fault::new(FaultKind::Conflict, format!("failed to {verb} {object}: an earlier write to it failed"))
}
