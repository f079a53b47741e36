//! An object store without room: 507 of MinIO, and what others say of it.

use std::sync::Arc;

use devstore::{Failure, Requests};
use reqwest::StatusCode;
use shared::outputs::s3::{S3Outputs, S3Settings};
use shared::settings::Settings;

use crate::harness::store::Store;
use crate::harness::system::{System, job_of, on_store};
use crate::stories::{patient, small_list};

/// A list in which a file is longer than a part, so that it is uploaded in several.
fn long_list() -> Vec<String> {
    let mut lines = small_list();
    let long =
        patient("1").replace(r#","active""#, &format!(r#","text":{{"div":"{}"}},"active""#, "x".repeat(12 << 20)));
    lines[1] = long;
    lines
}

fn parts_of_five(settings: &mut Settings) {
    settings.part_bytes = 5 << 20;
}

#[tokio::test]
async fn a_full_disk_delays_a_job_holds_no_space_and_keeps_nobody_from_older_files() {
    for (status, code) in [(507, "XMinioStorageFull"), (403, "QuotaExceeded")] {
        let store = Store::devstore().await.expect("devstore starts");
        let (faults, address, credentials) = (store.faults().clone(), store.address.clone(), store.credentials());
        on_store(store, &long_list(), parts_of_five, |system: Arc<System>| async move {
            let settings = S3Settings::default();
            let objects = S3Outputs::connect(&address, &system.settings.namespace, credentials, &settings)
                .await
                .expect("the settings are right");
            let older = system.kick_off("/Group/g/$export?_type=Group").await;
            let manifest = system.exported(&older).await.manifest;

            // Small objects still find a place; what is uploaded in parts does not.
            faults.fail_next(usize::MAX, Requests::any().with_query("partNumber"), Failure::Refusal(status, code));
            let polling = system.kick_off("/Group/g/$export").await;
            let job = job_of(&polling);
            // Two parts of an attempt are under way at once.
            system.eventually("the task is tried again", || async { faults.struck() > 2 }).await;
            assert_eq!(system.get(&polling).await.status(), StatusCode::ACCEPTED, "it waits");
            let is_empty = || async { objects.unfinished_uploads(job).await.is_ok_and(|uploads| uploads == 0) };
            system.eventually("what could not be finished is given up", is_empty).await;
            assert_eq!(system.get(&older).await.status(), StatusCode::OK, "an older job answers");
            assert_eq!(
                system.download(&manifest["output"][0]).await.status(),
                StatusCode::OK,
                "and its files are there"
            );
            system.export("/Group/g/$export?_type=Group,Coverage").await;

            faults.clear();
            assert_eq!(system.exported(&polling).await.reached, system.expected("g").await, "there is room again");
        })
        .await;
    }
}
