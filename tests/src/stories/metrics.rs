//! What operators see of the system, also when a part of it is away.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use shared::access::key_pair::KeyKind;
use shared::metrics::{Metrics, Program};
use shared::settings::Settings;
use tokio::time::{sleep, timeout};

use super::small_list;
use crate::harness::clients::{Client, RegisterFile};
use crate::harness::exposition::{Series, metrics, series};
use crate::harness::member::{Member, Server};
use crate::harness::programs::{load, start, variables};
use crate::harness::proxy::Wire;
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, PREFER, in_namespace, with_settings};

async fn kick_off(port: u16) -> StatusCode {
    let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/fhir/Group/g/$export"));
    request.header(PREFER, "respond-async").send().await.expect("the API answers").status()
}

#[tokio::test]
async fn the_api_tells_of_jobs_and_queues_when_no_worker_lives() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        load(namespace, &small_list()).await;
        let api = start("api-service", &variables(namespace, &store)).await;
        for _ in 0..2 {
            assert_eq!(kick_off(api.port).await, StatusCode::ACCEPTED);
        }
        let said = metrics(api.admin_port).await;
        for line in [
            r#"atr_jobs{state="accepted"} 2"#,
            r#"atr_jobs{state="running"} 0"#,
            r"atr_jobs_overdue 0",
            r"atr_oldest_due_seconds 0",
            r#"atr_queue_messages{lane="express",state="waiting"} 2"#,
            r#"atr_queue_messages{lane="bulk",state="dead"} 0"#,
            r#"atr_port_ready{port="jobs"} 1"#,
            r#"atr_port_calls_total{outcome="ok",port="jobs",verb="create"} 2"#,
            r#"atr_kick_offs_total{status="202"} 2"#,
        ] {
            assert!(said.lines().any(|said| said == line), "{line} is not in: {said}");
        }
        assert!(api.terminate().await);
    })
    .await;
}

#[tokio::test]
async fn a_part_that_is_away_shows_0_and_what_it_knows_is_not_told() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        load(namespace, &small_list()).await;
        let mut api = Member::start("api-service", &variables(namespace, &store)).await;
        assert_eq!(kick_off(api.port).await, StatusCode::ACCEPTED);
        let told = |said: &str, name: &str| said.lines().any(|line| line.starts_with(name));
        let ready = |said: &str, port: &str| {
            let line = format!(r#"atr_port_ready{{port="{port}"}} "#);
            said.lines().find_map(|said| said.strip_prefix(&line).map(str::to_owned))
        };
        for (server, port, gauge, wire) in [
            (Server::Jobs, "jobs", "atr_jobs{", Wire::Down),
            (Server::Queue, "queue", "atr_queue_messages{", Wire::Down),
            // It listens and never answers: a scrape does not wait for it.
            (Server::Jobs, "jobs", "atr_jobs{", Wire::BlackHole),
        ] {
            let is_back = async {
                while !told(&metrics(api.admin_port()).await, gauge) {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            assert!(timeout(PATIENCE, is_back).await.is_ok(), "{gauge} is told as long as {port} is there");
            api.wire(server).set(wire);
            let said = metrics(api.admin_port()).await;
            assert_eq!(ready(&said, port).as_deref(), Some("0"), "{port}");
            assert!(!told(&said, gauge), "an old value of {gauge} would look like a new one");
            assert_eq!(ready(&said, "source").as_deref(), Some("1"), "the others are as they were");
            api.wire(server).set(Wire::Pass);
        }
        api.heal();
        assert!(api.terminate().await);
    })
    .await;
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/Patient.read", &json!({"ids": ["g"]}))]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        settings.jobs_per_client = 1;
    };
    with_settings(&small_list(), change, |system| async move {
        let count = |reason: &str| system.metrics.refusals.with_label_values(&[reason]).get();
        system.get("/Group/g/$export").await;
        system.act_with(Some("nonsense"));
        system.get("/Group/g/$export").await;
        north.acts(&system, "system/Patient.read").await;
        system.get("/Group/g/$export?_type=Coverage").await;
        system.get("/$export").await;
        let all = ["token_missing", "token_invalid", "out_of_scope", "lists_only", "throttled", "unregistered"];
        assert_eq!(all.map(count), [1, 1, 1, 1, 0, 0]);
        system.stop_workers().await;
        system.kick_off("/Group/g/$export").await;
        system.get("/Group/g/$export").await;
        assert_eq!(count("throttled"), 1);
    })
    .await;
}

#[tokio::test]
async fn labels_have_the_values_that_are_listed_and_never_an_id() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        load(namespace, &small_list()).await;
        let variables = variables(namespace, &store);
        let (api, worker) = (start("api-service", &variables).await, start("export-worker", &variables).await);
        assert_eq!(kick_off(api.port).await, StatusCode::ACCEPTED);
        let completed = async {
            while worker.metric("atr_jobs_ended_total", "completed").await < 1.0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, completed).await.is_ok(), "the job comes to its end");
        for path in ["nonsense", "Patient/1", "Patient/nobody", "export/nonsense"] {
            reqwest::get(format!("http://127.0.0.1:{}/fhir/{path}", api.port)).await.expect("the API answers");
        }
        for (service, program) in [(&api, Program::Api), (&worker, Program::Worker)] {
            let said = metrics(service.admin_port).await;
            let (mut names, mut lines) = (BTreeSet::new(), 0);
            for Series { name, labels } in series(&said).filter(|series| series.name.starts_with("atr_")) {
                let row = Metrics::ROWS.iter().find(|row| [name, stem(name)].contains(&row.name)).expect(name);
                assert!(row.shown_by.contains(&program), "{name} is none of {program:?}");
                for (label, value) in labels.into_iter().filter(|(label, _)| *label != "le") {
                    let (_, values) = row.labels.iter().find(|(name, _)| *name == label).expect(label);
                    assert!(values.is_empty() || values.contains(&value), "{name}: {label}={value} is not listed");
                    let is_id = ["nobody", "nonsense", "g", "1"].contains(&value) || value.len() > 60;
                    assert!(!is_id, "{name}: {label}={value} is an id");
                }
                names.insert(name);
                lines += 1;
            }
            assert!(names.len() > 10, "metrics are there: {names:?}");
            // Each is a series that Prometheus keeps for every process.
            assert!(lines < 1_000, "{lines} series");
        }
        assert!(api.terminate().await && worker.terminate().await);
    })
    .await;
}

/// The name of a histogram without the suffix of its lines.
fn stem(name: &str) -> &str {
    let suffixes = ["_bucket", "_count", "_sum"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}
