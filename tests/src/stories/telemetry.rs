//! What the programs tell of themselves: logs and traces that say which job, and nobody's data.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::header::{ACCEPT, CONTENT_LOCATION};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, sleep, timeout};

use crate::docs::fields::vocabulary;
use crate::harness::collector::{Collector, Span};
use crate::harness::programs::{Service, load, program, resources, start_heard, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, PREFER, in_namespace};

/// A worker and an API that log all there is, in JSON, into files, and send all their spans to a collector.
struct Heard {
    api: Service,
    worker: Service,
    logs: [std::path::PathBuf; 2],
    collector: Collector,
    client: Client,
}

impl Heard {
    async fn start(namespace: &str, store: &Store, folder: &Path, log: &str) -> Self {
        let collector = Collector::start();
        let mut variables = variables(namespace, store);
        variables.extend([
            ("ATR_LOG", log.to_owned()),
            ("ATR_LOG_FORMAT", "json".to_owned()),
            ("ATR_OTLP_URL", collector.url.clone()),
            ("ATR_SLICE_IDS", "20".to_owned()),
        ]);
        let logs = [folder.join("api.log"), folder.join("worker.log")];
        let api = start_heard("api-service", &variables, &logs[0]).await;
        let worker = start_heard("export-worker", &variables, &logs[1]).await;
        Self { api, worker, logs, collector, client: Client::builder().no_proxy().build().expect("it can be made") }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/fhir/{path}", self.api.port)
    }

    /// Exports, and downloads every file. Answers the status of the kick-off.
    async fn export(&self, path: &str, traceparent: &str) -> StatusCode {
        let request =
            self.client.get(self.url(path)).header(PREFER, "respond-async").header(ACCEPT, "application/fhir+json");
        let kick_off = request.header("traceparent", traceparent).send().await.expect("the API answers");
        let status = kick_off.status();
        let Some(polling) = kick_off.headers().get(CONTENT_LOCATION) else { return status };
        let polling = polling.to_str().expect("it is a URL").to_owned();
        let manifest = timeout(PATIENCE, async {
            loop {
                let poll = self.client.get(&polling).send().await.expect("the API answers");
                match poll.status() {
                    StatusCode::OK => return poll.json::<Value>().await.expect("a manifest is JSON"),
                    StatusCode::ACCEPTED | StatusCode::TOO_MANY_REQUESTS => sleep(Duration::from_millis(200)).await,
                    other => panic!("{path}: {other}"),
                }
            }
        });
        let manifest = manifest.await.expect("the job comes to its end");
        for item in manifest["output"].as_array().expect("it has outputs") {
            let file = self.client.get(item["url"].as_str().expect("it has a url")).send().await;
            assert!(file.expect("the store answers").status().is_success());
        }
        status
    }

    /// Ends both programs, so that all is written and sent, and answers the lines of each.
    async fn end(self) -> ([String; 2], Collector) {
        assert!(self.api.terminate().await && self.worker.terminate().await, "SIGTERM ends a program well");
        (self.logs.map(|path| fs::read_to_string(path).expect("it was written")), self.collector)
    }
}

/// A `traceparent` that asks for its trace to be kept.
fn traceparent(trace: &str) -> String {
    format!("00-{trace}-b7ad6b7169203331-01")
}

#[tokio::test]
async fn a_trace_leads_from_the_request_through_the_message_to_the_worker() {
    in_namespace(async |namespace| {
        let (store, folder) =
            (Store::devstore().await.expect("it starts"), tempfile::tempdir().expect("it can be had"));
        load(namespace, &super::small_list()).await;
        let heard = Heard::start(namespace, &store, folder.path(), "info").await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(heard.export("Group/g/$export", &traceparent(trace)).await, StatusCode::ACCEPTED);
        let ([_, worker], collector) = heard.end().await;

        let spans: Vec<Span> = collector.spans().into_iter().filter(|span| span.trace == trace).collect();
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
        for call in ["jobs.start", "source.listed", "outputs.finish", "jobs.complete", "queue.publish"] {
            let below = named(call).iter().any(|call| of_tasks.contains(call.parent.as_str()));
            assert!(below, "{call} is a call of a task: {spans:#?}");
        }
        // The logs can be put together by the same id.
        let completed = lines(&worker)
            .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("completed task")));
        let traces: Vec<Value> = completed.map(|line| line["trace.id"].clone()).collect();
        assert_eq!(traces, vec![Value::from(trace); tasks.len()], "one for each");
    })
    .await;
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

/// The ids of all resources but of the lists, and what people and places are called and found by.
fn personal(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in resources(folder) {
        let resource: Value = serde_json::from_str(&line).expect("it is JSON");
        if resource["resourceType"] == "Group" {
            continue;
        }
        found.extend(resource["id"].as_str().map(str::to_owned));
        for field in ["name", "telecom", "address", "birthDate", "identifier", "subscriberId"] {
            texts(&resource[field], &mut found);
        }
    }
    found
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // Two letters are a state of the union, and many a word besides.
        Value::String(text) if text.len() < 3 => {}
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        // What an element is for, and where its kind is defined, is nobody's.
        Value::Object(fields) => {
            let of_somebody = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "use" | "system" | "type"));
            of_somebody.for_each(|(_, value)| texts(value, found));
        }
        _ => {}
    }
}

/// Those of some texts that stand in another one as words of their own.
fn spoken<'a>(texts: &'a BTreeSet<String>, said: &str) -> Vec<&'a String> {
    let is_inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let stands = |text: &&String| {
        said.match_indices(text.as_str()).any(|(at, _)| {
            !is_inside(said[..at].chars().next_back()) && !is_inside(said[at + text.len()..].chars().next())
        })
    };
    texts.iter().filter(stands).collect()
}

#[tokio::test]
async fn logs_traces_and_metrics_of_exports_say_nothing_of_anybody() {
    in_namespace(async |namespace| {
        let (store, folder) = (Store::devstore().await.expect("it starts"), tempfile::tempdir().expect("it can be had"));
        let sample = folder.path().join("sample");
        let made = program("atr").args(["generate", "--members", "60", "--seed", "11", "--out"]).arg(&sample).output().await;
        assert!(made.expect("the program starts").status.success());
        let personal = personal(&sample);
        let mut lines: Vec<String> = resources(&sample).collect();
        // One more list, of somebody who is not there, and of what is no reference to anybody.
        let missing = "somebody-who-is-missing";
        lines.push(super::group(&[super::member(&format!("Patient/{missing}"), &format!("Coverage/{missing}"), "nonsense-of-somebody")]));
        load(namespace, &lines).await;
        // As deep as it goes: what libraries say is said, too.
        let heard = Heard::start(namespace, &store, folder.path(), "trace").await;

        let somebody = personal.iter().find(|text| text.starts_with("p-0")).expect("there are patients").clone();
        let trace = traceparent("4bf92f3577b34da6a3ce929d0e0e4736");
        for (path, status) in [
            ("Group/sample/$davinci-data-export".to_owned(), 202),
            ("Group/g/$export".to_owned(), 202),
            (format!("Group/sample/$export?patient=Patient/{somebody}&patient=Patient/{missing}"), 400),
            ("Group/sample/$export?_since=2020-01-01T00:00:00Z&_typeFilter=Patient%3Fgender%3Dfemale".to_owned(), 202),
            ("Group/sample/$export?organizeOutputBy=Patient".to_owned(), 202),
            ("$export".to_owned(), 202),
            ("Group/no-such-list/$export".to_owned(), 404),
            (format!("Patient/{somebody}"), 200),
            (format!("Patient/{somebody}/_history"), 200),
            (format!("Patient/{missing}"), 404),
            (format!("Nonsense/{somebody}"), 404),
            (somebody.clone(), 404),
        ] {
            assert_eq!(heard.export(&path, &trace).await.as_u16(), status, "{path}");
        }
        let body = format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"patient","valueReference":{{"reference":"Patient/{somebody}"}}}}]}}"#);
        let post = heard.client.post(heard.url("Group/sample/$export")).header(PREFER, "respond-async");
        let post = post.header(ACCEPT, "application/fhir+json").header("Content-Type", "application/fhir+json").body(body);
        assert_eq!(post.send().await.expect("the API answers").status(), StatusCode::ACCEPTED);

        let mut said = Vec::new();
        for service in [&heard.api, &heard.worker] {
            let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", service.admin_port)).await;
            said.push(("metrics", metrics.expect("it answers").text().await.expect("it is text")));
        }
        let ([api, worker], collector) = heard.end().await;
        assert!(worker.contains("completed job") && api.contains("accepted job"), "the logs are there");
        assert!(collector.spans().len() > 100, "the spans are there");
        said.extend([("API", api), ("worker", worker), ("traces", String::from_utf8_lossy(&collector.bytes()).into_owned())]);
        let mut searched = personal.clone();
        searched.extend([missing.to_owned(), "nonsense-of-somebody".to_owned()]);
        for (who, said) in said {
            let spoken = spoken(&searched, &said);
            let lines = spoken.iter().filter_map(|text| Some((text, said.lines().find(|line| line.contains(text.as_str()))?)));
            assert!(spoken.is_empty(), "{who}: {:#?}", lines.take(5).collect::<Vec<_>>());
        }
    })
    .await;
}

#[tokio::test]
async fn every_field_of_a_log_line_is_in_the_vocabulary() {
    in_namespace(async |namespace| {
        let (store, folder) =
            (Store::devstore().await.expect("it starts"), tempfile::tempdir().expect("it can be had"));
        load(namespace, &super::small_list()).await;
        let heard =
            Heard::start(namespace, &store, folder.path(), "warn,api_service=trace,export_worker=trace,shared=trace")
                .await;
        let trace = traceparent("4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(heard.export("Group/g/$export", &trace).await, StatusCode::ACCEPTED);
        let (logs, _) = heard.end().await;
        let vocabulary = vocabulary();
        let (mut seen, mut count) = (BTreeSet::new(), 0);
        for line in logs.iter().flat_map(|log| lines(log)).filter(|line| line["resourceType"].is_null()) {
            count += 1;
            seen.extend(line.as_object().expect("a line is an object").keys().cloned());
        }
        assert!(count > 10, "{count} lines");
        let unknown: Vec<&String> = seen.difference(&vocabulary).collect();
        assert!(unknown.is_empty(), "these fields are not in the table: {unknown:?}");
    })
    .await;
}
