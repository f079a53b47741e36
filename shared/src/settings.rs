//! Every setting on one page: what it is called, what it means, what it is when nobody says.
//!
//! Settings come from an optional TOML file (named by `ATR_CONFIG`) and from variables `ATR_<NAME>`, which win. A setting
//! that is wrong or unknown stops the start with one line that names it. Units stand in the names.

use std::fmt;
use std::path::PathBuf;

use config::{Config, ConfigError, Environment, File, FileFormat};
use serde::Deserialize;
use thiserror::Error;

mod rules;
mod source_server;

pub use self::source_server::{SourceAccess, SourceServer};

/// Where this server's own token endpoint is, below the FHIR base.
pub const OWN_TOKEN_PATH: &str = "auth/token";

/// What is asked for at the token endpoint of the payer's FHIR server, when nobody says.
const SOURCE_SCOPE: &str = "system/*.read";

/// The settings of both services; each uses the part that it needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `ATR_LISTEN`: the address of the API.
    pub listen: String,
    /// `ATR_ADMIN_LISTEN`: the address of `/metrics` and `/health`; not for the outside.
    pub admin_listen: String,
    /// `ATR_PUBLIC_URL`: the FHIR base as clients see it, with its path; all URLs in answers begin with it.
    pub public_url: String,
    /// `ATR_OWN_URLS`: further base URLs, separated by commas, under which the data refers to this server's resources.
    pub own_urls: String,
    /// `ATR_JOBS_URL`: the job store, `redis://…` or `rediss://…`.
    pub jobs_url: String,
    /// `ATR_QUEUE_URL`: the task queue, `amqp://…` or `amqps://…`.
    pub queue_url: String,
    /// `ATR_SOURCE_URL`: the payer's data, `postgres://…`, or a FHIR server, `https://host/path`, with `user:password@` before
    /// the host where it asks for them (percent-encoded).
    pub source_url: String,
    /// `ATR_SOURCE_TOKEN_FILE`: the access token (one line) that is sent to the FHIR server of `ATR_SOURCE_URL`; read for each
    /// request, so that it may be exchanged at any time.
    pub source_token_file: PathBuf,
    /// `ATR_SOURCE_CLIENT_ID`: the client as which this system is registered there, to get access tokens for itself (SMART
    /// Backend Services).
    pub source_client_id: String,
    /// `ATR_SOURCE_CLIENT_KEY_FILE`: the private key of that client (PEM, RSA or P-384), whose public half is registered there
    /// under its thumbprint (RFC 7638); read for each access token.
    pub source_client_key_file: PathBuf,
    /// `ATR_SOURCE_TOKEN_URL`: where that client gets access tokens; without it, where `.well-known/smart-configuration` below
    /// `ATR_SOURCE_URL` says.
    pub source_token_url: String,
    /// `ATR_SOURCE_SCOPE`: the scopes that it asks for, separated by spaces. If not said all types, since references lead to any,
    /// for reading only, in the form that servers of SMART 1 and 2 know; one that knows the new form alone wants `system/*.rs`.
    pub source_scope: String,
    /// `ATR_SOURCE_CERTIFICATE_FILE`: the certificate, with its chain (PEM), that this system shows as a client to the FHIR
    /// server and to where it gets access tokens; read at the start.
    pub source_certificate_file: PathBuf,
    /// `ATR_SOURCE_KEY_FILE`: the private key of that certificate (PEM); read at the start.
    pub source_key_file: PathBuf,
    /// `ATR_SOURCE_REQUEST_IDS`: how many resources the payer's FHIR server is asked for at a time; fewer as long as that is too
    /// much for it.
    pub source_request_ids: usize,
    /// `ATR_SOURCE_ANSWER_SECONDS`: how long to wait for the payer's FHIR server to begin an answer, and to go on with it.
    pub source_answer_seconds: u64,
    /// `ATR_SOURCE_SETTLE_SECONDS`: how long a write of the payer's FHIR server may take from its `meta.lastUpdated` until it
    /// can be seen; the transaction time of a job lies so far back, so that the next job with `_since` misses nothing.
    pub source_settle_seconds: u64,
    /// `ATR_OUTPUTS_URL`: the object store, `s3://bucket/prefix?endpoint=…&region=…&path_style=true`.
    pub outputs_url: String,
    /// `ATR_NAMESPACE`: prefixes keys, queues and objects, so that several systems share one set of servers.
    pub namespace: String,
    /// `ATR_LINKS`: how clients download; gated if not said where tokens are asked for, signed where they are not.
    pub links: Option<Links>,
    /// `ATR_ACCESS`: who may call.
    pub access: Option<Access>,
    /// `ATR_TOKEN_URL`: where clients get access tokens, as discovery tells them: the issuer's endpoint, or another name of
    /// this server's own.
    pub token_url: String,
    /// `ATR_CLIENTS_FILE`: the register of clients and their rights (`access/clients.rs`); read again when it changes.
    pub clients_file: PathBuf,
    /// `ATR_RELOAD_SECONDS`: how often the register of clients and the certificate are looked at for changes.
    pub reload_seconds: u64,
    /// `ATR_FETCH_KEYS_SECONDS`: how long fetching the public keys of a client or an issuer may take.
    pub fetch_keys_seconds: u64,
    /// `ATR_AUTHORITIES_FILE`: certificates (PEM) that are trusted beside those of the system when keys are fetched, and when
    /// the FHIR server of `ATR_SOURCE_URL` is called, or asked for access tokens; read at the start.
    pub authorities_file: PathBuf,
    /// `ATR_TLS_CERTIFICATE_FILE`: the certificate of the API with its chain (PEM); without one it speaks plain HTTP.
    pub tls_certificate_file: PathBuf,
    /// `ATR_TLS_KEY_FILE`: the private key of that certificate (PEM).
    pub tls_key_file: PathBuf,
    /// `ATR_AUDIT`: where the audit trail goes: `stdout`, `file:PATH`, or `none`.
    pub audit: String,
    /// `ATR_AUDIT_REQUIRED`: whether a request fails whose event cannot be recorded; else the loss is logged and counted.
    pub audit_required: bool,
    /// `ATR_REQUIRE_HEADERS`: whether a kick-off must have `Prefer: respond-async` and an `Accept` that admits FHIR as JSON.
    pub require_headers: bool,
    /// `ATR_JOBS_PER_CLIENT`: how many living jobs a client may have; a kick-off beyond that is answered with 429.
    pub jobs_per_client: u64,
    /// `ATR_POLLS_PER_MINUTE`: how often a client may poll a job, for long; each replica of the API counts by itself.
    pub polls_per_minute: u32,
    /// `ATR_POLL_BURST`: how many polls of a job may come at once, before `ATR_POLLS_PER_MINUTE` holds.
    pub poll_burst: u32,
    /// `ATR_LINK_SECONDS`: how long a signed link in a manifest is good for; each poll signs new ones.
    pub link_seconds: u64,
    /// `ATR_RETENTION_SECONDS`: how long after its end a job can be polled and its gated files be had. Its files and its record
    /// go `ATR_LINGER_SECONDS` later.
    pub retention_seconds: u64,
    /// `ATR_LINGER_SECONDS`: how much longer its files stay than its manifest says, for downloads that begin just before the
    /// end and for clocks that differ. A redirect to a gated file is good for 300 seconds.
    pub linger_seconds: u64,
    /// `ATR_SLICE_IDS`: how many ids of one type a task takes at most, and a file holds as a rule. With 1,000 or fewer every
    /// task counts as one of a moment (decision 0018).
    pub slice_ids: u64,
    /// `ATR_PAGE_IDS`: how many resources a worker reads from the source at a time.
    pub page_ids: u32,
    /// `ATR_FILE_BYTES`: a file that has grown to this size is followed by another.
    pub file_bytes: u64,
    /// `ATR_PART_BYTES`: the size of a part of a multipart upload, 5 MiB or more.
    pub part_bytes: usize,
    /// `ATR_WINDOW`: how many tasks of one job may be on the queues while nothing waits there, and so how many permits of
    /// all workers together it can use (decision 0018).
    pub window: u32,
    /// `ATR_PERMITS`: how many tasks a worker works on at a time.
    pub permits: u16,
    /// `ATR_EXPRESS_PERMITS`: how many tasks of a moment a worker works on beside them (decision 0018).
    pub express_permits: u16,
    /// `ATR_TASK_ATTEMPTS`: how often a task is started before its job fails.
    pub task_attempts: u32,
    /// `ATR_UNPUBLISHED_DUE_SECONDS`: when a recorded task is published again that nobody has published.
    pub unpublished_due_seconds: u64,
    /// `ATR_PUBLISHED_DUE_SECONDS`: when a published task is published again that nobody has started.
    pub published_due_seconds: u64,
    /// `ATR_WORKING_DUE_SECONDS`: when a started task is published again whose worker has not been heard of.
    pub working_due_seconds: u64,
    /// `ATR_JANITOR_SECONDS`: how often a worker looks for due work.
    pub janitor_seconds: u64,
    /// `ATR_SOURCE_CONNECTIONS`: how many connections a process opens to the source, and so how many requests it makes at once.
    pub source_connections: usize,
    /// `ATR_CALL_SECONDS`: how long one call of Redis or RabbitMQ, a connection to PostgreSQL, or a write to the audit trail may
    /// take; a statement of PostgreSQL may take six times as long.
    pub call_seconds: u64,
    /// `ATR_UPLOAD_SECONDS`: how long the upload of one part may take.
    pub upload_seconds: u64,
    /// `ATR_BODY_BYTES`: the longest request body that the API reads.
    pub body_bytes: usize,
    /// `ATR_GRACE_SECONDS`: how long a service that is told to stop finishes what it has begun.
    pub grace_seconds: u64,
    /// `ATR_LOG`: what is logged, as a filter of `tracing`: `info`, `warn,export_worker=debug`.
    pub log: String,
    /// `ATR_LOG_FORMAT`: how it is logged: `text`, or `json` for machines.
    pub log_format: LogFormat,
    /// `ATR_OTLP_URL`: the collector that spans of traces are sent to, by OTLP over HTTP: `http://collector:4318`, below which
    /// `/v1/traces` is. Without one none are made.
    pub otlp_url: String,
    /// `ATR_TRACE_RATIO`: how many of the traces that begin here are kept, 0 to 1. Of those that begin with the client its
    /// `traceparent` says.
    pub trace_ratio: f64,
}

/// How clients download files (standards §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// Pre-signed links to the object store; `requiresAccessToken` is false.
    Signed,
    /// Links to the API, which checks the caller and redirects; `requiresAccessToken` is true, as ATR asks for.
    Gated,
}

/// Who may call the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Registered clients, with tokens that this server gives them (SMART Backend Services).
    Smart,
    /// Registered clients, with tokens of other issuers.
    External,
    /// Everybody who can reach it may export everything: for a laptop.
    OpenToEverybody,
}

/// Where the audit trail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditStream {
    /// To standard output, on which nothing else is written; logs go to standard error.
    Stdout,
    /// To the end of this file, which may be moved away at any time.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: "127.0.0.1:9464".to_owned(),
            public_url: String::new(),
            own_urls: String::new(),
            jobs_url: String::new(),
            queue_url: String::new(),
            source_url: String::new(),
            source_token_file: PathBuf::new(),
            source_client_id: String::new(),
            source_client_key_file: PathBuf::new(),
            source_token_url: String::new(),
            source_scope: SOURCE_SCOPE.to_owned(),
            source_certificate_file: PathBuf::new(),
            source_key_file: PathBuf::new(),
            source_request_ids: 200,
            source_answer_seconds: 30,
            source_settle_seconds: 10,
            outputs_url: String::new(),
            namespace: "atr".to_owned(),
            links: None,
            access: None,
            token_url: String::new(),
            clients_file: PathBuf::new(),
            reload_seconds: 5,
            fetch_keys_seconds: 5,
            authorities_file: PathBuf::new(),
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            audit: "stdout".to_owned(),
            audit_required: false,
            require_headers: true,
            jobs_per_client: 20,
            polls_per_minute: 60,
            poll_burst: 20,
            link_seconds: 3_600,
            retention_seconds: 86_400,
            linger_seconds: 300,
            slice_ids: 50_000,
            page_ids: 2_000,
            file_bytes: 1 << 30,
            part_bytes: 8 << 20,
            window: 16,
            permits: 2,
            express_permits: 2,
            task_attempts: 5,
            unpublished_due_seconds: 10,
            published_due_seconds: 300,
            working_due_seconds: 30,
            janitor_seconds: 1,
            source_connections: 8,
            call_seconds: 10,
            upload_seconds: 60,
            body_bytes: 1 << 20,
            grace_seconds: 25,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            otlp_url: String::new(),
            trace_ratio: 1.0,
        }
    }
}

/// A setting that the program cannot start with; one line that names it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct WrongSetting(String);

impl WrongSetting {
    /// What is wrong with the setting of this name (as in the file: `public_url`).
    pub fn of(name: &str, what: impl fmt::Display) -> Self {
        Self(format!("wrong setting ATR_{}: {what}", name.to_uppercase()))
    }
}

impl Settings {
    /// Reads the settings of this process: the file that `ATR_CONFIG` names, if any, then the variables `ATR_*`.
    pub fn read() -> Result<Self, WrongSetting> {
        // A variable that is not UTF-8 cannot be one of ours to take, but it can be one of ours to complain about.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("ATR_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::from_variables(variables)
    }

    /// Reads the settings from variables `ATR_*`; others are passed over.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, WrongSetting> {
        let mut variables: std::collections::HashMap<String, String> = variables.into_iter().collect();
        let file = variables.remove("ATR_CONFIG").map(PathBuf::from);
        let mut builder = Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        // `try_parsing` would turn a password `0123` into the number 123; serde reads numbers from text all the same.
        let environment =
            Environment::with_prefix("ATR").prefix_separator("_").try_parsing(false).source(Some(variables));
        let config = builder.add_source(environment).build().map_err(|error| WrongSetting(describe(&error)))?;
        let settings: Self = config.try_deserialize().map_err(|error| WrongSetting(describe(&error)))?;
        settings.check()?;
        Ok(settings)
    }
}

/// One line that names the setting. The values themselves may be secrets and are left out.
fn describe(error: &ConfigError) -> String {
    let name_of = |key: &str| format!("ATR_{}", key.to_uppercase());
    match error {
        ConfigError::At { key: Some(key), .. } | ConfigError::Type { key: Some(key), .. } => {
            let choices = [
                ("links", "signed or gated"),
                (
                    "access",
                    "smart (this server gives out tokens), external (other issuers do), or open-to-everybody: no token, every list for whoever can reach it",
                ),
                ("log_format", "text or json"),
                ("trace_ratio", "a number from 0 to 1"),
                ("require_headers", "true or false"),
                ("audit_required", "true or false"),
            ];
            let choice = choices.iter().find(|(name, _)| name == key);
            let what = choice.map_or("a whole number, not negative", |(_, words)| words);
            format!("wrong setting {}: it must be {what}", name_of(key))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            match text.split('`').nth(1).filter(|_| text.contains("unknown field")) {
                Some(name) => {
                    format!("unknown setting {}: there is none of this name (in a file: `{name}`)", name_of(name))
                }
                None => format!("wrong settings in the file that ATR_CONFIG names: {first}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from_variables(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn without_variables_every_setting_has_its_default() {
        let settings = read(&[]).expect("the defaults are valid");
        assert_eq!(settings.public_base().map(String::from), Ok("http://127.0.0.1:8080/fhir".to_owned()));
    }

    #[test]
    fn variables_are_read_as_text_numbers_and_words() {
        let settings = read(&[
            ("ATR_LISTEN", "0.0.0.0:80"),
            ("ATR_PERMITS", "7"),
            ("ATR_LINKS", "gated"),
            ("ATR_ACCESS", "open-to-everybody"),
            ("ATR_REQUIRE_HEADERS", "false"),
            ("ATR_QUEUE_URL", "amqp://u:0123@h"),
            ("ATR_PUBLIC_URL", "https://api.example.org/r4/"),
        ])
        .expect("they are valid");
        assert_eq!(
            (settings.permits, settings.links, settings.access),
            (7, Some(Links::Gated), Some(Access::OpenToEverybody))
        );
        assert!(!settings.require_headers);
        assert_eq!(settings.queue_url, "amqp://u:0123@h");
        assert_eq!(settings.public_base().map(String::from), Ok("https://api.example.org/r4".to_owned()));
    }

    #[test]
    fn a_wrong_or_unknown_setting_is_named_in_one_line() {
        for (name, value, part) in [
            ("ATR_PERMITS", "many", "ATR_PERMITS"),
            ("ATR_PERMITS", "0", "ATR_PERMITS"),
            ("ATR_LINKS", "loose", "ATR_LINKS"),
            ("ATR_PUBLIC_URL", "ftp://x", "ATR_PUBLIC_URL"),
            ("ATR_PUBLIC_URL", "not a url", "ATR_PUBLIC_URL"),
            ("ATR_TOKEN_URL", "/token", "ATR_TOKEN_URL"),
            ("ATR_TOKEN_URL", "ftp://x/token", "ATR_TOKEN_URL"),
            ("ATR_PREMITS", "7", "ATR_PREMITS"),
            ("ATR_NAMESPACE", "a b", "ATR_NAMESPACE"),
            ("ATR_PART_BYTES", "10", "ATR_PART_BYTES"),
            ("ATR_CONFIG", "/nowhere.toml", "ATR_CONFIG"),
            ("ATR_CONFIG", "/dev/null/x", "ATR_CONFIG"),
            ("ATR_LINKS", "loose", "signed or gated"),
            ("ATR_WINDOW", "1.5", "whole number"),
            ("ATR_ACCESS", "yes", "ATR_ACCESS"),
            ("ATR_ACCESS", "open", "open-to-everybody"),
            ("ATR_AUDIT", "syslog", "ATR_AUDIT"),
            ("ATR_AUDIT", "file:", "ATR_AUDIT"),
            ("ATR_AUDIT_REQUIRED", "perhaps", "true or false"),
            ("ATR_TLS_KEY_FILE", "key.pem", "ATR_TLS_CERTIFICATE_FILE"),
            ("ATR_TLS_CERTIFICATE_FILE", "cert.pem", "ATR_TLS_KEY_FILE"),
            ("ATR_REQUIRE_HEADERS", "perhaps", "true or false"),
            ("ATR_POLL_BURST", "0", "ATR_POLL_BURST"),
        ] {
            let line = read(&[(name, value)]).expect_err(name);
            assert!(line.contains(part) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_file_is_read_and_variables_win() {
        let file = std::env::temp_dir().join(format!("atr-settings-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&file, "permits = 3\nwindow = 9\n").expect("the folder for temporary files can be written to");
        let settings = read(&[("ATR_CONFIG", &file.to_string_lossy()), ("ATR_WINDOW", "2")]);
        std::fs::remove_file(&file).expect("it was written just now");
        assert_eq!(settings.map(|settings| (settings.permits, settings.window)), Ok((3, 2)));
    }
}
