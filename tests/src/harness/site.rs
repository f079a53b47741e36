//! The system as an operator runs it: an API and workers as processes, each behind wires of its own to Redis, RabbitMQ,
//! PostgreSQL and S3, so that anything can happen to any one of them. Somebody else looks at the servers without a wire.

mod traces;

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_LOCATION};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use shared::export::JobId;
use shared::fhir::{OwnBases, Resource};
use shared::metrics::Metrics;
use shared::platform::{self, Platform};
use shared::queue::Depth;
use shared::settings::{Access, Settings};
use shared::source::postgres::Loader;
use tokio::time::{sleep, timeout};

use super::exported::Exported;
use super::member::{Member, Server};
use super::programs::outputs_url;
use super::proxy::Wire;
use super::random::{OWN_BASE, list};
use super::store::Store;
use super::system::{PATIENCE, PREFER, in_namespace, job_of, tables_at};
use super::{amqp_url, postgres_url, redis_url};
use crate::oracle::{Reached, by_key, reached};

/// What a site is made of, beside an API and two workers. The default is on the servers that all tests share.
pub struct Blueprint {
    /// The list `Group/g` and all else that the source has.
    pub lines: Vec<String>,
    /// Settings of both programs beside those that every site has.
    pub settings: Vec<(&'static str, String)>,
    /// Where Redis is.
    pub redis: String,
    /// Where RabbitMQ is.
    pub amqp: String,
    /// Where PostgreSQL is.
    pub postgres: String,
}

impl Default for Blueprint {
    fn default() -> Self {
        Self { lines: list(LIST), settings: Vec::new(), redis: redis_url(), amqp: amqp_url(), postgres: postgres_url() }
    }
}

/// The seed of the list, one with some of everything: missing targets, references to nowhere, roles, claims.
const LIST: u64 = 4;

/// A system that runs. Made by [`with`], which also takes it down.
pub struct Site {
    /// What keys, queues, tables and objects begin with.
    pub namespace: String,
    /// The object store.
    pub store: Store,
    /// The API.
    pub api: Member,
    /// The workers.
    pub workers: Vec<Member>,
    /// The ports, as somebody sees them whom no fault concerns.
    pub observer: Platform,
    redis: String,
    expected: Reached,
    client: Client,
}

/// Runs a story on a site of two workers, exports once with nothing in the way, and takes the site down afterwards, whatever
/// became of the story. At the end no message is left, on the way to a worker or in its hands.
pub async fn with(blueprint: Blueprint, story: impl AsyncFnOnce(&mut Site)) {
    in_namespace(async |namespace| {
        let mut site = Box::pin(Site::start(namespace, blueprint)).await.expect("the servers are there (tests/run)");
        Box::pin(async {
            site.exports("nothing is in the way", async |_| {}).await;
            story(&mut site).await;
            site.close().await;
        })
        .await;
    })
    .await;
}

impl Site {
    async fn start(namespace: &str, blueprint: Blueprint) -> anyhow::Result<Self> {
        let Blueprint { lines, settings, redis, amqp, postgres } = blueprint;
        let store = Store::devstore().await?;
        let source_url = tables_at(&postgres, namespace);
        let mut loader = Loader::connect(&source_url, OwnBases::new([OWN_BASE])).await?;
        let resources: Vec<Resource> =
            lines.iter().map(|line| Resource::read(&line.clone().into()).expect("they are resources")).collect();
        for some in resources.chunks(500) {
            loader.load(some).await?;
        }
        let observer = Settings {
            jobs_url: redis.clone(),
            queue_url: amqp,
            source_url,
            outputs_url: outputs_url(&store),
            namespace: namespace.to_owned(),
            access: Some(Access::OpenToEverybody),
            call_seconds: 60,
            ..Settings::default()
        };
        let variables = variables(&observer, &store, settings);
        let (api, worker, other) = tokio::join!(
            Member::start("api-service", &variables),
            Member::start("export-worker", &variables),
            Member::start("export-worker", &variables)
        );
        // A client that keeps no connection has none that a fault could have silenced.
        let client = Client::builder()
            .no_proxy()
            .no_gzip()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            namespace: namespace.to_owned(),
            observer: platform::connect(&observer, Some((&store.access_key, &store.secret_key)), &Metrics::new())
                .await?,
            store,
            api,
            workers: vec![worker, other],
            redis,
            expected: reached(&by_key(lines), "g", &[OWN_BASE]),
            client,
        })
    }

    /// Kicks an export off, lets something happen, and sees to it that the job comes to the end that it would have come to
    /// anyway.
    pub async fn exports(&mut self, what: &str, fault: impl AsyncFnOnce(&mut Self)) {
        let job = self.kick_off().await;
        fault(self).await;
        self.proves(what, &job).await;
    }

    /// Asks for an export as often as it takes to get an answer, and answers its polling location.
    pub async fn kick_off(&self) -> String {
        let asking = async {
            loop {
                if let Ok(response) = self.ask_for_export().send().await
                    && response.status() == StatusCode::ACCEPTED
                {
                    let location = response.headers()[CONTENT_LOCATION].to_str().expect("it is a URL").to_owned();
                    return location;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("a kick-off is taken at last")
    }

    /// The request for an export.
    pub fn ask_for_export(&self) -> RequestBuilder {
        let request = self.client.get(format!("{}/Group/g/$export", self.base()));
        request.header(PREFER, "respond-async").header(ACCEPT, "application/fhir+json")
    }

    /// The base of the API, past its front door.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.api.port)
    }

    /// Waits for the end of a job: it is complete, its files are those of an export with nothing in the way, and nothing is
    /// left of the work at it.
    pub async fn proves(&self, what: &str, polling: &str) {
        let manifest = self.manifest(what, polling).await;
        let download = async |item: &Value| {
            let url = item["url"].as_str().expect("an item has a url");
            self.client.get(url).send().await.expect("the store answers")
        };
        let exported = Exported::read(manifest, download).await;
        assert!(
            exported.reached == self.expected,
            "{what}: the files are others than those of an undisturbed export: {:#?}\ninstead of {:#?}",
            exported.reached,
            self.expected
        );
        let job = job_of(polling);
        self.no_trace_is_left(what, job).await;
    }

    /// Its programs.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.workers.iter().chain([&self.api])
    }

    /// Makes the source slow for the workers, so that an export is still under way when things happen one after the other.
    pub fn slows(&self) {
        for worker in &self.workers {
            worker.wire(Server::Source).set(Wire::Delay(Duration::from_millis(30)));
        }
    }

    /// Ends all faults: the wires carry everything, the store does what it is asked.
    pub fn heals(&self) {
        self.store.faults().clear();
        for member in self.members() {
            member.heal();
        }
    }

    /// Waits until a job is complete.
    pub async fn is_complete(&self, what: &str, polling: &str) {
        self.manifest(what, polling).await;
    }

    /// Polls until the job is complete. A client goes on when a poll is not answered, or by "try again".
    async fn manifest(&self, what: &str, polling: &str) -> Value {
        let polls = async {
            loop {
                match self.client.get(polling).send().await {
                    Ok(response) if response.status() == StatusCode::OK => {
                        return response.json().await.expect("a manifest is JSON");
                    }
                    Ok(response) => {
                        let status = response.status();
                        let is_passing = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
                        assert!(is_passing, "{what}: {status}: {}", response.text().await.unwrap_or_default());
                    }
                    Err(_) => {}
                }
                sleep(Duration::from_millis(30)).await;
            }
        };
        timeout(PATIENCE, polls).await.unwrap_or_else(|_| panic!("{what}: the job does not come to its end"))
    }

    /// The jobs that have a record.
    pub async fn jobs(&self) -> BTreeSet<JobId> {
        let tag = |key: String| key.split(['{', '}']).nth(1).and_then(|id| id.parse().ok()).expect("it has the id");
        self.keys("job").await.expect("Redis answers").into_iter().map(tag).collect()
    }

    /// Ends all programs in good order. A worker that leaves gives back what it had been sent and had not begun, so that
    /// another one has to see to that before there is no message on a queue nor in anybody's hands.
    async fn close(&mut self) {
        self.heals();
        let leaving = async {
            loop {
                for worker in &mut self.workers {
                    assert!(worker.terminate().await, "SIGTERM ends a program well");
                }
                if self.messages().await.is_ok_and(|messages| messages == [Depth::default(); 2]) {
                    return;
                }
                self.workers[0].start_again().await;
                while self.messages().await.is_ok_and(|messages| messages.iter().any(|depth| depth.waiting > 0)) {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        assert!(timeout(PATIENCE, leaving).await.is_ok(), "messages are left: {:?}", self.messages().await);
        assert!(self.api.terminate().await, "SIGTERM ends a program well");
    }
}

/// Longer than the programs of a site wait for an answer of a server (`ATR_CALL_SECONDS`, `ATR_UPLOAD_SECONDS`; a statement of
/// PostgreSQL may take six times as long).
pub fn longer_than_a_call(server: Server) -> Duration {
    Duration::from_secs(if server == Server::Source { 27 } else { 6 })
}

/// The settings that every site has: small slices and pages, and due times of a few seconds, so that a fault costs no more.
fn variables(observer: &Settings, store: &Store, more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let number = |number: u32| number.to_string();
    let mut variables = vec![
        ("ATR_JOBS_URL", observer.jobs_url.clone()),
        ("ATR_QUEUE_URL", observer.queue_url.clone()),
        ("ATR_SOURCE_URL", observer.source_url.clone()),
        ("ATR_OUTPUTS_URL", observer.outputs_url.clone()),
        ("ATR_NAMESPACE", observer.namespace.clone()),
        ("ATR_OWN_URLS", OWN_BASE.to_owned()),
        ("ATR_ACCESS", "open-to-everybody".to_owned()),
        ("ATR_AUDIT", "none".to_owned()),
        ("ATR_LOG", "error".to_owned()),
        ("ATR_POLLS_PER_MINUTE", number(1_000_000)),
        ("ATR_POLL_BURST", number(1_000_000)),
        ("ATR_JOBS_PER_CLIENT", number(1_000)),
        ("ATR_SLICE_IDS", number(3)),
        ("ATR_PAGE_IDS", number(2)),
        ("ATR_FILE_BYTES", number(300)),
        ("ATR_WINDOW", number(4)),
        ("ATR_UNPUBLISHED_DUE_SECONDS", number(2)),
        ("ATR_PUBLISHED_DUE_SECONDS", number(4)),
        ("ATR_WORKING_DUE_SECONDS", number(4)),
        ("ATR_JANITOR_SECONDS", number(1)),
        ("ATR_CALL_SECONDS", number(4)),
        ("ATR_UPLOAD_SECONDS", number(4)),
        // A machine that is busy with other tests may make a worker look dead when it is not.
        ("ATR_TASK_ATTEMPTS", number(50)),
        ("AWS_ACCESS_KEY_ID", store.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", store.secret_key.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    variables.extend(more);
    variables
}
