//! The catalogue and its medium together: each change is decided, recorded and applied under one lock, so that conditions
//! are atomic and a reader sees an object whole, the old or the new.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3Result, StdError};
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};

use crate::catalog::{Catalog, Change, Object};
use crate::storage::{Chunks, Medium, failed};

/// What is stored, and where. Clones share it.
pub struct Store<M: Medium> {
    medium: Arc<M>,
    catalog: Arc<Mutex<Catalog<M::Piece>>>,
    unfinished: Arc<AtomicUsize>,
}

impl<M: Medium> Store<M> {
    /// Goes on with what the medium held.
    pub fn new(medium: M, catalog: Catalog<M::Piece>) -> Self {
        let unfinished = Arc::new(AtomicUsize::new(catalog.uploads().len()));
        Self { medium: Arc::new(medium), catalog: Arc::new(Mutex::new(catalog)), unfinished }
    }

    /// The number of unfinished uploads, kept up to date.
    pub fn unfinished(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unfinished)
    }

    /// The medium, to keep bytes on before a change names them.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// Looks at the catalogue; nothing changes meanwhile, so look briefly.
    pub async fn look(&self) -> MutexGuard<'_, Catalog<M::Piece>> {
        self.catalog.lock().await
    }

    /// Decides on changes, records each and applies it.
    ///
    /// When recording fails, the changes before it stand and the rest is not made.
    pub async fn change<A, F>(&self, decide: F) -> S3Result<A>
    where
        A: Send + 'static,
        F: FnOnce(&Catalog<M::Piece>, &M) -> S3Result<(Vec<Change<M::Piece>>, A)> + Send + 'static,
    {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let medium = Arc::clone(&self.medium);
        let unfinished = Arc::clone(&self.unfinished);
        let work = move || {
            let (changes, answer) = decide(&catalog, &medium)?;
            for change in changes {
                medium.record(&change, &catalog).map_err(failed)?;
                catalog.apply(change);
            }
            unfinished.store(catalog.uploads().len(), Ordering::Relaxed);
            Ok(answer)
        };
        if M::BLOCKS { blocking(work).await.map_err(S3Error::internal_error)? } else { work() }
    }

    /// The bytes of `object` from `range.start` to before `range.end`, which must lie within it.
    pub fn read(object: &Object<M::Piece>, range: std::ops::Range<u64>) -> StreamingBlob {
        let mut wanted = Vec::new();
        let mut start = 0;
        for (piece, length) in &object.pieces {
            let from = range.start.saturating_sub(start).min(*length);
            let to = range.end.saturating_sub(start).min(*length);
            if from < to {
                wanted.push((piece.clone(), from..to));
            }
            start += length;
        }
        let chunks = stream::iter(wanted).flat_map(|(piece, range)| M::read(piece, range));
        StreamingBlob::new(Measured { chunks: Box::pin(chunks), remaining: range.end - range.start })
    }
}

impl<M: Medium> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self {
            medium: Arc::clone(&self.medium),
            catalog: Arc::clone(&self.catalog),
            unfinished: Arc::clone(&self.unfinished),
        }
    }
}

/// Runs `work` on a thread that may block, and waits for it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Seconds since 1970. The only clock of this crate: the server of a protocol whose signatures expire by the real time.
pub fn now_seconds() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Chunks whose total is known, so that the answer has a Content-Length.
struct Measured {
    chunks: Chunks,
    remaining: u64,
}

impl Stream for Measured {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.chunks.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        }
        next.map_err(StdError::from)
    }
}

impl ByteStream for Measured {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
