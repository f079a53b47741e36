//! The port to the object store: where the files of a job are written, and from where clients download them.

pub mod s3;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use url::Url;

use crate::export::{Encoding, JobId, OutputKey};
use crate::fault::Fault;
use crate::fhir::Instant;

/// What a link is for: a signature covers the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMethod {
    /// To download.
    Get,
    /// To ask for length, type and `ETag`.
    Head,
}

/// A signed link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub url: Url,
    /// When it ends.
    pub expires_at: Instant,
}

/// A store of objects that clients can download from with a signed link.
#[async_trait]
pub trait OutputStore: Send + Sync + 'static {
    /// Begins an object. Nothing of it can be seen before [`OutputWriter::finish`], and nothing is sent for an object that
    /// stays empty and is dropped.
    ///
    /// The bytes that are written to it are in this encoding already, and are served with it as their `Content-Encoding`.
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault>;

    /// A link by which anybody can download the object for about `valid` from now, in whole seconds, or for as long as the
    /// credentials that sign it live, if that is shorter. It serves one method only, `GET` or `HEAD`.
    ///
    /// It answers with `Content-Type: application/fhir+ndjson`, knows `Range` and has an `ETag`. The store is not asked: a
    /// link to an object that is not there answers 404. Fails with `Unavailable` when there are no credentials to sign with.
    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault>;

    /// The names of the objects of a job. What lies there under a name that this system does not write is not listed.
    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault>;

    /// Removes objects. One that is not there counts as removed.
    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault>;

    /// Begins an object that the tasks of a job share and no client is told of; otherwise as [`OutputStore::create`]. Its name
    /// is of letters, digits, `-` and `.`; one that is there already is replaced.
    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault>;

    /// What is kept under a name, in pieces; `None` when there is nothing.
    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault>;

    /// The names of all that the tasks of a job share.
    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault>;

    /// Removes all that the tasks of a job share.
    async fn drop_kept(&self, job: JobId) -> Result<(), Fault>;

    /// Removes every object of a job and gives up every upload of it that was begun and not finished.
    async fn remove_job(&self, job: JobId) -> Result<(), Fault>;

    /// Gives up every upload of a job that was begun and not finished.
    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault>;

    /// Succeeds when objects can be written.
    async fn ready(&self) -> Result<(), Fault>;
}

/// An object that is being written.
///
/// Call `finish` or `abort`. Dropping it without either leaves no object, but may leave an unfinished upload in the store
/// for [`OutputStore::abandon_uploads`].
#[async_trait]
pub trait OutputWriter: Send {
    /// Takes the next bytes. Waits while the store is slower than the caller: only a few parts are held in memory.
    ///
    /// After a failure the writer is of no use; call `abort`.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes the object visible, whole, and answers its length in bytes.
    async fn finish(self: Box<Self>) -> Result<u64, Fault>;

    /// Gives the object up; nothing of it stays.
    async fn abort(self: Box<Self>) -> Result<(), Fault>;
}
