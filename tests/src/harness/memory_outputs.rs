//! An object store in memory, for properties that run thousands of exports under a paused clock, where real sockets
//! cannot be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use shared::clock::Clock;
use shared::export::{Encoding, JobId, OutputKey};
use shared::fault::{Fault, FaultKind};
use shared::fhir::Instant;
use shared::outputs::{Link, LinkMethod, OutputStore, OutputWriter};
use url::Url;

/// Finished objects by name, and uploads that were begun. Clones are the same store.
#[derive(Clone)]
pub struct MemoryOutputs {
    held: Arc<Mutex<Held>>,
    clock: Arc<dyn Clock>,
    part_bytes: usize,
}

#[derive(Default)]
struct Held {
    objects: BTreeMap<OutputKey, Object>,
    /// By the number of the upload: the name that it is to have, and when it began.
    uploads: BTreeMap<u64, (OutputKey, Instant)>,
    /// How many uploads were ever begun.
    begun: u64,
    /// What the tasks of a job share.
    kept: BTreeMap<(JobId, String), Vec<u8>>,
}

struct Object {
    content: Vec<u8>,
    finished_at: Instant,
}

impl MemoryOutputs {
    /// An empty store. An object that is longer than `part_bytes` is an upload until it is finished.
    pub fn new(clock: Arc<dyn Clock>, part_bytes: usize) -> Self {
        Self { held: Arc::default(), clock, part_bytes }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no test panics while it holds the lock")
    }

    /// The bytes of an object, encoded as they were written; `None` when there is none.
    pub fn read(&self, key: &OutputKey) -> Option<Vec<u8>> {
        self.held().objects.get(key).map(|object| object.content.clone())
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<OutputKey> {
        self.held().objects.keys().cloned().collect()
    }

    /// The names of all objects, each with the time at which it was finished.
    pub fn finished(&self) -> Vec<(OutputKey, Instant)> {
        self.held().objects.iter().map(|(key, object)| (key.clone(), object.finished_at)).collect()
    }

    /// The uploads that are not finished, each with the time at which it began.
    pub fn unfinished(&self) -> Vec<(OutputKey, Instant)> {
        self.held().uploads.values().cloned().collect()
    }
}

struct Writer {
    key: OutputKey,
    content: Vec<u8>,
    /// The number of its upload, once it is one.
    upload: Option<u64>,
    store: MemoryOutputs,
}

#[async_trait]
impl OutputWriter for Writer {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.content.extend_from_slice(bytes);
        if self.upload.is_none() && self.content.len() > self.store.part_bytes {
            let mut held = self.store.held();
            held.begun += 1;
            let number = held.begun;
            held.uploads.insert(number, (self.key.clone(), self.store.clock.now()));
            self.upload = Some(number);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        let Self { key, content, upload, store } = *self;
        let (length, finished_at) = (content.len() as u64, store.clock.now());
        let mut held = store.held();
        if upload.is_some_and(|number| held.uploads.remove(&number).is_none()) {
            return Err(Fault::new(FaultKind::NotFound, format!("failed to finish {key}: its upload was abandoned")));
        }
        held.objects.insert(key, Object { content, finished_at });
        Ok(length)
    }

    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        if let Some(number) = self.upload {
            self.store.held().uploads.remove(&number);
        }
        Ok(())
    }
}

/// Something that the tasks of a job share, on its way.
struct Keeping {
    name: (JobId, String),
    content: Vec<u8>,
    store: MemoryOutputs,
}

#[async_trait]
impl OutputWriter for Keeping {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        let length = self.content.len() as u64;
        self.store.held().kept.insert(self.name, self.content);
        Ok(length)
    }

    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl OutputStore for MemoryOutputs {
    async fn create(&self, key: &OutputKey, _encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        Ok(Box::new(Writer { key: key.clone(), content: Vec::new(), upload: None, store: self.clone() }))
    }

    async fn link(&self, key: &OutputKey, _method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        let url = Url::parse(&format!("memory:{key}")).expect("a name is a path");
        Ok(Link { url, expires_at: self.clock.now() + valid })
    }

    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        Ok(self.names().into_iter().filter(|key| key.job == job).collect())
    }

    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.held().objects.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        let mut held = self.held();
        held.objects.retain(|key, _| key.job != job);
        held.uploads.retain(|_, (key, _)| key.job != job);
        held.kept.retain(|(of, _), _| *of != job);
        Ok(())
    }

    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault> {
        Ok(Box::new(Keeping { name: (job, name.to_owned()), content: Vec::new(), store: self.clone() }))
    }

    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        let content = self.held().kept.get(&(job, name.to_owned())).cloned();
        Ok(content.map(|content| stream::once(async { Ok(Bytes::from(content)) }).boxed()))
    }

    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault> {
        Ok(self.held().kept.keys().filter(|(of, _)| *of == job).map(|(_, name)| name.clone()).collect())
    }

    async fn drop_kept(&self, job: JobId) -> Result<(), Fault> {
        self.held().kept.retain(|(of, _), _| *of != job);
        Ok(())
    }

    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        self.held().uploads.retain(|_, (key, _)| key.job != job);
        Ok(())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}
