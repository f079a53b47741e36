//! Pieces in memory: the segments as they came from the network, without copying. Gone when the process ends.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use s3s::S3Result;

use super::{Chunks, Medium};
use crate::catalog::{Catalog, Change};
use crate::intake::Intake;

/// A segment below this size is copied. It would otherwise pin the whole read buffer (up to 400 KiB) it was cut from:
/// ten thousand small objects would hold gigabytes.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

/// Memory as a medium.
pub struct Memory;

impl Medium for Memory {
    type Piece = Arc<[Bytes]>;

    const BLOCKS: bool = false;

    async fn keep(&self, intake: &mut Intake) -> S3Result<Self::Piece> {
        let mut segments = Vec::new();
        let mut small = BytesMut::new();
        while let Some(chunk) = intake.next().await? {
            if chunk.len() < COPIED_BELOW_BYTES {
                small.extend_from_slice(&chunk);
                continue;
            }
            if !small.is_empty() {
                segments.push(small.split().freeze());
            }
            segments.push(chunk);
        }
        if !small.is_empty() {
            // Exactly as long as its content: `freeze` would keep the spare room of the growing buffer.
            segments.push(Bytes::copy_from_slice(&small));
        }
        Ok(segments.into())
    }

    fn read(piece: Self::Piece, range: Range<u64>) -> Chunks {
        Box::pin(stream::iter(slices(&piece, range).into_iter().map(Ok)))
    }

    fn duplicate(&self, piece: &Self::Piece) -> io::Result<Self::Piece> {
        Ok(Arc::clone(piece))
    }

    fn record(&self, _change: &Change<Self::Piece>, _before: &Catalog<Self::Piece>) -> io::Result<()> {
        Ok(())
    }
}

/// The part of each segment that lies within `range`, in order, none empty.
fn slices(segments: &[Bytes], range: Range<u64>) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut start = 0_u64;
    for segment in segments {
        let length = segment.len() as u64;
        let from = range.start.saturating_sub(start).min(length);
        let to = range.end.saturating_sub(start).min(length);
        if from < to {
            let within = |at: u64| usize::try_from(at).expect("no further than the segment is long");
            found.push(segment.slice(within(from)..within(to)));
        }
        start += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_cut_at_both_ends_of_the_range() {
        let segments = [Bytes::from_static(b"abc"), Bytes::from_static(b"def"), Bytes::from_static(b"ghi")];
        for (range, expected) in
            [(0..9, "abcdefghi"), (0..1, "a"), (2..4, "cd"), (3..6, "def"), (8..9, "i"), (4..4, "")]
        {
            assert_eq!(slices(&segments, range).concat(), expected.as_bytes());
        }
    }
}
