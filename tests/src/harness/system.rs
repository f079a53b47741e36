//! The whole system in this process, on real Redis, RabbitMQ, PostgreSQL and S3: an API on a free port and workers.
//!
//! With `TEST_SOURCE=fhir` in the environment the source is a FHIR server (`devfhir`) in place of PostgreSQL: `tests/run` tells
//! every story twice.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use anyhow::Context;
use api_service::Api;
use devfhir::FhirServer;
use export_worker::Worker;
use futures_util::FutureExt;
use reqwest::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use shared::export::{Anchor, JobId, Lane, TaskKind};
use shared::fhir::ResourceKey;
use shared::jobs::Plan;
use shared::metrics::Metrics;
use shared::outputs::s3::S3Settings;
use shared::platform::{self, Platform};
use shared::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use shared::settings::{Access, Settings};
use shared::shutdown::Shutdown;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::exported::Exported;
use super::payer::Payer;
use super::random::OWN_BASE;
use super::store::Store;
use super::{amqp_url, namespace, postgres_url, redis_url};
use crate::oracle::{Reached, Resources, by_key, reached};

/// The base that clients are told; nothing listens there, so a URL that was not built from it would show.
pub const PUBLIC_BASE: &str = "https://export.example.org/payer/fhir";

/// The header that asks for an asynchronous answer.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long a test waits for something that happens within a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running system. Made by [`with`], which also takes it down.
pub struct System {
    /// The ports it stands on.
    pub platform: Platform,
    /// The metrics of its API and its workers.
    pub metrics: Metrics,
    /// Its settings.
    pub settings: Settings,
    /// The object store, which runs while this value lives.
    store: Store,
    client: Client,
    local_base: String,
    /// The token that requests carry, if any.
    token: RwLock<Option<String>>,
    source: Mutex<Source>,
    workers: Mutex<Vec<(Shutdown, JoinHandle<()>)>>,
    api: ServerHandle,
}

/// The way into the source, and what went that way.
struct Source {
    payer: Payer,
    loaded: Resources,
}

/// Runs a story on a system with two workers, `devstore` and these resources, and takes the system down afterwards,
/// whatever became of the story.
pub async fn with<F>(lines: &[String], story: impl FnOnce(Arc<System>) -> F)
where
    F: Future<Output = ()>,
{
    with_settings(lines, |_| {}, story).await;
}

/// As [`with`], with other settings.
pub async fn with_settings<F>(
    lines: &[String],
    change: impl FnOnce(&mut Settings),
    story: impl FnOnce(Arc<System>) -> F,
) where
    F: Future<Output = ()>,
{
    let devstore = Store::devstore().await.expect("devstore starts");
    on_store(devstore, lines, change, story).await;
}

/// Runs a story on a system whose source is this server, which [`System::fhir_server`] gives back to the story.
pub async fn on_fhir_server<F>(
    server: FhirServer,
    change: impl FnOnce(&mut Settings),
    story: impl FnOnce(Arc<System>) -> F,
) where
    F: Future<Output = ()>,
{
    let devstore = Store::devstore().await.expect("devstore starts");
    on(Some(Payer::Server(server)), devstore, &[], change, story).await;
}

/// As [`with_settings`], on another object store.
pub async fn on_store<F>(
    objects: Store,
    lines: &[String],
    change: impl FnOnce(&mut Settings),
    story: impl FnOnce(Arc<System>) -> F,
) where
    F: Future<Output = ()>,
{
    on(None, objects, lines, change, story).await;
}

async fn on<F>(
    payer: Option<Payer>,
    objects: Store,
    lines: &[String],
    change: impl FnOnce(&mut Settings),
    story: impl FnOnce(Arc<System>) -> F,
) where
    F: Future<Output = ()>,
{
    in_namespace(async |namespace| {
        // Boxed, as the story is: their futures together are larger than a stack should have to hold.
        let system = Arc::new(
            Box::pin(System::start(payer, objects, namespace, change))
                .await
                .expect("Redis, RabbitMQ and PostgreSQL are there (tests/run)"),
        );
        system.load(lines).await;
        let told = AssertUnwindSafe(Box::pin(story(Arc::clone(&system)))).catch_unwind().await;
        system.stop_workers().await;
        // It holds connections to the servers.
        system.api.stop(false).await;
        if let Err(panic) = told {
            std::panic::resume_unwind(panic);
        }
    })
    .await;
}

/// Runs a test in a namespace of its own, and removes that afterwards, whatever became of the test.
pub async fn in_namespace(test: impl AsyncFnOnce(&str)) {
    let namespace = namespace();
    let told = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    clean(&namespace).await.expect("the servers that were there a moment ago still are");
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// Removes the namespace from Redis, RabbitMQ and PostgreSQL.
pub async fn clean(namespace: &str) -> anyhow::Result<()> {
    for lane in Lane::ALL {
        rabbit(&amqp_url(), namespace, lane)?.delete().await?;
    }
    let mut redis = redis::Client::open(redis_url())?.get_multiplexed_async_connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{namespace}:*")).query_async(&mut redis).await?;
    if !keys.is_empty() {
        redis::cmd("DEL").arg(keys).query_async::<u64>(&mut redis).await?;
    }
    let (postgres, connection) = tokio_postgres::connect(&postgres_url(), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    postgres.batch_execute(&format!("DROP SCHEMA IF EXISTS {namespace} CASCADE")).await?;
    drop(postgres);
    connection.await??;
    Ok(())
}

/// The queue of a lane on a broker.
pub fn rabbit(url: &str, namespace: &str, lane: Lane) -> anyhow::Result<RabbitQueue> {
    let patience = Duration::from_secs(30);
    let settings = RabbitSettings {
        url: url.to_owned(),
        namespace: namespace.to_owned(),
        lane,
        confirm_timeout: patience,
        connect_timeout: patience,
        heartbeat_seconds: 30,
    };
    Ok(RabbitQueue::connect(&settings)?)
}

/// The URL of the tables of a namespace.
pub fn source_url(namespace: &str) -> String {
    tables_at(&postgres_url(), namespace)
}

/// The same on another server.
pub fn tables_at(url: &str, namespace: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}schema={namespace}")
}

impl System {
    async fn start(
        payer: Option<Payer>,
        store: Store,
        namespace: &str,
        change: impl FnOnce(&mut Settings),
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let payer = match payer {
            Some(payer) => payer,
            None => Payer::start(namespace).await?,
        };
        let endpoint = store.address.endpoint.clone().context("a store of a test has an endpoint")?;
        let mut settings = Settings {
            public_url: PUBLIC_BASE.to_owned(),
            own_urls: OWN_BASE.to_owned(),
            jobs_url: redis_url(),
            queue_url: amqp_url(),
            source_url: payer.url(),
            source_settle_seconds: 0,
            outputs_url: format!("s3://{}?endpoint={endpoint}&region=us-east-1&path_style=true", store.address.bucket),
            namespace: namespace.to_owned(),
            access: Some(Access::OpenToEverybody),
            audit: "none".to_owned(),
            // The machine may be busy with a hundred other tests.
            call_seconds: 60,
            grace_seconds: 60,
            source_connections: 3,
            // Tests poll as fast as they can; those of the limits set their own.
            polls_per_minute: 1_000_000,
            poll_burst: 1_000_000,
            jobs_per_client: 1_000,
            ..Settings::default()
        };
        change(&mut settings);
        let metrics = Metrics::new();
        let keys = Some((store.access_key.as_str(), store.secret_key.as_str()));
        let mut platform = platform::connect(&settings, keys, &metrics).await?;
        platform.source = payer.unstamped(platform.source);
        let local_base = format!("http://{}{}", listener.local_addr()?, settings.public_base()?.path());
        let server =
            Api::new(platform.clone(), platform::open_access(&settings, &metrics).await?, metrics.clone(), &settings)?
                .serve(listener, None)?;
        let api = server.handle();
        tokio::spawn(server);
        // What a kick-off must have, and nothing else minds.
        let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static("respond-async"))]);
        let client = Client::builder()
            .no_proxy()
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(headers)
            .build()?;
        let system = Self {
            platform,
            metrics,
            settings,
            store,
            client,
            local_base,
            token: RwLock::default(),
            source: Mutex::new(Source { payer, loaded: Resources::new() }),
            workers: Mutex::default(),
            api,
        };
        for _ in 0..2 {
            system.start_worker().await;
        }
        Ok(system)
    }

    /// Starts one more worker.
    pub async fn start_worker(&self) {
        let worker =
            Worker::new(self.platform.clone(), self.metrics.clone(), &self.settings).expect("the settings are valid");
        let shutdown = Shutdown::new();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        self.workers.lock().await.push((shutdown, running));
    }

    /// Stops all workers in good order. Panics when one of them did.
    pub async fn stop_workers(&self) {
        for (shutdown, running) in self.workers.lock().await.drain(..) {
            shutdown.stop();
            running.await.expect("no worker panics");
        }
    }

    /// Does what the Plan task of a job does, and no more, so that something can happen before the other tasks.
    pub async fn plan_by_hand(&self, polling: &str) {
        let job = job_of(polling);
        let Platform { jobs, source, clock, .. } = &self.platform;
        let request = jobs.job(job).await.expect("the store answers").expect("it was kicked off").request;
        let Anchor::Group(list) = request.anchor else { panic!("only a list is planned by hand") };
        let transaction_time = source.transaction_time().await.expect("the source answers");
        let head = source.list(&list, transaction_time).await.expect("the source answers").expect("the list is there");
        let slices = source.cut(&list, transaction_time, 2).await.expect("the list is there");
        let itself = TaskKind::List { members: head.members };
        let tasks = std::iter::once(itself).chain(slices.into_iter().map(TaskKind::Listed)).collect();
        let plan = Plan { transaction_time, tasks, window: 3 };
        jobs.plan(job, &plan, clock.now()).await.expect("the store takes the plan");
    }

    /// Does something with the FHIR server that is the source.
    pub async fn fhir_server<T>(&self, with: impl FnOnce(&FhirServer) -> T) -> T {
        match &self.source.lock().await.payer {
            Payer::Server(server) => with(server),
            Payer::Tables(..) => panic!("the source of this story is a database"),
        }
    }

    /// Loads resources into the source.
    pub async fn load(&self, lines: &[String]) {
        let mut source = self.source.lock().await;
        let loaded = source.payer.load(lines).await;
        source.loaded.extend(by_key(loaded));
    }

    /// Deletes a resource, named `Type/id`, from the source.
    pub async fn unload(&self, key: &str) {
        let (resource_type, id) = key.split_once('/').expect("a key is Type/id");
        let parsed = ResourceKey::new(resource_type.parse().expect("it is a type"), id.parse().expect("it is an id"));
        let mut source = self.source.lock().await;
        source.payer.delete(&[parsed]).await;
        source.loaded.remove(key);
    }

    /// A request to a URL below the public base, or to a path below it.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.client.request(method, self.local(url));
        match &*self.token.read().unwrap_or_else(PoisonError::into_inner) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Waits until a `GET` of this path is answered so.
    pub async fn becomes(&self, path: &str, status: StatusCode) {
        let asking = async {
            while self.get(path).await.status() != status {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, asking).await.is_ok(), "{path} does not become {status}");
    }

    /// Has requests carry this token from now on, or none.
    pub fn act_with(&self, token: Option<&str>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token.map(str::to_owned);
    }

    /// Where the API of this system answers for a URL below the public base, or a path below it.
    pub fn local(&self, url: &str) -> String {
        format!("{}{}", self.local_base, url.strip_prefix(PUBLIC_BASE).unwrap_or(url))
    }

    /// `GET`.
    pub async fn get(&self, url: &str) -> Response {
        self.request(Method::GET, url).send().await.expect("the API answers")
    }

    /// `POST` of a `Parameters` resource with these parameters.
    pub async fn post(&self, url: &str, parameters: &[Value]) -> Response {
        let body = json!({"resourceType": "Parameters", "parameter": parameters});
        let request = self.request(Method::POST, url).header(CONTENT_TYPE, "application/fhir+json");
        request.body(body.to_string()).send().await.expect("the API answers")
    }

    /// `DELETE`.
    pub async fn delete(&self, url: &str) -> Response {
        self.request(Method::DELETE, url).send().await.expect("the API answers")
    }

    /// Kicks an export off and answers its polling location.
    pub async fn kick_off(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{path}");
        polling_location(&response)
    }

    /// Polls until the job is at its end and answers the last response.
    pub async fn ended(&self, polling: &str) -> Response {
        let polls = async {
            loop {
                let response = self.get(polling).await;
                if response.status() != StatusCode::ACCEPTED {
                    return response;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, polls).await.expect("a job comes to an end")
    }

    /// Exports and reads all files.
    pub async fn export(&self, path: &str) -> Exported {
        let polling = self.kick_off(path).await;
        self.exported(&polling).await
    }

    /// The same by `POST`.
    pub async fn export_by(&self, path: &str, parameters: &[Value]) -> Exported {
        let response = self.post(path, parameters).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{path}");
        self.exported(&polling_location(&response)).await
    }

    /// Reads all files of a job, once it is complete.
    pub async fn exported(&self, polling: &str) -> Exported {
        let response = self.ended(polling).await;
        assert_eq!(response.status(), StatusCode::OK);
        Exported::read(response.json().await.expect("a manifest is JSON"), async |item| self.download(item).await).await
    }

    /// The answer to the download of a file that an item of a manifest names: through the gate when it leads there.
    pub async fn download(&self, item: &Value) -> Response {
        let mut url = item["url"].as_str().expect("an item has a url").to_owned();
        if url.starts_with(PUBLIC_BASE) {
            let gate = self.get(&url).await;
            assert_eq!(gate.status(), StatusCode::TEMPORARY_REDIRECT, "{url}");
            gate.headers()[LOCATION].to_str().expect("it is a URL").clone_into(&mut url);
        }
        self.client.get(url).send().await.expect("the store answers")
    }

    /// All that was loaded and not unloaded.
    pub async fn loaded(&self) -> Resources {
        self.source.lock().await.loaded.clone()
    }

    /// What a list reaches of all that was loaded, by the oracle.
    pub async fn expected(&self, list: &str) -> Reached {
        reached(&self.source.lock().await.loaded, list, &[OWN_BASE, PUBLIC_BASE])
    }

    /// How many uploads of a job were begun and are not finished.
    pub async fn unfinished_uploads(&self, job: JobId) -> usize {
        let outputs = self.store.outputs(&self.settings.namespace, &S3Settings::default()).await;
        let outputs = outputs.expect("the store answers");
        outputs.unfinished_uploads(job).await.expect("the store answers")
    }

    /// Waits until something is so.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, mut is_so: impl FnMut() -> F) {
        let asking = async {
            while !is_so().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, asking).await.is_ok(), "{what}");
    }
}

/// The job of a polling location.
pub fn job_of(polling: &str) -> JobId {
    polling.rsplit('/').next().and_then(|id| id.parse().ok()).expect("it ends with the job's id")
}

/// The polling location in the answer to a kick-off.
pub fn polling_location(response: &Response) -> String {
    let location = response.headers().get(CONTENT_LOCATION).expect("a 202 has a Content-Location");
    location.to_str().expect("it is a URL").to_owned()
}

/// The first issue of an OperationOutcome: its code and its diagnostics.
pub async fn issue(response: Response) -> (String, String) {
    assert_eq!(response.headers()[CONTENT_TYPE], "application/fhir+json");
    let outcome: Value = response.json().await.expect("an error has a body of JSON");
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    let text = |field: &str| outcome["issue"][0][field].as_str().expect("an issue has it").to_owned();
    (text("code"), text("diagnostics"))
}
