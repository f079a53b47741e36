//! Takes the deliveries of a lane, at most as many at a time as it has permits, and settles each by what became of its task.

use std::sync::Arc;
use std::time::Duration;

use shared::export::Lane;
use shared::fault::Fault;
use shared::queue::{Deliveries, Delivery};
use shared::shutdown::Shutdown;
use shared::telemetry::trace::{Side, Traced};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::Worker;
use crate::execute::{Settlement, execute};

/// How much of the grace period is kept for handing tasks back.
const HAND_BACK_TIME: Duration = Duration::from_secs(5);

/// Works off the deliveries of a lane until somebody wishes to stop. What is under way then has the grace period to finish; after
/// that it is told to hand its task back, and at the end of the period it is dropped.
pub async fn consume(worker: &Arc<Worker>, lane: Lane, shutdown: &Shutdown) {
    let permits = worker.permits(lane);
    let Some(mut deliveries) = begin(worker, lane, permits, shutdown).await else { return };
    let permits = usize::from(permits);
    let hurry = Shutdown::new();
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            // To stop comes before taking more; what has ended makes room for it.
            biased;
            () = shutdown.wished() => break,
            Some(ended) = running.join_next(), if !running.is_empty() => report(ended),
            delivery = deliveries.next(), if running.len() < permits => {
                running.spawn(settle(Arc::clone(worker), delivery, hurry.clone()));
            }
        }
    }
    info!(lane = lane.name(), tasks = running.len(), "stopping: no more tasks are taken");
    // A task that is done would otherwise have the queue send another one, to wait here until the last is done. It takes its
    // time out of the grace period like all the rest: a queue may not answer.
    let drain = async {
        let ending = async {
            while let Some(ended) = running.join_next().await {
                report(ended);
            }
        };
        tokio::join!(deliveries.stop(), ending)
    };
    // What cannot be finished in time is handed back while there is time for that.
    let hurrying = async {
        sleep(worker.limits.grace.saturating_sub(HAND_BACK_TIME)).await;
        hurry.stop();
        sleep(HAND_BACK_TIME).await;
    };
    tokio::select! {
        // Whoever is done at the last moment is done.
        biased;
        _ = drain => {}
        () = hurrying => warn!("the grace period is over; the tasks that are left come back when they are due"),
    }
}

async fn begin(worker: &Worker, lane: Lane, permits: u16, shutdown: &Shutdown) -> Option<Box<dyn Deliveries>> {
    loop {
        match worker.platform.lanes.of(lane).deliveries(permits).await {
            Ok(deliveries) => return Some(deliveries),
            Err(fault) => warn!(%fault, "cannot take up work, trying again"),
        }
        tokio::select! {
            biased;
            () = shutdown.wished() => return None,
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// A task that panicked has dropped its delivery, which hands it back; the attempt stays counted.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a task ended by a panic");
    }
}

async fn settle(worker: Arc<Worker>, delivery: Box<dyn Delivery>, hurry: Shutdown) {
    let traced = Traced::begin("task", Side::Consumer, delivery.message().trace.as_deref());
    traced.on(execute_and_settle(worker, delivery, hurry)).await;
}

async fn execute_and_settle(worker: Arc<Worker>, delivery: Box<dyn Delivery>, hurry: Shutdown) {
    let task = delivery.message().task();
    let settled: Result<(), Fault> = match execute(&worker, task, &hurry).await {
        Settlement::Done => delivery.ack().await,
        Settlement::HandBack { after } => {
            // Nobody else would fare better at once, and a message that comes straight back would spin.
            tokio::select! {
                biased;
                () = sleep(after) => {}
                () = hurry.wished() => {}
            }
            delivery.hand_back().await
        }
        Settlement::Bury => delivery.bury().await,
    };
    if let Err(fault) = settled {
        info!(job.id = %task.job, task.no = %task.task, %fault, "the queue had taken the message back");
    }
}
