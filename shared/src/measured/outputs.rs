//! The object store, measured.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::{Calls, Measured};
use crate::export::{Encoding, JobId, OutputKey};
use crate::fault::Fault;
use crate::outputs::{Link, LinkMethod, OutputStore, OutputWriter};

#[async_trait]
impl OutputStore for Measured<Arc<dyn OutputStore>> {
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        let writer = self.calls.of("create", self.port.create(key, encoding)).await?;
        Ok(Box::new(MeasuredWriter { writer, calls: self.calls.clone() }))
    }
    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        self.calls.of("link", self.port.link(key, method, valid)).await
    }
    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        self.calls.of("list", self.port.list(job)).await
    }
    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.calls.of("remove", self.port.remove(keys)).await
    }
    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault> {
        let writer = self.calls.of("keep", self.port.keep(job, name)).await?;
        Ok(Box::new(MeasuredWriter { writer, calls: self.calls.clone() }))
    }
    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        self.calls.of("kept", self.port.kept(job, name)).await
    }
    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault> {
        self.calls.of("kept_names", self.port.kept_names(job)).await
    }
    async fn drop_kept(&self, job: JobId) -> Result<(), Fault> {
        self.calls.of("drop_kept", self.port.drop_kept(job)).await
    }
    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        self.calls.of("remove_job", self.port.remove_job(job)).await
    }
    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        self.calls.of("abandon_uploads", self.port.abandon_uploads(job)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.calls.of("ready", self.port.ready()).await
    }
}

struct MeasuredWriter {
    writer: Box<dyn OutputWriter>,
    calls: Calls,
}

#[async_trait]
impl OutputWriter for MeasuredWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.calls.counted("write", self.writer.write(bytes)).await
    }
    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        self.calls.of("finish", self.writer.finish()).await
    }
    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        self.calls.of("abort", self.writer.abort()).await
    }
}
