//! Rows on their way into a table by `COPY … (FORMAT binary)`.
//!
//! The writer of `tokio-postgres` hands over 4 kB at a time, two or three resources; this one collects 256 kB.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::{CopyInSink, Error, Transaction};

const CHUNK_BYTES: usize = 256 * 1024;

/// A COPY that is going on. Dropped before `finish`, it has not happened.
pub(super) struct Rows {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
}

impl Rows {
    /// Begins a `COPY … FROM STDIN (FORMAT binary)`.
    pub async fn begin(transaction: &Transaction<'_>, copy: &str) -> Result<Self, Error> {
        let sink = Box::pin(transaction.copy_in(copy).await?);
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_i32(0); // flags
        buffer.put_i32(0); // length of the header's extension
        Ok(Self { sink, buffer })
    }

    /// Begins a row of so many columns; exactly so many of the calls below must follow.
    pub fn row(&mut self, columns: i16) -> &mut Self {
        self.buffer.put_i16(columns);
        self
    }

    /// A `text` that is UTF-8 and shorter than 1 GiB; longer ones PostgreSQL refuses.
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        self.buffer.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
        self.buffer.put_slice(text);
        self
    }

    /// A `text` or NULL.
    pub fn maybe_text(&mut self, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            return self.text(text.as_bytes());
        }
        self.buffer.put_i32(-1);
        self
    }

    /// A `bigint`.
    pub fn bigint(&mut self, number: i64) -> &mut Self {
        self.buffer.put_i32(8);
        self.buffer.put_i64(number);
        self
    }

    /// A `smallint`.
    pub fn smallint(&mut self, number: i16) -> &mut Self {
        self.buffer.put_i32(2);
        self.buffer.put_i16(number);
        self
    }

    /// Sends what has been collected once it is enough; to be called between rows.
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.len() >= CHUNK_BYTES {
            self.sink.send(self.buffer.split().freeze()).await?;
            self.buffer.reserve(CHUNK_BYTES + CHUNK_BYTES / 4);
        }
        Ok(())
    }

    /// Ends the COPY.
    pub async fn finish(mut self) -> Result<u64, Error> {
        self.buffer.put_i16(-1);
        self.sink.send(self.buffer.split().freeze()).await?;
        self.sink.as_mut().finish().await
    }
}
