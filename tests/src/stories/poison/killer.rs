//! A task that kills its worker each time it is tried.

use std::time::Duration;

use devstore::{Failure, Requests};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::programs::{load, start, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, PREFER, in_namespace, polling_location};
use crate::stories::{patient, small_list};

/// How often the task may be started.
const ATTEMPTS: usize = 3;

async fn get(url: &str) -> reqwest::Response {
    let request = reqwest::Client::new().get(url).header(PREFER, "respond-async");
    request.send().await.expect("the API answers")
}

/// Waits until a job is at its end, and answers the last poll.
async fn ended(polling: &str) -> reqwest::Response {
    let polls = async {
        loop {
            let response = get(polling).await;
            if response.status() != StatusCode::ACCEPTED {
                return response;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, polls).await.expect("a job comes to an end")
}

#[tokio::test]
async fn a_task_that_kills_its_worker_each_time_fails_its_job_and_no_other() {
    in_namespace(async |namespace| tell(namespace).await).await;
}

async fn tell(namespace: &str) {
    let store = Store::devstore().await.expect("devstore starts");
    let mut lines = small_list();
    // A second list, of nobody else.
    let poisoned =
        r#"{"resourceType":"Group","id":"poisoned","actual":true,"member":[{"entity":{"reference":"Patient/p"}}]}"#;
    lines.extend([poisoned.to_owned(), patient("p")]);
    load(namespace, &lines).await;

    let mut variables = variables(namespace, &store);
    for (name, value) in [
        ("ATR_TASK_ATTEMPTS", ATTEMPTS.to_string()),
        ("ATR_WORKING_DUE_SECONDS", "3".to_owned()),
        ("ATR_JANITOR_SECONDS", "1".to_owned()),
        ("ATR_POLL_BURST", "100000".to_owned()),
    ] {
        variables.push((name, value));
    }
    let api = start("api-service", &variables).await;
    let base = format!("http://127.0.0.1:{}/fhir", api.port);
    let local = |url: &str| format!("{base}{}", &url[url.find("/export/").expect("a polling location has it")..]);

    // What an abort in the middle of an upload is: the store does not answer, and the process is killed then. The Patient is
    // the poison, and the Group of the same list is not.
    let faults = store.faults();
    let uploads = Requests::any().with_verb("PUT").to_key("*/Patient/*");
    faults.fail_next(usize::MAX, uploads, Failure::Delay(Duration::from_hours(1)));
    let kick_off = get(&format!("{base}/Group/poisoned/$export?_type=Group,Patient,Coverage")).await;
    assert_eq!(kick_off.status(), StatusCode::ACCEPTED);
    let polling = local(&polling_location(&kick_off));
    for attempt in 1..=ATTEMPTS {
        let mut worker = start("export-worker", &variables).await;
        let struck = async {
            while faults.struck() < attempt {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, struck).await.is_ok(), "it is started {attempt} times");
        assert_eq!(get(&polling).await.status(), StatusCode::ACCEPTED, "it is tried again");
        worker.process.kill().await.expect("it runs");
    }

    let worker = start("export-worker", &variables).await;
    // The poison is still there when somebody else comes.
    let kick_off = get(&format!("{base}/Group/g/$export?_type=Group,Coverage,Location")).await;
    let other = ended(&local(&polling_location(&kick_off))).await;
    assert_eq!(other.status(), StatusCode::OK, "another job completes");
    let failed = ended(&polling).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let outcome: Value = failed.json().await.expect("it is JSON");
    let text = outcome["issue"][0]["diagnostics"].as_str().expect("an issue says something");
    assert!(text.contains(&format!("was started {ATTEMPTS} times and never came to an end")), "{text}");
    assert_eq!(faults.struck(), ATTEMPTS, "nobody tries it again");
    let failed_jobs = worker.metric("atr_jobs_ended_total", r#"state="failed""#).await;
    assert!((failed_jobs - 1.0).abs() < 0.5, "{failed_jobs} jobs have failed");
    let buried = async {
        while api.metric("atr_queue_messages", r#"state="dead""#).await < 0.5 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(PATIENCE, buried).await.is_ok(), "it is a dead letter");
    faults.clear();
    for service in [worker, api] {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
}
