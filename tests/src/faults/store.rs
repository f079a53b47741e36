//! The object store refuses, fails, dawdles and breaks off in the middle, of small objects and of objects in parts.

use std::time::Duration;

use devstore::{Failure, Requests};

use super::named::{Step, request};
use super::steps::kills_a_worker_at;
use crate::harness::member::Server;
use crate::harness::programs::{program, resources};
use crate::harness::site::{Blueprint, with};

/// What a store does wrong; the delay is longer than an upload may take.
const FAILURES: [Failure; 5] = [
    Failure::SlowDown,
    Failure::InternalError,
    Failure::Delay(Duration::from_secs(5)),
    Failure::BreakRequest,
    Failure::BreakAnswer,
];

/// As often as the adapter sends a request in all (`S3Settings::attempts`): then the task fails and is tried again.
const EVERY_TRY: usize = 4;

#[tokio::test]
async fn a_store_may_fail_at_any_small_object() {
    with(Blueprint::default(), async |site| {
        for failure in FAILURES {
            for (count, requests) in [
                (2, Requests::any().with_verb("PUT")),
                (EVERY_TRY, Requests::any().with_verb("PUT").after(3)),
                (EVERY_TRY, Requests::any().with_verb("GET").with_query("list-type")),
            ] {
                site.store.faults().fail_next(count, requests, failure);
                let (what, before) =
                    (format!("the store answers some requests with {failure:?}"), site.store.faults().struck());
                site.exports(&what, async |_| {}).await;
                assert!(site.store.faults().struck() > before, "{what}: it came to that");
                site.store.faults().clear();
            }
        }
    })
    .await;
}

/// A list whose files are uploaded in parts of 5 MiB, each type as one file.
async fn list_in_parts() -> Blueprint {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let path = folder.path().to_string_lossy().into_owned();
    let arguments = ["generate", "--members", "4000", "--seed", "7", "--list", "g", "--out", &path];
    let made = program("atr").args(arguments).output().await.expect("the program starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let lines = resources(folder.path()).collect();
    let big = |name, value: u32| (name, value.to_string());
    let settings = vec![
        big("ATR_SLICE_IDS", 50_000),
        big("ATR_PAGE_IDS", 1_000),
        big("ATR_FILE_BYTES", 1 << 30),
        big("ATR_PART_BYTES", 5 << 20),
    ];
    Blueprint { lines, settings, ..Blueprint::default() }
}

#[tokio::test]
async fn a_store_may_fail_at_any_step_of_an_object_in_parts() {
    with(list_in_parts().await, async |site| {
        for failure in FAILURES {
            for (step, requests) in [
                ("beginning", Requests::any().with_verb("POST").with_query("uploads")),
                ("a part", Requests::any().with_verb("PUT").with_query("partNumber=2")),
                ("the end", Requests::any().with_verb("POST").with_query("uploadId")),
            ] {
                site.store.faults().fail_next(EVERY_TRY, requests, failure);
                let what = format!("the store answers {step} of an upload with {failure:?}");
                site.exports(&what, async |_| {}).await;
                assert_eq!(site.store.faults().pending(), 0, "{what}: it came to that");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_dies_within_an_object_in_parts_leaves_no_part() {
    with(list_in_parts().await, async |site| {
        let steps: [Step; 4] = [
            request("an upload begins", "?uploads"),
            request("its first part", "partNumber=1"),
            request("its second part", "partNumber=2"),
            request("its end", "<CompleteMultipartUpload"),
        ];
        kills_a_worker_at(site, Server::Outputs, &steps).await;
    })
    .await;
}
