//! Objects: what is written can be had, and what is removed is gone. Every sentence in all three stores.

use std::sync::Mutex;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::clock::SystemClock;
use shared::outputs::OutputWriter;

use super::*;
use crate::harness::memory_outputs::MemoryOutputs;

macro_rules! contract {
    ($($sentence:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $sentence() -> anyhow::Result<()> {
                super::$sentence(&super::Objects::in_memory()).await
            })*
        }

        mod devstore {
            $(#[tokio::test]
            async fn $sentence() -> anyhow::Result<()> {
                super::prove(super::Store::devstore().await?, async |here| super::$sentence(here).await).await
            })*
        }

        mod seaweedfs {
            $(#[tokio::test]
            async fn $sentence() -> anyhow::Result<()> {
                super::prove(super::Store::seaweedfs().await?, async |here| super::$sentence(here).await).await
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
    a_job_lists_its_own_objects,
    removed_objects_are_gone_and_the_others_stay,
    removing_an_object_that_is_not_there_counts_as_removed,
    more_objects_than_a_page_holds_are_listed_and_removed,
    removing_a_job_removes_its_objects_and_its_uploads_and_no_others,
    what_tasks_share_is_read_as_it_was_written_and_by_the_last_who_wrote_it,
    what_tasks_share_is_no_file_of_the_job,
    what_tasks_share_can_go_without_the_files_and_goes_with_the_job,
    abandoning_the_uploads_of_a_job_leaves_its_objects_and_other_jobs_alone,
    an_object_whose_upload_was_abandoned_cannot_be_finished,
    it_is_ready_when_objects_can_be_written,
];

/// The objects of a namespace.
pub(super) struct Objects {
    /// What the contract is about.
    pub outputs: Arc<dyn OutputStore>,
    ground: Ground,
    jobs: Mutex<Vec<JobId>>,
}

/// How it is looked at what is there.
pub(super) enum Ground {
    /// By links, as clients do.
    Http {
        s3: Arc<S3Outputs>,
        /// A client that knows nothing of S3.
        web: reqwest::Client,
    },
    /// Directly.
    Memory(MemoryOutputs),
}

impl Objects {
    pub(super) fn new(outputs: Arc<dyn OutputStore>, ground: Ground) -> Self {
        Self { outputs, ground, jobs: Mutex::default() }
    }

    fn in_memory() -> Self {
        let memory = MemoryOutputs::new(Arc::new(SystemClock), PART);
        Self::new(Arc::new(memory.clone()), Ground::Memory(memory))
    }

    /// A new job, whose objects go when the test has passed.
    pub(super) fn job(&self) -> JobId {
        let job = JobId::random();
        self.jobs.lock().unwrap().push(job);
        job
    }

    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap());
        for job in jobs {
            self.outputs.remove_job(job).await?;
        }
        Ok(())
    }

    pub(super) async fn write(&self, key: &OutputKey, content: &[u8]) -> Result<u64, Fault> {
        write(&*self.outputs, key, content).await
    }

    pub(super) async fn content(&self, key: &OutputKey) -> anyhow::Result<Vec<u8>> {
        match &self.ground {
            Ground::Memory(memory) => memory.read(key).ok_or_else(|| anyhow::anyhow!("{key} is not there")),
            Ground::Http { web, .. } => {
                let link = self.outputs.link(key, LinkMethod::Get, HOUR).await?.url;
                Ok(web.get(link).send().await?.error_for_status()?.bytes().await?.to_vec())
            }
        }
    }

    pub(super) async fn is_there(&self, key: &OutputKey) -> anyhow::Result<bool> {
        let is_listed = self.outputs.list(key.job).await?.contains(key);
        match &self.ground {
            Ground::Memory(memory) => {
                assert_eq!(memory.read(key).is_some(), is_listed, "what is listed can be had, and the reverse");
            }
            Ground::Http { web, .. } => {
                let link = self.outputs.link(key, LinkMethod::Get, HOUR).await?.url;
                let status = web.get(link).send().await?.status();
                assert_eq!(status.is_success(), is_listed, "what is listed can be had, and the reverse");
                assert!(is_listed || status == StatusCode::NOT_FOUND, "{status}");
            }
        }
        Ok(is_listed)
    }

    async fn unfinished_uploads(&self, job: JobId) -> Result<usize, Fault> {
        match &self.ground {
            Ground::Memory(memory) => Ok(memory.unfinished().iter().filter(|(key, _)| key.job == job).count()),
            Ground::Http { s3, .. } => s3.unfinished_uploads(job).await,
        }
    }
}

async fn nothing_of_an_object_is_seen_before_it_is_finished(here: &Objects) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let mut writer = here.outputs.create(&key, Encoding::Identity).await?;
    writer.write(b"{}\n").await?;
    assert!(!here.is_there(&key).await?);
    writer.finish().await?;
    assert!(here.is_there(&key).await?);
    Ok(())
}

async fn nothing_of_an_object_in_parts_is_seen_before_it_is_finished(here: &Objects) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let mut writer = here.outputs.create(&key, Encoding::Identity).await?;
    writer.write(&bytes(2 * PART + 1)).await?;
    assert!(!here.is_there(&key).await?);
    assert_eq!(here.unfinished_uploads(key.job).await?, 1, "it was begun");
    writer.finish().await?;
    assert!(here.is_there(&key).await?);
    assert_eq!(here.unfinished_uploads(key.job).await?, 0);
    Ok(())
}

async fn finishing_answers_the_length(here: &Objects) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 1), (3, PART + 1)] {
        assert_eq!(here.write(&key(job, task), &bytes(length)).await?, length as u64);
        assert_eq!(here.content(&key(job, task)).await?.len(), length);
    }
    Ok(())
}

async fn an_object_of_many_parts_arrives_byte_for_byte(here: &Objects) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let content = bytes(4 * PART + 12_345);
    here.write(&key, &content).await?;
    assert!(here.content(&key).await? == content);
    Ok(())
}

async fn objects_that_just_fill_their_parts_arrive_whole(here: &Objects) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, PART - 1), (2, PART), (3, PART + 1), (4, 2 * PART)] {
        let content = bytes(length);
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&content).await?;
        let begun = usize::from(length > PART);
        assert_eq!(here.unfinished_uploads(job).await?, begun, "one part is one request: {length}");
        writer.finish().await?;
        assert!(here.content(&key(job, task)).await? == content, "{length}");
    }
    Ok(())
}

async fn two_attempts_at_a_task_write_two_objects(here: &Objects) -> anyhow::Result<()> {
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

async fn an_object_that_is_given_up_leaves_nothing(here: &Objects) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 3), (3, 3 * PART + 1)] {
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&bytes(length)).await?;
        writer.abort().await?;
        assert!(!here.is_there(&key(job, task)).await?, "{length}");
        assert_eq!(here.unfinished_uploads(job).await?, 0, "{length}");
    }
    Ok(())
}

async fn an_object_that_is_dropped_leaves_no_object_and_its_upload_can_be_abandoned(
    here: &Objects,
) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 0), (2, 3), (3, 2 * PART + 1)] {
        let mut writer = here.outputs.create(&key(job, task), Encoding::Identity).await?;
        writer.write(&bytes(length)).await?;
        drop(writer);
        assert!(!here.is_there(&key(job, task)).await?, "{length}");
        here.outputs.abandon_uploads(job).await?;
        assert_eq!(here.unfinished_uploads(job).await?, 0, "{length}");
    }
    Ok(())
}

async fn a_job_lists_its_own_objects(here: &Objects) -> anyhow::Result<()> {
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

async fn removed_objects_are_gone_and_the_others_stay(here: &Objects) -> anyhow::Result<()> {
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

async fn removing_an_object_that_is_not_there_counts_as_removed(here: &Objects) -> anyhow::Result<()> {
    let job = here.job();
    here.outputs.remove(&[]).await?;
    here.outputs.remove(&[key(job, 1)]).await?;
    here.write(&key(job, 1), b"{}\n").await?;
    here.outputs.remove(&[key(job, 2), key(job, 1)]).await?;
    here.outputs.remove(&[key(job, 1)]).await?;
    here.outputs.remove_job(job).await?;
    Ok(())
}

async fn more_objects_than_a_page_holds_are_listed_and_removed(here: &Objects) -> anyhow::Result<()> {
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

async fn removing_a_job_removes_its_objects_and_its_uploads_and_no_others(here: &Objects) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    let (one, two) = (begun(here, &key(job, 1)).await?, begun(here, &key(other, 1)).await?);
    for key in [key(job, 2), key(other, 2)] {
        here.write(&key, b"{}\n").await?;
    }
    here.outputs.remove_job(job).await?;
    assert_eq!(here.outputs.list(job).await?, []);
    assert_eq!(here.unfinished_uploads(job).await?, 0);
    assert_eq!(here.outputs.list(other).await?, [key(other, 2)]);
    assert_eq!(here.unfinished_uploads(other).await?, 1);
    drop((one, two));
    Ok(())
}

async fn share(here: &Objects, job: JobId, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let mut writer = here.outputs.keep(job, name).await?;
    writer.write(content).await?;
    assert_eq!(writer.finish().await?, content.len() as u64);
    Ok(())
}

async fn shared(here: &Objects, job: JobId, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(pieces) = here.outputs.kept(job, name).await? else { return Ok(None) };
    Ok(Some(pieces.try_collect::<Vec<_>>().await?.concat()))
}

async fn what_tasks_share_is_read_as_it_was_written_and_by_the_last_who_wrote_it(here: &Objects) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    let large = bytes(2 * PART + 7);
    share(here, job, "list-g-1", b"first").await?;
    share(here, job, "list-g-1", &large).await?;
    share(here, other, "list-g-1", b"of another job").await?;
    assert!(shared(here, job, "list-g-1").await?.as_deref() == Some(&large[..]));
    assert_eq!(shared(here, job, "list-g-2").await?, None);
    let given_up = here.outputs.keep(job, "list-g-3").await?;
    given_up.abort().await?;
    assert_eq!(shared(here, job, "list-g-3").await?, None);
    Ok(())
}

async fn what_tasks_share_is_no_file_of_the_job(here: &Objects) -> anyhow::Result<()> {
    let job = here.job();
    here.write(&key(job, 1), b"{}\n").await?;
    share(here, job, "claims-2.1.0", b"[]").await?;
    share(here, job, "claims-2.1.1", b"[]").await?;
    assert_eq!(here.outputs.list(job).await?, [key(job, 1)]);
    assert_eq!(here.outputs.kept_names(job).await?, ["claims-2.1.0", "claims-2.1.1"]);
    assert_eq!(here.outputs.kept_names(here.job()).await?, [""; 0]);
    Ok(())
}

async fn what_tasks_share_can_go_without_the_files_and_goes_with_the_job(here: &Objects) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    for job in [job, other] {
        here.write(&key(job, 1), b"{}\n").await?;
        share(here, job, "a", b"1").await?;
    }
    here.outputs.drop_kept(job).await?;
    assert_eq!((shared(here, job, "a").await?, here.outputs.list(job).await?), (None, vec![key(job, 1)]));
    here.outputs.drop_kept(job).await?;
    here.outputs.remove_job(other).await?;
    assert_eq!((shared(here, other, "a").await?, here.outputs.list(other).await?), (None, vec![]));
    Ok(())
}

/// A writer whose upload was begun, and of which no part is under way.
async fn begun(here: &Objects, key: &OutputKey) -> anyhow::Result<Box<dyn OutputWriter>> {
    let mut writer = here.outputs.create(key, Encoding::Identity).await?;
    writer.write(&bytes(PART + 1)).await?;
    Ok(writer)
}

async fn abandoning_the_uploads_of_a_job_leaves_its_objects_and_other_jobs_alone(here: &Objects) -> anyhow::Result<()> {
    let (job, other) = (here.job(), here.job());
    let content = bytes(PART + 1);
    here.write(&key(job, 1), &content).await?;
    let (one, two) = (begun(here, &key(job, 2)).await?, begun(here, &key(other, 1)).await?);
    here.outputs.abandon_uploads(job).await?;
    assert_eq!(here.unfinished_uploads(job).await?, 0);
    assert!(here.content(&key(job, 1)).await? == content);
    drop(one);
    two.finish().await?;
    assert!(here.is_there(&key(other, 1)).await?);
    Ok(())
}

async fn an_object_whose_upload_was_abandoned_cannot_be_finished(here: &Objects) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    let writer = begun(here, &key).await?;
    here.outputs.abandon_uploads(key.job).await?;
    let fault = writer.finish().await.expect_err("its first part is gone");
    assert_eq!(fault.kind(), FaultKind::NotFound, "{fault}");
    assert!(!here.is_there(&key).await?);
    assert_eq!(here.unfinished_uploads(key.job).await?, 0);
    Ok(())
}

async fn it_is_ready_when_objects_can_be_written(here: &Objects) -> anyhow::Result<()> {
    here.outputs.ready().await?;
    Ok(())
}
