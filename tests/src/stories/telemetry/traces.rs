//! Traces lead from the request to every attempt at every task, on whichever worker.

use std::collections::BTreeSet;

use devstore::{Failure, Requests};
use reqwest::StatusCode;
use serde_json::Value;

use super::{Heard, lines, traceparent};
use crate::harness::collector::{Collector, Span};
use crate::harness::programs::{free_port, load};
use crate::harness::store::Store;
use crate::harness::system::in_namespace;
use crate::stories::small_list;

/// The id of a trace that a client has begun.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn a_trace_leads_from_the_request_through_the_message_to_the_worker() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        load(namespace, &small_list()).await;
        let collector = Collector::start();
        let heard = Heard::start(namespace, &store, folder.path(), "info", &collector.url).await;
        assert_eq!(heard.export("Group/g/$export", &traceparent(TRACE)).await, StatusCode::ACCEPTED);
        let [_, worker] = heard.end().await;

        let spans: Vec<Span> = collector.spans().into_iter().filter(|span| span.trace == TRACE).collect();
        let named = |name: &str| spans.iter().filter(move |span| span.name == name).collect::<Vec<_>>();
        let [request] = named("GET /fhir/Group/{list}/$export")[..] else { panic!("one kick-off: {spans:#?}") };
        assert_eq!((request.service.as_str(), request.parent.as_str()), ("api-service", "b7ad6b7169203331"));
        let job = request.attribute("job.id").expect("the kick-off says which job it made");
        let tasks = named("task");
        let kinds: BTreeSet<String> = tasks.iter().filter_map(|task| task.attribute("task.kind")).collect();
        assert!(["plan", "list", "listed"].iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
        for task in &tasks {
            assert_eq!((task.service.as_str(), &task.parent), ("export-worker", &request.id), "below its request");
            assert_eq!(task.attribute("job.id").as_ref(), Some(&job));
            assert_eq!(task.attribute("outcome").as_deref(), Some("completed"));
        }
        let of_tasks: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert!(named("outputs.write").is_empty(), "the pieces of a file are too many to be told");
        for call in ["jobs.start", "source.listed", "outputs.finish", "jobs.complete", "queue.publish"] {
            let below = named(call).iter().any(|call| of_tasks.contains(call.parent.as_str()));
            assert!(below, "{call} is a call of a task: {spans:#?}");
        }
        // The logs can be put together by the same id.
        let completed = lines(&worker)
            .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("completed task")));
        let traces: Vec<Value> = completed.map(|line| line["trace.id"].clone()).collect();
        assert_eq!(traces, vec![Value::from(TRACE); tasks.len()], "one for each");
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_tried_again_is_in_the_trace_of_its_kick_off() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        load(namespace, &small_list()).await;
        let collector = Collector::start();
        let heard = Heard::start(namespace, &store, folder.path(), "info", &collector.url).await;
        // As often as the SDK tries by itself, so that the attempt fails and the janitor publishes the task again.
        let uploads = Requests::any().with_verb("PUT").to_key("*/Patient/*");
        store.faults().fail_next(4, uploads, Failure::InternalError);
        assert_eq!(heard.export("Group/g/$export", &traceparent(TRACE)).await, StatusCode::ACCEPTED);
        heard.end().await;

        let spans = collector.spans();
        let [request] = spans.iter().filter(|span| span.name.ends_with("$export")).collect::<Vec<_>>()[..] else {
            panic!("one kick-off: {spans:#?}")
        };
        let attempts: Vec<&Span> = spans.iter().filter(|span| span.name == "task").collect();
        let has = |name: &str, value: &str| attempts.iter().any(|span| span.attribute(name).as_deref() == Some(value));
        assert!(has("outcome", "retried") && has("attempt", "2"), "one is tried again: {attempts:#?}");
        for attempt in attempts {
            assert_eq!((attempt.trace.as_str(), &attempt.parent), (TRACE, &request.id), "{attempt:#?}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_waits_for_a_collector_that_is_away() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        load(namespace, &small_list()).await;
        let nobody = format!("http://127.0.0.1:{}", free_port());
        let heard = Heard::start(namespace, &store, folder.path(), "info", &nobody).await;
        assert_eq!(heard.export("Group/g/$export", &traceparent(TRACE)).await, StatusCode::ACCEPTED);
        let [api, _] = heard.end().await;
        assert!(api.contains("OTLP export"), "the log says that spans are lost: {api}");
    })
    .await;
}
