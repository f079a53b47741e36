//! Keys and passwords that run out or are changed while the services run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::harness::programs::{load, start, variables};
use crate::harness::store::Store;
use crate::harness::system::{PREFER, in_namespace, with_settings};
use crate::harness::{namespace, redis_url};
use crate::stories::small_list;

/// How often the wrong keys are handed out before the right ones.
const WRONG: usize = 3;

/// How long the right keys are good for.
const LIFE: Duration = Duration::from_mins(10);

/// A place that hands out keys as Kubernetes and ECS do: at first keys that the store does not know and that run out at once,
/// then those that it takes. Answers its URL and how often it was asked.
async fn credentials_endpoint(access_key: String, secret_key: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port can be had");
    let url = format!("http://{}/keys", listener.local_addr().expect("it is bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if !matches!(stream.read(&mut request).await, Ok(1..)) {
                continue;
            }
            let is_right = count.fetch_add(1, Ordering::Relaxed) >= WRONG;
            let (name, life) = if is_right { (access_key.as_str(), LIFE) } else { ("gone", Duration::from_secs(1)) };
            let keys = json!({"AccessKeyId": name, "SecretAccessKey": secret_key, "Token": "session",
                "Expiration": (SystemClock.now() + life).to_string()})
            .to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{keys}", keys.len());
            // Whoever does not wait for the answer asks again.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

#[tokio::test]
async fn keys_that_are_renewed_are_used_without_a_restart_and_no_link_outlives_them() {
    in_namespace(async |namespace| export_with_new_keys(namespace).await).await;
}

async fn export_with_new_keys(namespace: &str) {
    let store = Store::devstore().await.expect("devstore starts");
    load(namespace, &small_list()).await;
    let mut processes = Vec::new();
    for name in ["export-worker", "api-service"] {
        let (keys, asked) = credentials_endpoint(store.access_key.clone(), store.secret_key.clone()).await;
        let mut variables = variables(namespace, &store);
        variables.retain(|(name, _)| !name.starts_with("AWS_ACCESS_KEY") && !name.starts_with("AWS_SECRET"));
        variables.extend([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]);
        // A worker is ready once the store takes its keys.
        processes.push(start(name, &variables).await);
        if name == "export-worker" {
            assert!(asked.load(Ordering::Relaxed) > WRONG, "it has had other keys before");
        }
    }
    let base = format!("http://127.0.0.1:{}/fhir", processes[1].port);
    let client = reqwest::Client::new();
    let kick_off = client.get(format!("{base}/Group/g/$export")).header(PREFER, "respond-async").send().await;
    let kick_off = kick_off.expect("the API answers");
    assert_eq!(kick_off.status(), StatusCode::ACCEPTED);
    let location = crate::harness::system::polling_location(&kick_off);
    let polling = format!("{base}{}", &location[location.find("/export/").expect("a polling location has it")..]);
    // The API signs links with keys of its own, which are the wrong ones the first times.
    let manifest = loop {
        let response = client.get(&polling).send().await.expect("the API answers");
        if response.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        let manifest: Value = response.json().await.expect("a manifest is JSON");
        let url = manifest["output"][0]["url"].as_str().expect("an item has a url");
        if reqwest::get(url).await.expect("the store answers").status() == StatusCode::OK {
            break manifest;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    for item in manifest["output"].as_array().expect("it is there") {
        let url: Url = item["url"].as_str().and_then(|url| url.parse().ok()).expect("it is a URL");
        let seconds = url.query_pairs().find(|(name, _)| name == "X-Amz-Expires").expect("it is in every link").1;
        let seconds: u64 = seconds.parse().expect("it is a number");
        assert!(seconds <= LIFE.as_secs(), "{seconds} s");
    }
    for service in processes {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
}

/// A user of Redis, who goes with this value.
struct User {
    name: String,
    redis: redis::Client,
}

impl User {
    fn with_password(password: &str) -> Self {
        let user = Self { name: namespace(), redis: redis::Client::open(redis_url()).expect("it is a URL") };
        user.acl(&["SETUSER", &user.name, "on", "~*", "&*", "+@all", &format!(">{password}")]);
        user
    }

    fn acl(&self, arguments: &[&str]) {
        let mut connection = self.redis.get_connection().expect("Redis is there");
        redis::cmd("ACL").arg(arguments).exec(&mut connection).expect("the tests may administer their Redis");
    }

    fn disconnect(&self) {
        let mut connection = self.redis.get_connection().expect("Redis is there");
        redis::cmd("CLIENT").arg(&["KILL", "USER", &self.name]).exec(&mut connection).expect("Redis answers");
    }

    fn url(&self, password: &str) -> String {
        let mut url: Url = redis_url().parse().expect("it is a URL");
        url.set_username(&self.name).expect("it has a host");
        url.set_password(Some(password)).expect("it has a host");
        url.into()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.acl(&["DELUSER", &self.name]);
    }
}

#[tokio::test]
async fn a_password_of_redis_that_is_wrong_for_a_while_delays_jobs_and_loses_none() {
    let user = Arc::new(User::with_password("old"));
    let url = user.url("old");
    let settings = move |settings: &mut shared::settings::Settings| {
        settings.jobs_url = url;
        settings.janitor_seconds = 1;
    };
    with_settings(&small_list(), settings, |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        user.acl(&["SETUSER", &user.name, "resetpass", ">new"]);
        user.disconnect();
        // Not 500, by which a client would have to think that its export has failed.
        system.becomes(&polling, StatusCode::SERVICE_UNAVAILABLE).await;
        // The worker takes the message while the job store lets nobody in, and lives.
        system.start_worker().await;
        let queue = &system.platform.lanes.express;
        let taken = || async { queue.depth().await.is_ok_and(|depth| depth.waiting == 0) };
        system.eventually("the message is taken", taken).await;
        let refused = system.get("/Group/g/$export").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let (code, text) = crate::harness::system::issue(refused).await;
        assert_eq!(code, "transient");
        assert!(!text.contains("old") && !text.contains(&user.name), "{text}");

        user.acl(&["SETUSER", &user.name, ">old"]);
        system.becomes(&polling, StatusCode::OK).await;
        assert_eq!(system.exported(&polling).await.reached, system.expected("g").await);
    })
    .await;
}
