//! What the work at a job leaves behind, as somebody sees it who looks at the servers.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::clock::{Clock, SystemClock};
use shared::export::{JobId, Lane, OutputKey};
use shared::fault::{Fault, FaultKind};
use shared::platform::Platform;
use shared::queue::Depth;
use tokio::time::{sleep, timeout};

use super::Site;
use crate::harness::system::PATIENCE;

/// What work leaves behind that nobody needs any more.
#[derive(Debug)]
struct Traces {
    /// Objects that no manifest names.
    objects: Vec<OutputKey>,
    /// Uploads that were neither completed nor aborted.
    uploads: usize,
    messages: [Depth; 2],
    /// Jobs that somebody should have looked at.
    overdue: u64,
    /// The lists of due tasks.
    due_entries: Vec<String>,
}

impl Traces {
    fn is_none(&self) -> bool {
        self.objects.is_empty()
            && self.uploads == 0
            && self.messages == [Depth::default(); 2]
            && self.overdue == 0
            && self.due_entries.is_empty()
    }
}

impl Site {
    /// No object that no manifest names, no upload, no due entry, no message. The observer needs the servers, too, and asks
    /// again when they do not answer.
    pub(super) async fn no_trace_is_left(&self, what: &str, job: JobId) {
        let mut left = Err(Fault::new(FaultKind::Unavailable, "nobody has looked yet"));
        let looking = async {
            while !left.as_ref().is_ok_and(Traces::is_none) {
                sleep(Duration::from_millis(50)).await;
                left = self.traces(job).await;
            }
        };
        let is_clean = timeout(PATIENCE, looking).await.is_ok();
        assert!(is_clean, "{what}: of job {job} is left: {left:?}");
    }

    async fn traces(&self, job: JobId) -> Result<Traces, Fault> {
        let Platform { jobs, outputs, .. } = &self.observer;
        let named: BTreeSet<_> =
            jobs.written(job).await?.into_iter().flat_map(|written| written.outputs).map(|output| output.key).collect();
        Ok(Traces {
            objects: outputs.list(job).await?.into_iter().filter(|key| !named.contains(key)).collect(),
            uploads: self.store.unfinished_uploads(),
            messages: self.messages().await?,
            overdue: jobs.backlog(SystemClock.now()).await?.overdue,
            due_entries: self.keys("due").await?,
        })
    }

    /// The keys of this name of all jobs.
    pub(super) async fn keys(&self, name: &str) -> Result<Vec<String>, Fault> {
        let client = redis::Client::open(self.redis.as_str()).expect("its URL was good a moment ago");
        let lost = |error| Fault::new(FaultKind::Unavailable, "failed to look for keys").because(error);
        let mut redis = client.get_multiplexed_async_connection().await.map_err(lost)?;
        let pattern = format!("{}:{{*}}:{name}", self.namespace);
        redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.map_err(lost)
    }

    /// What is on each lane: waiting for a worker, and dead.
    pub(super) async fn messages(&self) -> Result<[Depth; 2], Fault> {
        let mut messages = [Depth::default(); 2];
        for (depth, lane) in messages.iter_mut().zip(Lane::ALL) {
            *depth = self.observer.lanes.of(lane).depth().await?;
        }
        Ok(messages)
    }
}
