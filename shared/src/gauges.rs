//! What is asked when somebody looks: which ports can be used, how many jobs there are, how much waits.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::export::{JobState, Lane};
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;
use crate::measured::Port;
use crate::metrics::Metrics;
use crate::platform::Platform;

/// How long a probe or a scrape waits for a part of the system.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Whether each of some ports can be used now. They are asked side by side, and none is waited for long.
pub async fn readiness(platform: &Platform, ports: &[Port]) -> Vec<(Port, Result<(), Fault>)> {
    join_all(ports.iter().map(|port| async { (*port, in_time(ready(platform, *port)).await) })).await
}

async fn ready(platform: &Platform, port: Port) -> Result<(), Fault> {
    match port {
        Port::Jobs => platform.jobs.ready().await,
        Port::Queue => {
            platform.lanes.express.ready().await?;
            platform.lanes.bulk.ready().await
        }
        Port::Source => platform.source.ready().await,
        Port::Outputs => platform.outputs.ready().await,
    }
}

/// Measures which of some ports can be used now.
pub async fn measure_ports(platform: &Platform, ports: &[Port], metrics: &Metrics) {
    for (port, ready) in readiness(platform, ports).await {
        metrics.port_ready.with_label_values(&[port.name()]).set(i64::from(ready.is_ok()));
    }
}

/// Measures what is the whole system's: its jobs and its queues. What cannot be asked now has no value: an old one would
/// look like a new one.
pub async fn measure_system(platform: &Platform, metrics: &Metrics) {
    tokio::join!(
        measure_jobs(platform, metrics),
        measure_lane(platform, Lane::Express, metrics),
        measure_lane(platform, Lane::Bulk, metrics)
    );
}

async fn measure_jobs(platform: &Platform, metrics: &Metrics) {
    let now = platform.clock.now();
    let Ok(backlog) = in_time(platform.jobs.backlog(now)).await else {
        metrics.jobs.reset();
        metrics.jobs_overdue.reset();
        return metrics.oldest_due_seconds.reset();
    };
    for state in JobState::ALL {
        let jobs = backlog.states.get(&state).copied().unwrap_or_default();
        metrics.jobs.with_label_values(&[state.name()]).set(count(jobs));
    }
    metrics.jobs_overdue.with_label_values(NO_LABELS).set(count(backlog.overdue));
    let overdue_for = backlog.oldest_due.map_or(Duration::ZERO, |due: Instant| now.since(due));
    metrics.oldest_due_seconds.with_label_values(NO_LABELS).set(overdue_for.as_secs_f64());
}

async fn measure_lane(platform: &Platform, lane: Lane, metrics: &Metrics) {
    let (name, depth) = (lane.name(), in_time(platform.lanes.of(lane).depth()).await.ok());
    for (state, messages) in [("waiting", depth.map(|depth| depth.waiting)), ("dead", depth.map(|depth| depth.dead))] {
        match messages {
            Some(messages) => metrics.queue.with_label_values(&[name, state]).set(count(messages)),
            // There may have been none.
            None => drop(metrics.queue.remove_label_values(&[name, state])),
        }
    }
}

const NO_LABELS: &[&str] = &[];

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = |_| Fault::new(FaultKind::Unavailable, format!("no answer within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, asked).await.map_err(late)?
}
