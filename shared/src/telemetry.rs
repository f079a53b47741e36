//! What a process tells of itself besides its metrics: logs, and spans of traces.
//!
//! Logs have one vocabulary of fields (docs/OPERATIONS.md lists it): ids of jobs, tasks and lists, counts and durations, and
//! of people nothing. Spans have the same ids; see [`trace`].

pub mod trace;

use std::time::Duration;

use json_subscriber::JsonLayer;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, registry};

use crate::settings::{LogFormat, Settings, WrongSetting};

/// Libraries that log what strangers send, what they are asked for, or what their callers handle. `ATR_LOG` may name them to
/// hear them; what they say then may be about people.
const QUIET: &str = "actix_http=off,actix_server=off,lapin=off,opentelemetry=warn,tokio_postgres=info";

/// How long the last spans may take to reach the collector when a process ends.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// What has to be ended with the process: the way to the collector, if there is one.
#[must_use]
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// Sends what spans are left.
    pub async fn stop(self) {
        // The exporter has a thread of its own, for which this one would wait.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIME)).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// Sends the logs of this process to standard error, in the format and to the depth that the settings say, and the spans of
/// the `program` to the collector that they name.
pub fn init(program: &'static str, settings: &Settings) -> Result<Telemetry, WrongSetting> {
    init_logs(settings, std::io::stderr)?;
    init_traces(program, settings)
}

/// Sends the logs of this process somewhere.
pub fn init_logs<W>(settings: &Settings, writer: W) -> Result<(), WrongSetting>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_new(format!("{QUIET},{}", settings.log)).map_err(|error| WrongSetting::of("log", error))?;
    let set = match settings.log_format {
        LogFormat::Text => {
            let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
            registry().with(filter).with(lines).try_init()
        }
        LogFormat::Json => {
            let mut lines = JsonLayer::new(writer);
            lines.with_timer("timestamp", SystemTime);
            lines.with_level("level").with_target("target");
            lines.with_flattened_event();
            lines.add_dynamic_field("trace.id", |_, _| trace::id());
            registry().with(filter).with(lines).try_init()
        }
    };
    set.map_err(|error| WrongSetting::of("log", error))
}

/// Every request and every attempt has the id of a trace, so that logs can be put together by it; spans are kept and sent
/// where there is a collector.
fn init_traces(program: &'static str, settings: &Settings) -> Result<Telemetry, WrongSetting> {
    let identity = [
        KeyValue::new("service.name", program),
        KeyValue::new("service.namespace", settings.namespace.clone()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    // OTEL_RESOURCE_ATTRIBUTES adds to it, the name of a pod for example.
    let resource = Resource::builder().with_attributes(identity).build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    let provider = match settings.otlp_endpoint()? {
        None => provider.with_sampler(Sampler::AlwaysOff).build(),
        Some(endpoint) => {
            let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint.as_str());
            let exporter = exporter.with_timeout(Duration::from_secs(settings.call_seconds)).build();
            let exporter = exporter.map_err(|error| WrongSetting::of("otlp_url", error))?;
            // Who asks may have decided already whether the trace is kept (W3C Trace Context, "sampled").
            let ratio = Sampler::TraceIdRatioBased(settings.trace_ratio);
            provider.with_sampler(Sampler::ParentBased(Box::new(ratio))).with_batch_exporter(exporter).build()
        }
    };
    global::set_tracer_provider(provider.clone());
    Ok(Telemetry(provider))
}
