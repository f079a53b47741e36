//! The end of a job: nothing of it goes before the time that its client was told, and afterwards nothing stays.

use std::time::Duration;

use devstore::Storage;
use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::EXPIRES;
use serde_json::Value;
use shared::export::{Attempt, Encoding, JobId, OutputKey, TaskNo};
use shared::fhir::ResourceType;
use shared::settings::{Links, Settings};

use super::{group, small_list};
use crate::harness::redis_url;
use crate::harness::store::Store;
use crate::harness::system::{System, job_of, on_store, with, with_settings};

/// Begins an upload for a job, and leaves it as an attempt does that is killed.
async fn begin_upload(system: &System, job: JobId) {
    let key = OutputKey { job, resource_type: ResourceType::PATIENT, task: TaskNo(1), attempt: Attempt(99), number: 0 };
    let mut upload = system.platform.outputs.create(&key, Encoding::Identity).await.expect("the store answers");
    let more_than_a_part = vec![b' '; system.settings.part_bytes + 1];
    upload.write(&more_than_a_part).await.expect("the store takes a part");
    drop(upload);
    assert_eq!(system.unfinished_uploads(job).await, 1);
}

/// The keys that there are in the namespace of a system.
async fn keys(system: &System) -> Vec<String> {
    let client = redis::Client::open(redis_url()).expect("the URL is right");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let pattern = format!("{}:*", system.settings.namespace);
    redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.expect("Redis answers")
}

/// Waits until nothing is left of the only job of a system: no key at all, no object, no message.
async fn leaves_nothing(system: &System, polling: &str) {
    let platform = &system.platform;
    system.eventually("its keys are gone", || async { keys(system).await.is_empty() }).await;
    assert_eq!(system.get(polling).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(platform.outputs.list(job_of(polling)).await.expect("the store answers"), []);
    assert_eq!(system.unfinished_uploads(job_of(polling)).await, 0);
    for queue in [&platform.lanes.express, &platform.lanes.bulk] {
        let is_empty = || async { queue.depth().await.is_ok_and(|depth| depth.waiting == 0) };
        system.eventually("no message is left", is_empty).await;
    }
}

/// Ends come soon, one second after another.
fn short(settings: &mut Settings) {
    settings.retention_seconds = 1;
    settings.linger_seconds = 1;
    settings.working_due_seconds = 1;
}

/// Kicks off with an upload left behind, lets the job come to an end in some way, and waits until nothing is left.
async fn is_gone(lines: &[String], end: impl AsyncFnOnce(&System, &str)) {
    with_settings(lines, short, |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        begin_upload(&system, job_of(&polling)).await;
        end(&system, &polling).await;
        system.start_worker().await;
        leaves_nothing(&system, &polling).await;
    })
    .await;
}

#[tokio::test]
async fn a_completed_job_is_gone_with_all_that_was_its_own() {
    is_gone(&small_list(), async |_, _| {}).await;
}

#[tokio::test]
async fn a_failed_job_is_gone_with_all_that_was_its_own() {
    is_gone(&[group(&[])], async |system, _| system.unload("Group/g").await).await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_runs_is_gone_with_all_that_was_its_own() {
    is_gone(&small_list(), async |system, polling| {
        system.plan_by_hand(polling).await;
        assert_eq!(system.delete(polling).await.status(), StatusCode::ACCEPTED);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_is_deleted_when_it_is_complete_is_gone_with_all_that_was_its_own() {
    let soon_gone = |settings: &mut Settings| settings.working_due_seconds = 1;
    with_settings(&small_list(), soon_gone, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        system.exported(&polling).await;
        system.stop_workers().await;
        begin_upload(&system, job_of(&polling)).await;
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);
        system.start_worker().await;
        leaves_nothing(&system, &polling).await;
    })
    .await;
}

#[tokio::test]
async fn files_stay_for_a_while_when_the_job_has_ended_for_its_client() {
    let lingers = |settings: &mut Settings| settings.retention_seconds = 1;
    with_settings(&small_list(), lingers, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        system.becomes(&polling, StatusCode::NOT_FOUND).await;
        let files = system.platform.outputs.list(job_of(&polling)).await.expect("the store answers");
        assert!(!files.is_empty(), "whoever has begun to download them may go on");
    })
    .await;
}

#[tokio::test]
async fn a_client_is_told_an_end_that_comes_before_that_of_the_files() {
    let long_links = |settings: &mut Settings| settings.link_seconds = 7 * 86_400;
    with_settings(&small_list(), long_links, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        let response = system.ended(&polling).await;
        let told = response.headers()[EXPIRES].to_str().expect("it is text").to_owned();
        let job = system.platform.jobs.job(job_of(&polling)).await.expect("the store answers").expect("it is there");
        let expires = job.expires_at.expect("it is at its end");
        assert_eq!(told, (expires - Duration::from_secs(system.settings.linger_seconds)).http_date());
    })
    .await;
}

/// A list with one patient, of which the text is longer than all that a connection holds on its way.
fn long_list() -> Vec<String> {
    let text = "x".repeat(24 << 20);
    let patient = format!(r#"{{"resourceType":"Patient","id":"1","x":"{text}"}}"#);
    let group = r#"{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient/1"}}]}"#;
    vec![group.to_owned(), patient]
}

#[tokio::test]
async fn a_download_that_has_begun_is_finished_though_the_job_is_removed() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    for links in [Links::Signed, Links::Gated] {
        for storage in [Storage::Memory, Storage::Folder(folder.path().join(format!("{links:?}")))] {
            let store = Store::devstore_with(storage).await.expect("devstore starts");
            let chosen = |settings: &mut Settings| settings.links = Some(links);
            on_store(store, &long_list(), chosen, |system| async move {
                let polling = system.kick_off("/Group/g/$export?_type=Patient").await;
                let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
                let response = system.download(&manifest["output"][0]).await;
                let mut body = response.bytes_stream();
                let mut read = body.next().await.expect("there is more").expect("it can be read").len();

                let (job, platform) = (job_of(&polling), &system.platform);
                platform.outputs.remove_job(job).await.expect("the store answers");
                platform.jobs.remove(job).await.expect("the store answers");
                assert_eq!(platform.outputs.list(job).await.expect("the store answers"), []);
                assert_eq!(system.get(&polling).await.status(), StatusCode::NOT_FOUND);
                while let Some(piece) = body.next().await {
                    read += piece.expect("it can be read to its end").len();
                }
                assert_eq!(read, long_list()[1].len() + 1);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn nothing_of_a_job_goes_before_its_end_but_what_was_never_finished() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        let job = job_of(&polling);
        begin_upload(&system, job).await;
        system.start_worker().await;
        let exported = system.exported(&polling).await;
        let files = system.platform.outputs.list(job).await.expect("the store answers");
        // Then somebody has cleaned up, and the next look is at the end.
        system.eventually("the upload is gone", || async { system.unfinished_uploads(job).await == 0 }).await;
        assert_eq!(system.platform.outputs.list(job).await.expect("the store answers"), files);
        assert_eq!(system.exported(&polling).await.reached, exported.reached);
    })
    .await;
}
