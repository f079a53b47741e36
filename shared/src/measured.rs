//! Ports that count and time their calls and tell traces of them, whatever the adapter behind them.

mod jobs;
mod outputs;
mod queue;
mod source;

use std::sync::Arc;
use std::time::Instant;

use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::telemetry::trace;

/// The parts of the system that calls go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The job store.
    Jobs,
    /// The task queue, on both lanes.
    Queue,
    /// The payer's data.
    Source,
    /// The object store.
    Outputs,
}

impl Port {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jobs, Self::Queue, Self::Source, Self::Outputs];

    /// One word for metrics, traces and readiness.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Queue => "queue",
            Self::Source => "source",
            Self::Outputs => "outputs",
        }
    }
}

/// A port whose calls are measured.
pub struct Measured<P> {
    port: P,
    calls: Calls,
}

impl<P> Measured<P> {
    /// Measures the calls of a port.
    pub fn new(port: P, name: Port, metrics: &Metrics) -> Self {
        Self { port, calls: Calls { port: name, metrics: Arc::new(metrics.clone()) } }
    }

    /// The calls of another one count with those of this one.
    fn with(&self, port: P) -> Self {
        Self { port, calls: self.calls.clone() }
    }
}

/// Where the calls of a port are counted.
#[derive(Clone)]
struct Calls {
    port: Port,
    metrics: Arc<Metrics>,
}

impl Calls {
    /// Makes a call, which has a span of its own where the trace is kept.
    async fn of<T>(&self, verb: &'static str, call: impl Future<Output = Result<T, Fault>> + Send) -> Result<T, Fault> {
        let span = || format!("{}.{verb}", self.port.name());
        self.counted(verb, trace::call(span, call, |answer| outcome(answer))).await
    }

    /// Makes a call of which there are so many that spans would drown the trace.
    async fn counted<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        let mut under_way = UnderWay { calls: self, verb, began: Instant::now(), outcome: "abandoned" };
        let answer = call.await;
        under_way.outcome = outcome(&answer);
        answer
    }
}

fn outcome<T>(answer: &Result<T, Fault>) -> &'static str {
    answer.as_ref().err().map_or("ok", |fault| FaultKind::name(fault.kind()))
}

/// A call that has begun; it is counted when it ends or is dropped, because whoever hangs is seen by no other way.
struct UnderWay<'a> {
    calls: &'a Calls,
    verb: &'static str,
    began: Instant,
    outcome: &'static str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Calls { port, metrics } = self.calls;
        metrics.port_calls.with_label_values(&[port.name(), self.verb, self.outcome]).inc();
        metrics.port_seconds.with_label_values(&[port.name(), self.verb]).observe(self.began.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jobs::JobStore;
    use crate::jobs::memory::MemoryJobs;

    #[tokio::test]
    async fn a_call_is_counted_by_its_verb_and_what_came_of_it() {
        let metrics = Metrics::new();
        let calls = Calls { port: Port::Source, metrics: Arc::new(metrics.clone()) };
        let busy = || async { Err::<(), _>(Fault::new(FaultKind::Busy, "failed to read")) };
        calls.of("list", async { Ok(()) }).await.expect("it is what the call answers");
        calls.of("list", busy()).await.expect_err("it is what the call answers");
        let never = calls.of("list", std::future::pending::<Result<(), Fault>>());
        tokio::time::timeout(Duration::from_millis(1), never).await.expect_err("it never ends");
        let count = |outcome| metrics.port_calls.with_label_values(&["source", "list", outcome]).get();
        assert_eq!([count("ok"), count("busy"), count("abandoned"), count("unavailable")], [1, 1, 1, 0]);
        assert_eq!(metrics.port_seconds.with_label_values(&["source", "list"]).get_sample_count(), 3);
    }

    #[tokio::test]
    async fn a_measured_port_answers_as_the_port_does() {
        let metrics = Metrics::new();
        let jobs: Arc<dyn JobStore> = Arc::new(MemoryJobs::new());
        let measured = Measured::new(jobs, Port::Jobs, &metrics);
        measured.ready().await.expect("memory is there");
        assert_eq!(metrics.port_calls.with_label_values(&["jobs", "ready", "ok"]).get(), 1);
    }
}
