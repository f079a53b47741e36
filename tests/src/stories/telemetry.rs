//! What the programs tell of themselves: logs and traces that say which job, and nobody's data.

mod logs;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::header::{ACCEPT, CONTENT_LOCATION};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, sleep, timeout};

use crate::harness::programs::{Service, start_heard, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, PREFER};

/// A worker and an API that log in JSON, into files, and send their spans to a collector.
struct Heard {
    api: Service,
    worker: Service,
    logs: [PathBuf; 2],
    client: Client,
}

impl Heard {
    async fn start(namespace: &str, store: &Store, folder: &Path, log: &str, collector: &str) -> Self {
        let mut variables = variables(namespace, store);
        variables.extend([
            ("ATR_LOG", log.to_owned()),
            ("ATR_LOG_FORMAT", "json".to_owned()),
            ("ATR_OTLP_URL", collector.to_owned()),
            ("ATR_SLICE_IDS", "20".to_owned()),
        ]);
        let logs = [folder.join("api.log"), folder.join("worker.log")];
        let api = start_heard("api-service", &variables, &logs[0]).await;
        let worker = start_heard("export-worker", &variables, &logs[1]).await;
        Self { api, worker, logs, client: Client::builder().no_proxy().build().expect("it can be made") }
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

    /// Ends both programs, so that all is written and sent, and answers what each has said.
    async fn end(self) -> [String; 2] {
        assert!(self.api.terminate().await && self.worker.terminate().await, "SIGTERM ends a program well");
        self.logs.map(|path| fs::read_to_string(path).expect("it was written"))
    }
}

/// A `traceparent` that asks for its trace to be kept.
fn traceparent(trace: &str) -> String {
    format!("00-{trace}-b7ad6b7169203331-01")
}

/// The events of a log.
fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}
