//! The contract of the port `outputs`: every sentence against `devstore` and against SeaweedFS; and what is said of the S3
//! adapter beyond it, which needs a store that fails on demand, or none at all.
//!
//! What the contract says of objects is in `objects`: the store in memory, which the simulation runs on, passes it as well.
//! What it says of links and of a bucket that can be wrong makes sense over HTTP only, and is here and in `links`.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use shared::export::{Attempt, Encoding, JobId, OutputKey, TaskNo};
use shared::fault::{Fault, FaultKind};
use shared::fhir::ResourceType;
use shared::outputs::s3::{S3Outputs, S3Settings};
use shared::outputs::{LinkMethod, OutputStore};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::harness::namespace;
use crate::harness::store::Store;

/// The smallest that S3 takes, so that few bytes make many parts.
const PART: usize = 5 << 20;

const HOUR: Duration = Duration::from_hours(1);

macro_rules! contract {
    ($($sentence:ident,)*) => {
        mod devstore {
            $(#[tokio::test]
            async fn $sentence() -> anyhow::Result<()> {
                super::prove(super::Store::devstore().await?, super::$sentence).await
            })*
        }

        mod seaweedfs {
            $(#[tokio::test]
            async fn $sentence() -> anyhow::Result<()> {
                super::prove(super::Store::seaweedfs().await?, super::$sentence).await
            })*
        }
    };
}

contract![
    anybody_can_download_an_object_by_its_link,
    a_link_gives_a_part_of_an_object_as_well,
    a_link_to_a_part_beyond_the_end_answers_416,
    a_link_serves_one_method_only,
    a_link_to_ask_tells_what_a_download_would,
    the_etag_of_an_object_stays_and_is_its_own,
    a_link_tells_when_it_ends,
    a_compressed_object_is_served_as_it_was_stored_with_its_encoding,
    a_link_to_an_object_that_is_not_there_answers_404,
    a_link_that_was_changed_is_refused,
    a_link_is_refused_after_its_time,
    a_name_that_this_system_does_not_write_is_not_listed,
    what_this_system_does_not_write_goes_with_its_job,
    a_bucket_that_is_not_there_is_named,
    a_wrong_secret_is_invalid,
];

use links::*;
use objects::{Ground, Objects};

/// A namespace in a store that is reached over HTTP.
struct Here {
    store: Store,
    /// What lies there.
    objects: Objects,
    /// What the contract is about, as its own type.
    s3: Arc<S3Outputs>,
    /// A client that knows nothing of S3.
    web: reqwest::Client,
}

impl Deref for Here {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.objects
    }
}

impl Here {
    async fn at(store: Store) -> anyhow::Result<Self> {
        let s3 = Arc::new(store.outputs(&namespace(), &settings()).await?);
        let web = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        let objects = Objects::new(s3.clone(), Ground::Http { s3: Arc::clone(&s3), web: web.clone() });
        Ok(Self { store, objects, s3, web })
    }

    /// A link to download an object, for an hour.
    async fn link(&self, key: &OutputKey) -> Result<Url, Fault> {
        Ok(self.outputs.link(key, LinkMethod::Get, HOUR).await?.url)
    }

    async fn get(&self, link: Url) -> anyhow::Result<reqwest::Response> {
        Ok(self.web.get(link).send().await?)
    }
}

async fn prove(store: Store, sentence: impl AsyncFnOnce(&Here) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let here = Here::at(store).await?;
    sentence(&here).await?;
    here.clean().await
}

fn settings() -> S3Settings {
    S3Settings { part_bytes: PART, attempts: 3, ..S3Settings::default() }
}

fn key(job: JobId, task: u32) -> OutputKey {
    OutputKey { job, resource_type: ResourceType::PATIENT, task: TaskNo(task), attempt: Attempt(1), number: 0 }
}

/// Bytes in which no run of a part's length, and no line, comes twice.
fn bytes(length: usize) -> Vec<u8> {
    let words = (0..).map(|count: u64| (count + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    words.flatten().take(length).collect()
}

/// Writes in pieces that fit no part.
async fn write(outputs: &dyn OutputStore, key: &OutputKey, content: &[u8]) -> Result<u64, Fault> {
    write_encoded(outputs, key, Encoding::Identity, content).await
}

async fn write_encoded(
    outputs: &dyn OutputStore,
    key: &OutputKey,
    encoding: Encoding,
    content: &[u8],
) -> Result<u64, Fault> {
    let mut writer = outputs.create(key, encoding).await?;
    for piece in content.chunks(777_777) {
        writer.write(piece).await?;
    }
    writer.finish().await
}

async fn a_name_that_this_system_does_not_write_is_not_listed(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    let stray = stray(here, job).await?;
    here.write(&key(job, 1), b"{}\n").await?;
    assert_eq!(here.outputs.list(job).await?, [key(job, 1)]);
    assert_eq!(stray.list(job).await?.len(), 1, "it is there");
    Ok(())
}

async fn what_this_system_does_not_write_goes_with_its_job(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    let stray = stray(here, job).await?;
    assert_eq!(stray.list(job).await?.len(), 1, "it is there");
    here.outputs.remove_job(job).await?;
    assert_eq!(stray.list(job).await?, []);
    Ok(())
}

/// Writes an object that lies in the folder of a job under a name that is none of an output, and gives the store that sees
/// it: one whose namespace is that folder.
async fn stray(here: &Here, job: JobId) -> anyhow::Result<S3Outputs> {
    let object = here.link(&key(job, 1)).await?;
    let namespace = object.path_segments().unwrap().nth(1).unwrap();
    let mut address = here.store.address.clone();
    address.prefix = namespace.to_owned();
    let inside = S3Outputs::connect(&address, &job.to_string(), here.store.credentials(), &settings()).await?;
    write(&inside, &key(job, 1), b"{}\n").await?;
    Ok(inside)
}

async fn a_bucket_that_is_not_there_is_named(here: &Here) -> anyhow::Result<()> {
    let mut address = here.store.address.clone();
    "no-such-bucket".clone_into(&mut address.bucket);
    let outputs = S3Outputs::connect(&address, "space", here.store.credentials(), &settings()).await?;
    let key = key(JobId::random(), 1);
    for fault in [
        outputs.ready().await.expect_err("it is not ready"),
        write(&outputs, &key, b"{}\n").await.expect_err("a small object"),
        write(&outputs, &key, &bytes(PART + 1)).await.expect_err("an object in parts"),
        outputs.list(key.job).await.expect_err("a list"),
    ] {
        assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
        assert!(fault.to_string().contains("no-such-bucket"), "{fault}");
    }
    Ok(())
}

async fn a_wrong_secret_is_invalid(here: &Here) -> anyhow::Result<()> {
    let access_key = here.store.access_key.clone();
    let secret_key = "a-secret-of-somebody-else".to_owned();
    let wrong = shared::outputs::s3::Credentials::Static { access_key, secret_key };
    let outputs = S3Outputs::connect(&here.store.address, "space", wrong, &settings()).await?;
    let key = key(JobId::random(), 1);
    for fault in [
        outputs.ready().await.expect_err("it is not ready"),
        write(&outputs, &key, b"{}\n").await.expect_err("an object"),
    ] {
        assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
        assert!(fault.to_string().contains("check the credentials"), "{fault}");
        assert!(!fault.to_string().contains("a-secret"), "{fault}");
    }
    let link = outputs.link(&key, LinkMethod::Get, HOUR).await?.url;
    assert_eq!(here.get(link).await?.status(), StatusCode::FORBIDDEN);
    Ok(())
}

mod adapter;
mod links;
mod objects;
