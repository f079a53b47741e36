//! The contract of the port `outputs`: every sentence against `devstore` and against SeaweedFS; and what is said of the S3
//! adapter beyond it, which needs a store that fails on demand, or none at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
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
    nothing_of_an_object_is_seen_before_it_is_finished,
    nothing_of_an_object_in_parts_is_seen_before_it_is_finished,
    finishing_answers_the_length,
    an_object_of_many_parts_arrives_byte_for_byte,
    objects_that_just_fill_their_parts_arrive_whole,
    two_attempts_at_a_task_write_two_objects,
    an_object_that_is_given_up_leaves_nothing,
    an_object_that_is_dropped_leaves_no_object_and_its_upload_can_be_abandoned,
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
    a_job_lists_its_own_objects,
    a_name_that_this_system_does_not_write_is_not_listed,
    removed_objects_are_gone_and_the_others_stay,
    removing_an_object_that_is_not_there_counts_as_removed,
    more_objects_than_a_page_holds_are_listed_and_removed,
    removing_a_job_removes_its_objects_and_its_uploads_and_no_others,
    abandoning_the_uploads_of_a_job_leaves_its_objects_and_other_jobs_alone,
    an_object_whose_upload_was_abandoned_cannot_be_finished,
    it_is_ready_when_objects_can_be_written,
    a_bucket_that_is_not_there_is_named,
    a_wrong_secret_is_invalid,
];

use links::*;

/// A namespace in a store.
struct Here {
    store: Store,
    /// What the contract is about.
    outputs: Arc<dyn OutputStore>,
    /// The same, as its own type.
    s3: Arc<S3Outputs>,
    /// A client that knows nothing of S3.
    web: reqwest::Client,
    jobs: Mutex<Vec<JobId>>,
}

impl Here {
    async fn at(store: Store) -> anyhow::Result<Self> {
        let s3 = Arc::new(store.outputs(&namespace(), &settings()).await?);
        let outputs: Arc<dyn OutputStore> = s3.clone();
        let web = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { store, outputs, s3, web, jobs: Mutex::default() })
    }

    /// A new job, whose objects go when the test has passed.
    fn job(&self) -> JobId {
        let job = JobId::random();
        self.jobs.lock().unwrap().push(job);
        job
    }

    async fn clean(&self) -> anyhow::Result<()> {
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap());
        for job in jobs {
            self.outputs.remove_job(job).await?;
        }
        Ok(())
    }

    async fn write(&self, key: &OutputKey, content: &[u8]) -> Result<u64, Fault> {
        write(&*self.outputs, key, content).await
    }

    /// A link to download an object, for an hour.
    async fn link(&self, key: &OutputKey) -> Result<Url, Fault> {
        Ok(self.outputs.link(key, LinkMethod::Get, HOUR).await?.url)
    }

    async fn get(&self, link: Url) -> anyhow::Result<reqwest::Response> {
        Ok(self.web.get(link).send().await?)
    }

    async fn content(&self, key: &OutputKey) -> anyhow::Result<Vec<u8>> {
        let answer = self.get(self.link(key).await?).await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    async fn is_there(&self, key: &OutputKey) -> anyhow::Result<bool> {
        let status = self.get(self.link(key).await?).await?.status();
        let is_listed = self.outputs.list(key.job).await?.contains(key);
        assert_eq!(status.is_success(), is_listed, "what is listed can be had, and the reverse");
        assert!(is_listed || status == StatusCode::NOT_FOUND, "{status}");
        Ok(is_listed)
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

async fn nothing_of_an_object_is_seen_before_it_is_finished(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let mut writer = here.outputs.create(&key, Encoding::Identity).await?;
    writer.write(b"{}\n").await?;
    assert!(!here.is_there(&key).await?);
    writer.finish().await?;
    assert!(here.is_there(&key).await?);
    Ok(())
}

async fn nothing_of_an_object_in_parts_is_seen_before_it_is_finished(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let mut writer = here.outputs.create(&key, Encoding::Identity).await?;
    writer.write(&bytes(2 * PART + 1)).await?;
    assert!(!here.is_there(&key).await?);
    assert_eq!(here.s3.unfinished_uploads(key.job).await?, 1, "it was begun");
    writer.finish().await?;
    assert!(here.is_there(&key).await?);
    assert_eq!(here.s3.unfinished_uploads(key.job).await?, 0);
    Ok(())
}

async fn finishing_answers_the_length(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 1), (3, PART + 1)] {
        assert_eq!(here.write(&key(job, task), &bytes(length)).await?, length as u64);
        assert_eq!(here.content(&key(job, task)).await?.len(), length);
    }
    Ok(())
}

async fn an_object_of_many_parts_arrives_byte_for_byte(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let content = bytes(4 * PART + 12_345);
    here.write(&key, &content).await?;
    assert!(here.content(&key).await? == content);
    Ok(())
}

async fn objects_that_just_fill_their_parts_arrive_whole(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, PART - 1), (2, PART), (3, PART + 1), (4, 2 * PART)] {
        let content = bytes(length);
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&content).await?;
        let begun = usize::from(length > PART);
        assert_eq!(here.s3.unfinished_uploads(job).await?, begun, "one part is one request: {length}");
        writer.finish().await?;
        assert!(here.content(&key(job, task)).await? == content, "{length}");
    }
    Ok(())
}

async fn two_attempts_at_a_task_write_two_objects(here: &Here) -> anyhow::Result<()> {
    let first = key(here.job(), 1);
    let second = OutputKey { attempt: Attempt(2), ..first.clone() };
    let (one, two) = (bytes(PART + 1), b"{}\n");
    let mut slow = here.outputs.create(&first, Encoding::Identity).await?;
    slow.write(&one).await?;
    here.write(&second, two).await?;
    slow.finish().await?;
    assert!(here.content(&first).await? == one);
    assert!(here.content(&second).await? == two);
    Ok(())
}

async fn an_object_that_is_given_up_leaves_nothing(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 3), (3, 3 * PART + 1)] {
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&bytes(length)).await?;
        writer.abort().await?;
        assert!(!here.is_there(&key(job, task)).await?, "{length}");
        assert_eq!(here.s3.unfinished_uploads(job).await?, 0, "{length}");
    }
    Ok(())
}

async fn an_object_that_is_dropped_leaves_no_object_and_its_upload_can_be_abandoned(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 3), (3, 2 * PART + 1)] {
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&bytes(length)).await?;
        drop(writer);
        assert!(!here.is_there(&key(job, task)).await?, "{length}");
        here.outputs.abandon_uploads(job).await?;
        assert_eq!(here.s3.unfinished_uploads(job).await?, 0, "{length}");
    }
    Ok(())
}

async fn a_job_lists_its_own_objects(here: &Here) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    assert_eq!(here.outputs.list(job).await?, []);
    let mut wanted = vec![key(job, 1), key(job, 2), OutputKey { number: 1, ..key(job, 2) }];
    for key in wanted.iter().chain([&key(other, 1)]) {
        here.write(key, b"{}\n").await?;
    }
    let mut listed = here.outputs.list(job).await?;
    listed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);
    Ok(())
}

async fn a_name_that_this_system_does_not_write_is_not_listed(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    let stray = stray(here, job).await?;
    here.write(&key(job, 1), b"{}\n").await?;
    assert_eq!(here.outputs.list(job).await?, [key(job, 1)]);
    assert_eq!(stray.list(job).await?.len(), 1, "it is there");
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

async fn removed_objects_are_gone_and_the_others_stay(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for task in 1..=3 {
        here.write(&key(job, task), b"{}\n").await?;
    }
    here.outputs.remove(&[key(job, 1), key(job, 3)]).await?;
    assert!(!here.is_there(&key(job, 1)).await?);
    assert!(here.is_there(&key(job, 2)).await?);
    assert!(!here.is_there(&key(job, 3)).await?);
    Ok(())
}

async fn removing_an_object_that_is_not_there_counts_as_removed(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    here.outputs.remove(&[]).await?;
    here.outputs.remove(&[key(job, 1)]).await?;
    here.write(&key(job, 1), b"{}\n").await?;
    here.outputs.remove(&[key(job, 2), key(job, 1)]).await?;
    here.outputs.remove(&[key(job, 1)]).await?;
    here.outputs.remove_job(job).await?;
    Ok(())
}

async fn more_objects_than_a_page_holds_are_listed_and_removed(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    let keys: Vec<OutputKey> = (0..1101).map(|task| key(job, task)).collect();
    let writes = stream::iter(&keys).map(|key| here.write(key, b"{}\n")).buffer_unordered(16);
    writes.try_collect::<Vec<u64>>().await?;

    let mut listed = here.outputs.list(job).await?;
    listed.sort_unstable();
    assert!(listed == keys, "{} are listed", listed.len());
    here.outputs.remove(&keys[..1050]).await?;
    assert_eq!(here.outputs.list(job).await?.len(), 51);
    here.outputs.remove_job(job).await?;
    assert_eq!(here.outputs.list(job).await?, []);
    Ok(())
}

async fn removing_a_job_removes_its_objects_and_its_uploads_and_no_others(here: &Here) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    let (one, two) = (begun(here, &key(job, 1)).await?, begun(here, &key(other, 1)).await?);
    let stray = stray(here, job).await?;
    for key in [key(job, 2), key(other, 2)] {
        here.write(&key, b"{}\n").await?;
    }
    here.outputs.remove_job(job).await?;
    assert_eq!(here.outputs.list(job).await?, []);
    assert_eq!(stray.list(job).await?, [], "what this system does not write goes as well");
    assert_eq!(here.s3.unfinished_uploads(job).await?, 0);
    assert_eq!(here.outputs.list(other).await?, [key(other, 2)]);
    assert_eq!(here.s3.unfinished_uploads(other).await?, 1);
    drop((one, two));
    Ok(())
}

/// A writer whose upload was begun, and of which no part is under way.
async fn begun(here: &Here, key: &OutputKey) -> anyhow::Result<Box<dyn shared::outputs::OutputWriter>> {
    let mut writer = here.outputs.create(key, Encoding::Identity).await?;
    writer.write(&bytes(PART + 1)).await?;
    Ok(writer)
}

async fn abandoning_the_uploads_of_a_job_leaves_its_objects_and_other_jobs_alone(here: &Here) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    let content = bytes(PART + 1);
    here.write(&key(job, 1), &content).await?;
    let (one, two) = (begun(here, &key(job, 2)).await?, begun(here, &key(other, 1)).await?);
    here.outputs.abandon_uploads(job).await?;
    assert_eq!(here.s3.unfinished_uploads(job).await?, 0);
    assert!(here.content(&key(job, 1)).await? == content);
    drop(one);
    two.finish().await?;
    assert!(here.is_there(&key(other, 1)).await?);
    Ok(())
}

async fn an_object_whose_upload_was_abandoned_cannot_be_finished(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let writer = begun(here, &key).await?;
    here.outputs.abandon_uploads(key.job).await?;
    let fault = writer.finish().await.expect_err("its first part is gone");
    assert_eq!(fault.kind(), FaultKind::NotFound, "{fault}");
    assert!(!here.is_there(&key).await?);
    assert_eq!(here.s3.unfinished_uploads(key.job).await?, 0);
    Ok(())
}

async fn it_is_ready_when_objects_can_be_written(here: &Here) -> anyhow::Result<()> {
    here.outputs.ready().await?;
    Ok(())
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
