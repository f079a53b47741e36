//! A store of its own for each test, and a client for it.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use devstore::{Devstore, Settings, Storage};
use tempfile::TempDir;

/// The bucket that is there from the start.
pub const BUCKET: &str = "exports";
/// The secret that the store knows.
pub const SECRET: &str = "devsecret123";
/// The smallest part that need not be the last.
pub const PART: usize = 5 * 1024 * 1024;

/// A store and a client that never retries.
pub struct Trial {
    pub store: Devstore,
    pub s3: Client,
    pub folder: Option<TempDir>,
}

impl Trial {
    pub async fn in_memory() -> Self {
        Self::start(Storage::Memory, None).await
    }

    pub async fn in_folder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start(Storage::Folder(folder.path().to_owned()), Some(folder)).await
    }

    async fn start(storage: Storage, folder: Option<TempDir>) -> Self {
        let store = Devstore::start(settings(storage)).await.expect("the store starts");
        let s3 = client(&store, SECRET, RetryConfig::disabled());
        Self { store, s3, folder }
    }

    /// The same folder, after the store has ended and another was started on it.
    pub async fn restarted(self) -> Self {
        self.store.stop().await;
        let folder = self.folder.expect("only a folder outlives its store");
        Self::start(Storage::Folder(folder.path().to_owned()), Some(folder)).await
    }

    pub async fn end(self) {
        self.store.stop().await;
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let put = self.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.into()));
        put.send().await.expect("the object is stored").e_tag.expect("S3 gives an ETag")
    }

    /// The body of an object.
    pub async fn body(&self, key: &str) -> Vec<u8> {
        let found = self.s3.get_object().bucket(BUCKET).key(key).send().await.expect("the object is there");
        found.body.collect().await.expect("the body comes whole").to_vec()
    }

    pub async fn is_there(&self, key: &str) -> bool {
        self.s3.head_object().bucket(BUCKET).key(key).send().await.is_ok()
    }

    pub fn get(&self, key: &str) -> GetObjectFluentBuilder {
        self.s3.get_object().bucket(BUCKET).key(key)
    }

    /// Begins an upload and gives its id.
    pub async fn begin(&self, key: &str) -> String {
        let begun = self.s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("an upload begins");
        begun.upload_id.expect("S3 gives an id")
    }

    /// Uploads a part and gives its ETag.
    pub async fn part(&self, key: &str, id: &str, number: i32, body: impl Into<Vec<u8>>) -> String {
        let part = self.s3.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
        part.body(ByteStream::from(body.into())).send().await.expect("a part comes").e_tag.expect("S3 gives an ETag")
    }
}

pub fn settings(storage: Storage) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        storage,
        access_key: "devkey".to_owned(),
        secret_key: SECRET.to_owned(),
        buckets: vec![BUCKET.to_owned()],
    }
}

pub fn client(store: &Devstore, secret: &str, retries: RetryConfig) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(store.endpoint())
        .credentials_provider(Credentials::new("devkey", secret, None, None, "test"))
        .force_path_style(true)
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}

/// Links valid for an hour from now.
pub fn valid() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_hours(1)).expect("an hour is allowed")
}

/// Links that were valid for a minute, long ago.
pub fn expired() -> PresigningConfig {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    PresigningConfig::builder()
        .start_time(long_ago)
        .expires_in(Duration::from_mins(1))
        .build()
        .expect("a minute will do")
}

/// Status and code of a request that must fail.
pub fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    let error = result.expect_err("the request must fail");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

/// The same, to compare with.
pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Bytes that differ from place to place, so that a mix-up shows.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
