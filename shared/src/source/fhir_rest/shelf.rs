//! Where a job keeps what all its tasks share: of this adapter, the lists that it holds. `platform` says where that is.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::export::JobId;
use crate::fault::Fault;

/// Content on its way, in pieces.
pub type Pieces = BoxStream<'static, Result<Bytes, Fault>>;

/// A shelf that every worker can reach.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// What is kept under a name; `None` when there is nothing.
    async fn get(&self, job: JobId, name: &str) -> Result<Option<Pieces>, Fault>;

    /// Keeps something. What is kept under this name already is replaced, and nothing is seen of it before it is there whole.
    async fn put(&self, job: JobId, name: &str, pieces: Pieces) -> Result<(), Fault>;
}
