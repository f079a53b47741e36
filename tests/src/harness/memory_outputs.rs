//! An object store in memory, for properties that run thousands of exports under a paused clock, where real sockets
//! cannot be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shared::clock::{Clock, SystemClock};
use shared::export::{Encoding, JobId, OutputKey};
use shared::fault::Fault;
use shared::outputs::{Link, LinkMethod, OutputStore, OutputWriter};
use url::Url;

/// Finished objects by name.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutputs {
    objects: Arc<Mutex<BTreeMap<OutputKey, Vec<u8>>>>,
}

impl MemoryOutputs {
    /// The bytes of an object, encoded as they were written; panics when there is none, since a manifest names only what is there.
    pub fn read(&self, key: &OutputKey) -> Vec<u8> {
        let objects = self.objects.lock().expect("no test panics while it holds the lock");
        objects.get(key).unwrap_or_else(|| panic!("{key} is named but not there")).clone()
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<OutputKey> {
        self.objects.lock().expect("no test panics while it holds the lock").keys().cloned().collect()
    }
}

struct Writer {
    key: OutputKey,
    content: Vec<u8>,
    store: MemoryOutputs,
}

#[async_trait]
impl OutputWriter for Writer {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        let length = self.content.len() as u64;
        self.store.objects.lock().expect("no test panics while it holds the lock").insert(self.key, self.content);
        Ok(length)
    }

    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl OutputStore for MemoryOutputs {
    async fn create(&self, key: &OutputKey, _encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        Ok(Box::new(Writer { key: key.clone(), content: Vec::new(), store: self.clone() }))
    }

    async fn link(&self, key: &OutputKey, _method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        let url = Url::parse(&format!("memory:{key}")).expect("a name is a path");
        Ok(Link { url, expires_at: SystemClock.now() + valid })
    }

    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        Ok(self.names().into_iter().filter(|key| key.job == job).collect())
    }

    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.objects.lock().expect("no test panics while it holds the lock").retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        self.objects.lock().expect("no test panics while it holds the lock").retain(|key, _| key.job != job);
        Ok(())
    }

    async fn abandon_uploads(&self, _job: JobId) -> Result<(), Fault> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}
