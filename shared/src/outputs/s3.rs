//! Objects in S3, and in every store that speaks it.
//!
//! Objects lie at `{prefix}/{namespace}/{job}/{Type}/{task}.{attempt}.{n}.ndjson`, and what the tasks of a job share at
//! `{prefix}/{namespace}/{job}/kept/{name}`. Read `address` for how a bucket is named,
//! `bucket` for what is said to the store, `writer` for how an object gets there in parts, `links` for how it is signed for
//! download, `faults` for what failures mean.
//!
//! The store is given a time for everything, since the SDK on its own waits for ever (parts.md §2.2): `connect_timeout` for a
//! connection, `attempt_timeout` for one request, `operation_timeout` for a request and its repetitions. Within them, what
//! is transient is tried `attempts` times, with back-off; only then does a call fail.

mod address;
mod bucket;
mod faults;
mod links;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials as Keys, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use prometheus::HistogramVec;
use tokio::time::timeout;
use url::Url;

use self::address::is_name;
pub use self::address::{Checksums, NotAnS3Address, S3Address};
use self::bucket::Bucket;
use self::links::Links;
use self::writer::Writer;
use super::{Link, LinkMethod, OutputStore, OutputWriter};
use crate::export::{Encoding, JobId, OutputKey};
use crate::fault::{Fault, FaultKind};
use crate::wire::is_exposed;

/// The smallest part that S3 takes, but for the last of an object.
const SMALLEST_PART: usize = 5 << 20;

/// How long [`OutputStore::ready`] waits: it answers a probe, which has no use for a late answer.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Who signs the requests.
#[derive(Clone)]
pub enum Credentials {
    /// What AWS programs use as a rule: environment variables, a profile, web identity, the container or the machine.
    Usual,
    /// These keys.
    Static {
        /// Names them.
        access_key: String,
        /// The secret.
        secret_key: String,
    },
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("Usual"),
            Self::Static { .. } => f.write_str("Static"),
        }
    }
}

/// How objects are cut and how long the store is waited for.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The length of a part, and of what a writer holds before it sends anything: 5 MiB or more. S3 takes 10,000 parts, so
    /// it also bounds the length of an object.
    pub part_bytes: usize,
    /// How many parts of one object are under way at once. A writer holds `part_bytes * (uploads_at_once + 1)` at most.
    pub uploads_at_once: usize,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For one request: a part has to be through by then.
    pub attempt_timeout: Duration,
    /// For a request with all its repetitions.
    pub operation_timeout: Duration,
    /// How often a request is made at most, when it fails for a reason that may pass.
    pub attempts: u32,
    /// Where it is measured how long parts take, `ok` or `failed`.
    pub part_seconds: Option<HistogramVec>,
}

impl Default for S3Settings {
    /// 8 MiB, two at once: about what keeps one connection busy while the next part is filled. A minute for a request is
    /// 140 kB/s for a part.
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            uploads_at_once: 2,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_mins(1),
            operation_timeout: Duration::from_mins(3),
            attempts: 4,
            part_seconds: None,
        }
    }
}

/// An [`OutputStore`] in a bucket.
pub struct S3Outputs {
    bucket: Arc<Bucket>,
    links: Links,
    /// What the names of all objects begin with: ends with a slash, or is empty.
    root: String,
    settings: S3Settings,
}

impl S3Outputs {
    /// A store at an address. The objects of a `namespace` (letters, digits, `._-`) are apart from those of every other.
    ///
    /// The store itself is not asked for anything yet; [`OutputStore::ready`] tells whether it and its bucket are there.
    /// Fails with `Invalid` when the settings make no sense or no region is known.
    pub async fn connect(
        address: &S3Address,
        namespace: &str,
        credentials: Credentials,
        settings: &S3Settings,
    ) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::new(FaultKind::Invalid, "failed to set up the object store").because(what);
        if settings.part_bytes < SMALLEST_PART {
            return Err(wrong(format!("part_bytes is {}, S3 takes {SMALLEST_PART} or more", settings.part_bytes)));
        }
        if settings.uploads_at_once == 0 || settings.attempts == 0 {
            return Err(wrong("uploads_at_once and attempts are 1 or more".to_owned()));
        }
        if !is_name(namespace) || namespace.contains('/') {
            return Err(wrong(format!("{namespace:?} cannot be a namespace: letters, digits and ._- are taken")));
        }
        let root = match address.prefix.as_str() {
            "" => format!("{namespace}/"),
            prefix if is_name(prefix) => format!("{prefix}/{namespace}/"),
            prefix => return Err(wrong(format!("{prefix:?} cannot be a prefix"))),
        };

        let common = common_config(address, credentials).await;
        if common.region().is_none() {
            return Err(wrong("no region is set: say region=… in its address, or AWS_REGION".to_owned()));
        }
        let Some(source) = common.credentials_provider() else {
            return Err(wrong("there is nowhere to take credentials from".to_owned()));
        };
        let store = store_config(&common, address, settings);
        let public = match address.public_endpoint.as_ref() {
            Some(endpoint) => store.clone().endpoint_url(endpoint),
            None => store.clone(),
        };
        let bucket = Bucket {
            client: Client::from_conf(store.build()),
            name: address.bucket.clone(),
            signs_content: address
                .endpoint
                .as_ref()
                .and_then(|endpoint| Url::parse(endpoint).ok())
                .is_some_and(|endpoint| is_exposed(&endpoint)),
            part_seconds: settings.part_seconds.clone(),
        };
        Ok(Self {
            links: Links::new(public, source, &address.bucket),
            bucket: Arc::new(bucket),
            root,
            settings: settings.clone(),
        })
    }

    /// How many uploads of a job were begun and are not finished: what [`OutputStore::abandon_uploads`] would give up.
    pub async fn unfinished_uploads(&self, job: JobId) -> Result<usize, Fault> {
        Ok(self.bucket.unfinished(&self.folder(job)).await?.len())
    }

    /// What the names of all objects that the tasks of a job share begin with.
    fn shared(&self, job: JobId) -> String {
        format!("{}kept/", self.folder(job))
    }

    fn object(&self, key: &OutputKey) -> String {
        format!("{}{key}", self.root)
    }

    /// What the names of all objects of a job begin with.
    fn folder(&self, job: JobId) -> String {
        format!("{}{job}/", self.root)
    }
}

/// The part of the settings that is AWS's own: region, credentials, and what its environment variables say.
async fn common_config(address: &S3Address, credentials: Credentials) -> SdkConfig {
    let version = BehaviorVersion::v2026_01_12();
    let region = address.region.clone().map(Region::new);
    match credentials {
        Credentials::Static { access_key, secret_key } => {
            let keys = Keys::new(access_key, secret_key, None, None, "settings");
            let keys = SharedCredentialsProvider::new(keys);
            SdkConfig::builder().behavior_version(version).region(region).credentials_provider(keys).build()
        }
        Credentials::Usual => {
            let loader = aws_config::defaults(version);
            // Given here, it is not looked for, which may mean to ask the network.
            let loader = if let Some(region) = region { loader.region(region) } else { loader };
            loader.load().await
        }
    }
}

fn store_config(common: &SdkConfig, address: &S3Address, settings: &S3Settings) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(settings.attempt_timeout)
        .operation_timeout(settings.operation_timeout);
    // For uploads it takes a store that is slow to answer for one that has stopped (parts.md §2.2.3); these have timeouts.
    let stalled_streams = StalledStreamProtectionConfig::enabled().upload_enabled(false);
    let mut config = Builder::from(common)
        .force_path_style(address.path_style)
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts))
        .stalled_stream_protection(stalled_streams.build());
    if let Some(endpoint) = &address.endpoint {
        config = config.endpoint_url(endpoint);
    }
    match address.checksums {
        Some(Checksums::WhenRequired) => config
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired),
        Some(Checksums::WhenSupported) => config
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenSupported),
        None => config,
    }
}

#[async_trait]
impl OutputStore for S3Outputs {
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        Ok(Box::new(Writer::new(Arc::clone(&self.bucket), self.object(key), encoding, &self.settings)))
    }

    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        self.links.sign(&self.object(key), method, valid).await
    }

    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        let objects = self.bucket.objects(&self.folder(job)).await?;
        let names = objects.iter().filter_map(|object| object.strip_prefix(&self.root));
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        let objects: Vec<String> = keys.iter().map(|key| self.object(key)).collect();
        self.bucket.remove(&objects).await
    }

    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault> {
        let object = format!("{}{name}", self.shared(job));
        Ok(Box::new(Writer::new(Arc::clone(&self.bucket), object, Encoding::Identity, &self.settings)))
    }

    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        self.bucket.get(format!("{}{name}", self.shared(job))).await
    }

    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault> {
        let folder = self.shared(job);
        let objects = self.bucket.objects(&folder).await?;
        Ok(objects.iter().filter_map(|object| object.strip_prefix(&folder)).map(str::to_owned).collect())
    }

    async fn drop_kept(&self, job: JobId) -> Result<(), Fault> {
        let objects = self.bucket.objects(&self.shared(job)).await?;
        self.bucket.remove(&objects).await
    }

    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        // Uploads first: one of them could become an object otherwise after the objects were listed.
        self.abandon_uploads(job).await?;
        let objects = self.bucket.objects(&self.folder(job)).await?;
        self.bucket.remove(&objects).await
    }

    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        for upload in self.bucket.unfinished(&self.folder(job)).await? {
            self.bucket.abort(&upload.object, &upload.id).await?;
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), Fault> {
        match timeout(READY_WITHIN, self.bucket.look(&self.root)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new(
                FaultKind::Unavailable,
                format!("the bucket {} did not answer within {} s", self.bucket.name, READY_WITHIN.as_secs()),
            )),
        }
    }
}
