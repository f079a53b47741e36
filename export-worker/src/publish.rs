//! Publishing tasks, and how many of a job.

use std::time::Duration;

use shared::dispatch;
use shared::export::{JobId, OpenTask};
use tokio::time::timeout;

use crate::Worker;

/// How many tasks a job may have on the queues while others wait: one at work and one to follow it.
const FAIR_WINDOW: u32 = 2;

/// How long to wait for the queue to say how full it is.
const DEPTH_PATIENCE: Duration = Duration::from_secs(1);

impl Worker {
    /// How many tasks of a job may be on the queues now: as long as something waits there, all workers are busy and the
    /// jobs take turns. A queue that does not say is treated as a full one.
    pub async fn window(&self) -> u32 {
        match timeout(DEPTH_PATIENCE, self.platform.lanes.bulk.depth()).await {
            Ok(Ok(depth)) if depth.waiting == 0 => self.limits.window,
            _ => FAIR_WINDOW.min(self.limits.window),
        }
    }

    /// Publishes a task; answers whether the queue has it.
    pub async fn publish(&self, job: JobId, task: OpenTask) -> bool {
        dispatch::publish(&self.platform, job, task, self.limits.published_due).await
    }

    /// Publishes several tasks of a job, as long as the queue takes them: one that has not answered in time would not
    /// answer the next one either. Answers whether it took all.
    pub async fn publish_all(&self, job: JobId, tasks: &[OpenTask]) -> bool {
        for task in tasks {
            if !self.publish(job, *task).await {
                return false;
            }
        }
        true
    }
}
