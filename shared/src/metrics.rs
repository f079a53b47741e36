//! Every metric on one page. Its doc comment is its help text and says how to read it.
//!
//! The values of its labels are few: never a job, a client, a list or a member. Where they are listed here, a counter or a
//! histogram shows 0 for each from the start, so that the first event of its kind is seen as one.

mod kinds;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use self::kinds::Metric;

/// The programs that have metrics; each shows those that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `api-service`.
    Api,
    /// `export-worker`.
    Worker,
}

/// A metric on this page.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name; of a histogram, without its suffixes.
    pub name: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// Its labels, each with all its values; with none where they are not listed here.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// The upper bounds of the buckets of a histogram.
    pub buckets: &'static [f64],
    /// Who shows it.
    pub shown_by: &'static [Program],
}

const API: &[Program] = &[Program::Api];
const WORKER: &[Program] = &[Program::Worker];
const BOTH: &[Program] = &[Program::Api, Program::Worker];

/// The values of a label that are listed elsewhere: routes, HTTP statuses, resource types, verbs of ports.
const UNLISTED: &[&str] = &[];

/// What clients wait for.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
/// An attempt at a task: a plan, or fifty thousand resources of a slow source.
const TASK_SECONDS: &[f64] = &[0.01, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0];
/// A call of a port: up to a statement that takes as long as it may.
const CALL_SECONDS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
/// Some megabytes on their way: up to `ATR_UPLOAD_SECONDS` and its repetitions.
const PART_SECONDS: &[f64] = &[0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

/// Makes the metrics, and the table of their rows, from one list.
macro_rules! metrics {
    (@or_none) => { &[] };
    (@or_none $buckets:expr) => { $buckets };
    ($(
        $(#[doc = $help:literal])+
        $field:ident: $kind:ty = $name:literal
            $({ $($label:ident in $values:expr),+ })? $([ $buckets:expr ])? of $programs:expr;
    )+) => {
        /// The metrics of one process, in a registry of their own, so that several systems can live in one process.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $( $(#[doc = $help])+ pub $field: $kind, )+
        }

        impl Metrics {
            /// Every metric, in the order of this page.
            pub const ROWS: &[Row] = &[ $( Row {
                name: $name,
                help: concat!($($help),+),
                labels: &[ $( $( (stringify!($label), $values) ),+ )? ],
                buckets: metrics!(@or_none $($buckets)?),
                shown_by: $programs,
            } ),+ ];

            /// Fresh metrics that show those of some programs.
            #[must_use]
            pub fn of(programs: &[Program]) -> Self {
                let registry = Registry::new();
                let mut rows = Self::ROWS.iter();
                $( let $field = <$kind>::registered(rows.next(), programs, &registry); )+
                let metrics = Self { registry, $($field),+ };
                metrics.begin();
                metrics
            }
        }
    };
}

metrics! {
    /// 1 for the version of the program that runs.
    build: IntGaugeVec = "atr_build_info" { version in UNLISTED } of BOTH;

    /// Kick-off requests by HTTP status.
    kick_offs: IntCounterVec = "atr_kick_offs_total" { status in UNLISTED } of API;

    /// Seconds from request to answer by route and HTTP status; a slow poll points at the job store.
    request_seconds: HistogramVec = "atr_request_seconds" { route in UNLISTED, status in UNLISTED } [REQUEST_SECONDS] of API;

    /// Requests that were refused for who sent them or how often, by reason: no token, a token that is not good, a client that
    /// is not registered, a scope that is too small, more than the client's own lists, too much at once. Those that rise mean
    /// that a client is set up wrongly, or that somebody tries; the audit trail says who.
    refusals: IntCounterVec = "atr_refusals_total" {
        reason in &["token_missing", "token_invalid", "unregistered", "out_of_scope", "lists_only", "throttled"]
    } of API;

    /// Requests for access tokens by outcome: issued, unavailable, or the error; errors that rise mean that somebody's key,
    /// clock or scope is wrong, and the audit trail says whose.
    tokens: IntCounterVec = "atr_tokens_total" { outcome in TOKEN_OUTCOMES } of API;

    /// 1 when the register of clients or the certificate on the disk cannot be used, so that what it said before is still in
    /// force; the log says why.
    reload_failing: IntGaugeVec = "atr_reload_failing" { file in &["clients", "certificate"] } of API;

    /// Events of the audit trail by outcome: recorded; late, which may still be written; lost. There should be none but the
    /// first.
    audit_events: IntCounterVec = "atr_audit_events_total" { outcome in &["recorded", "late", "lost"] } of API;

    /// Links to files that were signed for clients.
    links: IntCounter = "atr_links_signed_total" of API;

    /// Jobs on record by state; those that have ended stay until they are removed. It is the whole system's: each API says the
    /// same, and nothing while the job store cannot be asked.
    jobs: IntGaugeVec = "atr_jobs" { state in JOB_STATES } of API;

    /// Jobs that somebody should have looked at already; not 0 for long means that no worker lives, or none reaches the job
    /// store. It is the whole system's, as atr_jobs is.
    jobs_overdue: IntGaugeVec = "atr_jobs_overdue" of API;

    /// Seconds for which the oldest of the overdue jobs has been waiting; 0 when there is none. It is the whole system's, as
    /// atr_jobs is.
    oldest_due_seconds: GaugeVec = "atr_oldest_due_seconds" of API;

    /// Messages that no worker has, by lane (express for tasks of a moment, bulk for the rest): waiting, or dead letters, of
    /// which there should be none. It is the whole system's: each API says the same, and nothing while the broker cannot be
    /// asked.
    queue: IntGaugeVec = "atr_queue_messages" { lane in &["express", "bulk"], state in &["waiting", "dead"] } of API;

    /// Jobs that came to an end, by state, counted by whoever ended them.
    jobs_ended: IntCounterVec = "atr_jobs_ended_total" { state in &["completed", "failed", "cancelled"] } of BOTH;

    /// Attempts at tasks by kind and outcome; retried and buried ones want a look.
    attempts: IntCounterVec = "atr_task_attempts_total" {
        kind in TASK_KINDS, outcome in &["completed", "stopped", "handed_back", "retried", "buried"]
    } of WORKER;

    /// Seconds that an attempt at a task took, by kind.
    attempt_seconds: HistogramVec = "atr_task_attempt_seconds" { kind in TASK_KINDS } [TASK_SECONDS] of WORKER;

    /// Tasks that this worker works on now.
    working: IntGauge = "atr_tasks_working" of WORKER;

    /// Resources in files of completed tasks, a line each, by type.
    lines: IntCounterVec = "atr_lines_written_total" { type in UNLISTED } of WORKER;

    /// Bytes in files of completed tasks, by type of the resources.
    bytes: IntCounterVec = "atr_bytes_written_total" { type in UNLISTED } of WORKER;

    /// Seconds that the upload of a part took, or of a file that fits in one, with its repetitions, by outcome. What is slow
    /// here holds up the reading of the source.
    part_seconds: HistogramVec = "atr_part_upload_seconds" { outcome in &["ok", "failed"] } [PART_SECONDS] of WORKER;

    /// Tasks that were due and published again; more than a few a minute means lost workers or a broker in trouble.
    republished: IntCounter = "atr_tasks_republished_total" of WORKER;

    /// Rows of the source that are not the JSON of the resource that they should be, by type, each time that an export came
    /// upon one; the error files name them.
    unreadable_resources: IntCounterVec = "atr_unreadable_resources_total" { type in READ_TYPES } of WORKER;

    /// Looks of the janitor at a job whose record in the job store cannot be read; if it rises, the log names the job.
    unreadable_jobs: IntCounter = "atr_unreadable_jobs_total" of WORKER;

    /// Whether a part of the system can be used by this process (1) or not (0), asked at each scrape: jobs is Redis, queue
    /// RabbitMQ, source PostgreSQL, outputs the object store.
    port_ready: IntGaugeVec = "atr_port_ready" { port in PORTS } of BOTH;

    /// Calls of the parts of the system by what was asked and what came of it: ok, what kind of failure, or abandoned when the
    /// caller stopped waiting. Those not ok are not all failures: not_found may be the answer.
    port_calls: IntCounterVec = "atr_port_calls_total" { port in PORTS, verb in UNLISTED, outcome in CALL_OUTCOMES } of BOTH;

    /// Seconds that a call of a part of the system took, by what was asked.
    port_seconds: HistogramVec = "atr_port_call_seconds" { port in PORTS, verb in UNLISTED } [CALL_SECONDS] of BOTH;

    /// Requests to the payer's FHIR server, where that is the source, by what came of them: answered; missing, which may be the
    /// answer; refused; too_much at a time, so that less is asked for; patience, which it asks for; failed.
    fhir_requests: IntCounterVec = "atr_fhir_requests_total" { outcome in FHIR_OUTCOMES } of BOTH;

    /// Seconds from a request to the payer's FHIR server to the end of its answer, of those that are answered.
    fhir_request_seconds: HistogramVec = "atr_fhir_request_seconds" [CALL_SECONDS] of BOTH;

    /// How often the payer's FHIR server has asked this process for patience; each time, all processes have it.
    fhir_pauses: IntCounter = "atr_fhir_pauses_total" of BOTH;

    /// 1 when the payer's FHIR server has failed again and again, so that this process leaves it alone for a while.
    fhir_circuit_open: IntGauge = "atr_fhir_circuit_open" of BOTH;

    /// How many ids this process asks the payer's FHIR server for at a time; fewer than ATR_SOURCE_REQUEST_IDS when that was too
    /// much for it. 0 where another source is in use.
    fhir_request_ids: IntGauge = "atr_fhir_request_ids" of BOTH;
}

const FHIR_OUTCOMES: &[&str] = &["answered", "missing", "refused", "too_much", "patience", "failed"];

/// Two of our own, and the codes of RFC 6749 §5.2 that there are reasons for.
const TOKEN_OUTCOMES: &[&str] =
    &["issued", "unavailable", "invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope"];
/// [`ResourceType::ATTRIBUTION`](crate::fhir::ResourceType::ATTRIBUTION): what the source is asked for.
const READ_TYPES: &[&str] =
    &["Group", "Patient", "Coverage", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Location"];
/// As [`JobState::name`](crate::export::JobState::name) has them.
const JOB_STATES: &[&str] = &["accepted", "running", "completed", "failed", "cancelled"];
/// As [`TaskKind::name`](crate::export::TaskKind::name) has them.
const TASK_KINDS: &[&str] = &["plan", "notices", "deleted", "list", "listed", "chosen", "scan"];
/// As [`Port::name`](crate::measured::Port::name) has them.
const PORTS: &[&str] = &["jobs", "queue", "source", "outputs"];
/// As [`Fault`](crate::fault::Fault)s have their kinds, and two more.
const CALL_OUTCOMES: &[&str] =
    &["ok", "not_found", "conflict", "busy", "unavailable", "invalid", "corrupt", "abandoned"];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Fresh metrics that show everything: for a process that is the whole system.
    #[must_use]
    pub fn new() -> Self {
        Self::of(BOTH)
    }

    /// What is known from the start.
    fn begin(&self) {
        self.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(ProcessCollector::for_self())).expect("its names are its own");
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector takes what is written to it");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{JobState, Slice, TaskKind};
    use crate::fault::FaultKind;
    use crate::fhir::ResourceType;
    use crate::measured::Port;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.text()).expect("the format is text")
    }

    #[test]
    fn metrics_are_printed_with_their_help() {
        let metrics = Metrics::new();
        metrics.kick_offs.with_label_values(&["202"]).inc();
        let text = text(&metrics);
        assert!(text.contains("# HELP atr_kick_offs_total Kick-off requests by HTTP status.\n"), "{text}");
        assert!(text.contains("atr_kick_offs_total{status=\"202\"} 1"), "{text}");
    }

    #[test]
    fn each_program_shows_its_own_with_0_for_what_has_not_happened_yet() {
        let (api, worker) = (text(&Metrics::of(API)), text(&Metrics::of(WORKER)));
        let (ended, lost) = ("atr_jobs_ended_total{state=\"failed\"} 0", "atr_audit_events_total{outcome=\"lost\"} 0");
        assert!(api.contains(ended) && worker.contains(ended), "both end jobs");
        assert!(api.contains(lost) && !worker.contains("atr_audit_events_total"), "the API keeps the audit trail");
        assert!(worker.contains("atr_task_attempts_total{kind=\"plan\",outcome=\"buried\"} 0"), "{worker}");
        assert!(!api.contains("atr_task_attempts_total"), "the API works on no task");
    }

    #[test]
    fn a_gauge_shows_nothing_before_it_is_measured() {
        assert!(!text(&Metrics::new()).contains("atr_jobs{"));
    }

    #[test]
    fn the_labels_have_the_words_of_the_types_that_they_show() {
        assert_eq!(JOB_STATES, JobState::ALL.map(JobState::name));
        assert_eq!(READ_TYPES, ResourceType::ATTRIBUTION.map(ResourceType::name));
        let id = "a".parse().expect("an id");
        let slice = Slice { resource_type: ResourceType::PATIENT, after: None, through: id, ids: 1 };
        let kinds = [
            TaskKind::Plan,
            TaskKind::Notices,
            TaskKind::Deleted,
            TaskKind::List { members: 1 },
            TaskKind::Listed(slice.clone()),
            TaskKind::Chosen { patients: 1 },
            TaskKind::Scan(slice),
        ];
        assert_eq!(TASK_KINDS, kinds.map(|kind| kind.name()));
        assert_eq!(PORTS, Port::ALL.map(Port::name));
        assert_eq!(CALL_OUTCOMES[1..CALL_OUTCOMES.len() - 1], FaultKind::ALL.map(FaultKind::name));
    }
}
