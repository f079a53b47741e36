//! Logs: one vocabulary of fields (`job.id`, `task.no`, `attempt`), ids and counts and durations, and of people nothing.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{LogFormat, Settings, WrongSetting};

/// Libraries that log what strangers send or what their callers handle. `ATR_LOG` may name them to hear them.
const QUIET: &str = "actix_http=off,actix_server=off,lapin=off";

/// Sends the logs of this process to standard error, in the format and to the depth that the settings say.
pub fn init(settings: &Settings) -> Result<(), WrongSetting> {
    init_with(settings, std::io::stderr)
}

/// As [`init`], with another place for the logs.
pub fn init_with<W>(settings: &Settings, writer: W) -> Result<(), WrongSetting>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_new(format!("{QUIET},{}", settings.log)).map_err(|error| WrongSetting::of("log", error))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let set = match settings.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| WrongSetting::of("log", error))
}
