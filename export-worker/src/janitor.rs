//! The janitor: one in every worker. Publishes what is due and removes what nobody needs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared::export::{Job, JobId, OutputKey};
use shared::fault::Fault;
use shared::jobs::Chore;
use shared::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::Worker;
use crate::publish::Silent;

/// How many jobs one look takes; what is left over is taken by the next look, or by another worker's janitor.
const JOBS_A_LOOK: usize = 100;

/// How many jobs are cleaned up after at a time.
const CLEANED_AT_ONCE: usize = 8;

/// Looks for chores until somebody wishes to stop.
pub async fn keep_house(worker: &Arc<Worker>, shutdown: &Shutdown) {
    let mut ticks = interval(worker.limits.janitor);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reachable = true;
    // What is under way when the worker stops is left in the middle: it is handed out again.
    let mut cleaning = Cleaning::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.wished() => return,
            _ = ticks.tick() => {}
        }
        // Chores can be left in the middle: what is not done is handed out again.
        let looked = tokio::select! {
            biased;
            () = shutdown.wished() => return,
            looked = look(worker, &mut cleaning) => looked,
        };
        match looked {
            Ok(()) => reachable = true,
            // A store that is down for an hour is one line, not an hour of lines.
            Err(fault) if reachable => {
                warn!(%fault, "cannot look for due work");
                reachable = false;
            }
            Err(_) => {}
        }
    }
}

async fn look(worker: &Arc<Worker>, cleaning: &mut Cleaning) -> Result<(), Fault> {
    let now = worker.now();
    let again = now + worker.limits.working_due;
    // What is not published now is due again in a while; the other chores do not need the queue.
    let mut silent = Silent::default();
    for (job, chore) in worker.platform.jobs.chores(now, again, JOBS_A_LOOK).await? {
        match chore {
            Chore::Publish { tasks, trace } => {
                worker.metrics.republished.inc_by(tasks.len() as u64);
                info!(job.id = %job, tasks = tasks.len(), "publishing due tasks of job {job}");
                worker.publish(job, &tasks, trace, &mut silent).await;
            }
            Chore::Sweep => cleaning.begin(worker, job, After::End),
            Chore::Remove => cleaning.begin(worker, job, After::Expiry),
            // Once a look, and no look hands it out again before `working_due` has passed.
            Chore::Mend { why } => {
                worker.metrics.unreadable_jobs.inc();
                error!(job.id = %job, why, "the record of job {job} cannot be read: look at its keys in the job store");
            }
        }
    }
    Ok(())
}

/// Since when a job needs cleaning up after.
#[derive(Clone, Copy)]
enum After {
    End,
    Expiry,
}

/// Cleaning up, beside the looks: an object store that does not answer must keep no due task waiting.
struct Cleaning {
    under_way: JoinSet<()>,
    jobs: HashMap<task::Id, JobId>,
    permits: Arc<Semaphore>,
}

impl Default for Cleaning {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(CLEANED_AT_ONCE));
        Self { under_way: JoinSet::new(), jobs: HashMap::new(), permits }
    }
}

impl Cleaning {
    /// Begins to clean up after a job, unless that is under way since an earlier look, or so many wait that it had better be
    /// left to the next one, which is handed it again.
    fn begin(&mut self, worker: &Arc<Worker>, job: JobId, after: After) {
        while let Some(ended) = self.under_way.try_join_next_with_id() {
            let id = match &ended {
                Ok((id, ())) => *id,
                Err(error) => {
                    error!(%error, "cleaning up ended by a panic");
                    error.id()
                }
            };
            self.jobs.remove(&id);
        }
        let is_under_way = self.jobs.values().any(|other| *other == job);
        if !is_under_way && self.under_way.len() < JOBS_A_LOOK {
            let (worker, permits) = (Arc::clone(worker), Arc::clone(&self.permits));
            let begun = self.under_way.spawn(async move {
                let _permit = permits.acquire().await.expect("nobody closes the semaphore");
                let done = match after {
                    After::End => sweep(&worker, job).await,
                    After::Expiry => remove(&worker, job).await,
                };
                if let Err(fault) = done {
                    warn!(job.id = %job, %fault, "cannot clean up after job {job} now; it is tried again");
                }
            });
            self.jobs.insert(begun.id(), job);
        }
    }
}

/// Removes what attempts left behind that were killed or came second, and what the tasks shared.
async fn sweep(worker: &Worker, job: JobId) -> Result<(), Fault> {
    let outputs = &worker.platform.outputs;
    // First of all, so that a job that is cancelled in the middle of this is not taken for swept.
    let Some(Job { state, .. }) = worker.platform.jobs.job(job).await? else { return Ok(()) };
    let written = worker.platform.jobs.written(job).await?;
    let named: HashSet<OutputKey> =
        written.into_iter().flat_map(|written| written.outputs).map(|output| output.key).collect();
    outputs.abandon_uploads(job).await?;
    let litter: Vec<OutputKey> = outputs.list(job).await?.into_iter().filter(|key| !named.contains(key)).collect();
    outputs.remove(&litter).await?;
    outputs.drop_kept(job).await?;
    worker.platform.jobs.swept(job, state).await
}

async fn remove(worker: &Worker, job: JobId) -> Result<(), Fault> {
    worker.platform.outputs.remove_job(job).await?;
    worker.platform.jobs.remove(job).await?;
    info!(job.id = %job, "removed job {job}");
    Ok(())
}
