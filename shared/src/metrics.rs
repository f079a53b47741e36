//! Every metric on one page. Its help text says how to read it; its labels are few and never a job, a client or a list.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector, process_collector::ProcessCollector,
};

/// The metrics of one process, in a registry of their own, so that several systems can live in one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Kick-offs by answer.
    pub kick_offs: IntCounterVec,
    /// Seconds that the API took to answer.
    pub request_seconds: HistogramVec,
    /// Requests for access tokens by what came of them.
    pub tokens: IntCounterVec,
    /// Whether a file that is read again when it changes holds something that is not in force.
    pub reload_failing: IntGaugeVec,
    /// Events of the audit trail.
    pub audit_events: IntCounterVec,
    /// Links that were signed.
    pub links: IntCounter,
    /// Jobs that came to an end.
    pub jobs_ended: IntCounterVec,
    /// Attempts at tasks by their outcome.
    pub attempts: IntCounterVec,
    /// Seconds that an attempt took.
    pub attempt_seconds: HistogramVec,
    /// Attempts that are being worked on now.
    pub working: IntGauge,
    /// Lines written to files of completed tasks.
    pub lines: IntCounterVec,
    /// Bytes written to files of completed tasks.
    pub bytes: IntCounterVec,
    /// Tasks that the janitor published.
    pub republished: IntCounter,
    /// Resources of the source that are not what they should be.
    pub unreadable_resources: IntCounterVec,
    /// Looks at jobs whose records cannot be read.
    pub unreadable_jobs: IntCounter,
    /// Messages on the queues.
    pub queue: IntGaugeVec,
    /// Jobs in the store.
    pub jobs: IntGaugeVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Fresh metrics, all zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels).expect("the name is legal"))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels).expect("the name is legal"))
        };
        let seconds = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(options, labels).expect("the name and the buckets are legal"))
        };
        let plain =
            |name: &str, help: &str| register(&registry, IntCounter::new(name, help).expect("the name is legal"));
        registry.register(Box::new(ProcessCollector::for_self())).expect("its names are its own");
        Self {
            kick_offs: counter("atr_kick_offs_total", "Kick-off requests by HTTP status.", &["status"]),
            request_seconds: seconds(
                "atr_request_seconds",
                "Seconds from request to answer by route; a slow poll points at the job store.",
                &["route", "status"],
                &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0],
            ),
            tokens: counter(
                "atr_tokens_total",
                "Requests for access tokens by outcome: issued, unavailable, or the error; errors that rise mean that somebody's key, clock or scope is wrong, and the audit trail says whose.",
                &["outcome"],
            ),
            reload_failing: gauge(
                "atr_reload_failing",
                "1 when the register of clients or the certificate on the disk cannot be used, so that what it said before is still in force; the log says why.",
                &["file"],
            ),
            audit_events: counter(
                "atr_audit_events_total",
                "Events of the audit trail by outcome: recorded; late, which may still be written; lost. There should be none but the first.",
                &["outcome"],
            ),
            links: plain("atr_links_signed_total", "Links to files that were signed for clients."),
            jobs_ended: counter(
                "atr_jobs_ended_total",
                "Jobs that came to an end, by state: completed, failed, cancelled.",
                &["state"],
            ),
            attempts: counter(
                "atr_task_attempts_total",
                "Attempts at tasks by kind and outcome; retried and buried ones want a look.",
                &["kind", "outcome"],
            ),
            attempt_seconds: seconds(
                "atr_task_attempt_seconds",
                "Seconds that an attempt at a task took, by kind.",
                &["kind"],
                &[0.01, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0],
            ),
            working: register(
                &registry,
                IntGauge::new("atr_tasks_working", "Tasks that this worker works on now.").expect("the name is legal"),
            ),
            lines: counter(
                "atr_lines_written_total",
                "Lines in files of completed tasks, by resource type.",
                &["type"],
            ),
            bytes: counter(
                "atr_bytes_written_total",
                "Bytes in files of completed tasks, by resource type.",
                &["type"],
            ),
            republished: plain(
                "atr_tasks_republished_total",
                "Tasks that were due and published again; more than a few a minute means lost workers or a broker in trouble.",
            ),
            unreadable_resources: counter(
                "atr_unreadable_resources_total",
                "Rows of the source that are not the JSON of the resource that they should be, by type, each time that an export came upon one; the error files name them.",
                &["type"],
            ),
            unreadable_jobs: plain(
                "atr_unreadable_jobs_total",
                "Looks of the janitor at a job whose record in the job store cannot be read; if it rises, the log names the job.",
            ),
            queue: gauge(
                "atr_queue_messages",
                "Messages that no worker has, by lane (express for tasks of a moment, bulk for the rest): waiting, or dead letters.",
                &["lane", "state"],
            ),
            jobs: gauge("atr_jobs", "Jobs on record, and those among them that are overdue for a look.", &["state"]),
            registry,
        }
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector takes what is written to it");
        text
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each name stands on this page once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_printed_with_their_help() {
        let metrics = Metrics::new();
        metrics.kick_offs.with_label_values(&["202"]).inc();
        let text = String::from_utf8(metrics.text()).expect("the format is text");
        assert!(text.contains("# HELP atr_kick_offs_total Kick-off requests"), "{text}");
        assert!(text.contains("atr_kick_offs_total{status=\"202\"} 1"), "{text}");
    }
}
