//! Where bytes and records rest. What may be stored is decided elsewhere (`catalog`); a [`Medium`] only carries it out.
//!
//! Bytes are kept as *pieces*: runs that never change. An object is a list of pieces, one for each part of its upload,
//! so that completing an upload moves no data. A change is first recorded by the medium, then applied to the catalogue in memory;
//! the record is what makes it true after a restart.

pub mod folder;
pub mod memory;

use std::io;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::catalog::{Catalog, Change};
use crate::intake::Intake;

/// The answer when bytes or a record could not be written: of a full disk as MinIO has it, so that a client can tell that to
/// send it again at once is of no use.
pub fn failed(error: io::Error) -> S3Error {
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return S3Error::internal_error(error);
    }
    refusal(StatusCode::INSUFFICIENT_STORAGE, "XMinioStorageFull", "the disk is full; remove some objects")
}

/// An answer with a status and a code that S3 itself does not have.
pub fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut refusal = S3Error::with_message(code, message);
    refusal.set_status_code(status);
    refusal
}

/// The bytes of a piece, chunk by chunk.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

/// A place for bytes and records.
pub trait Medium: Send + Sync + 'static {
    /// A handle on a run of bytes that never changes. The bytes outlive their removal until the last handle goes.
    type Piece: Clone + Send + Sync + 'static;

    /// Whether [`Medium::record`] and [`Medium::duplicate`] do I/O and belong on a thread that may block.
    const BLOCKS: bool;

    /// Takes in a body to its end, without judging it. A piece that no change records is gone with its last handle.
    fn keep(&self, intake: &mut Intake) -> impl Future<Output = S3Result<Self::Piece>> + Send;

    /// Reads `range` of a piece, which must lie within it.
    fn read(piece: Self::Piece, range: Range<u64>) -> Chunks;

    /// A second piece with the same bytes, with a life of its own.
    fn duplicate(&self, piece: &Self::Piece) -> io::Result<Self::Piece>;

    /// Makes `change` last. `before` is the catalogue that it will be applied to. On failure nothing has changed.
    fn record(&self, change: &Change<Self::Piece>, before: &Catalog<Self::Piece>) -> io::Result<()>;
}
