//! What the compose file starts, started for real: the same programs with the same arguments and variables, on the servers
//! of the tests.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use reqwest::header::CONTENT_LOCATION;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::file::{Compose, Service};
use crate::harness::programs::{self, free_port, program};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, clean, source_url};
use crate::harness::{amqp_url, namespace, redis_url};

/// Where on this machine is what has other places in a composed system: what is written there, and what here.
struct Places(Vec<(String, String)>);

impl Places {
    fn put_into(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    async fn run(&self, service: &Service) -> Output {
        let arguments = service.command().into_iter().map(|word| self.put_into(&word));
        let output = program(service.target()).args(arguments).output().await.expect("the program starts");
        assert!(output.status.success(), "{}: {}", service.name, String::from_utf8_lossy(&output.stderr));
        output
    }

    fn variables(&self, service: &Service) -> BTreeMap<String, String> {
        let mut variables = service.environment();
        variables.extend(service.variables());
        variables.into_iter().map(|(name, value)| (name, self.put_into(&value))).collect()
    }
}

async fn is_healthy(service: &Service, variables: &[(&'static str, String)], admin_port: u16) -> bool {
    let mut command = program(service.target());
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command.env("ATR_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}")).arg("--health");
    command.output().await.expect("the program starts").status.success()
}

#[tokio::test]
async fn the_sample_is_loaded_once_and_exported_as_the_readme_says() {
    let (compose, namespace) = (Compose::read(), namespace());
    let store = Store::devstore().await.expect("devstore starts");
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let (generate, load) = (compose.service("generate"), compose.service("load"));
    let members = 500;
    let (port, endpoint) = (free_port(), store.address.endpoint.clone().expect("a store of a test has one"));
    let settings = compose.service("api-service").settings();
    let places = Places(vec![
        // Fewer than a laptop gets: a test has no use for them.
        (generate.after("--members").to_owned(), members.to_string()),
        ("/data/".to_owned(), format!("{}/", folder.path().display())),
        (settings.source_url, source_url(&namespace)),
        (settings.jobs_url, redis_url()),
        (settings.queue_url, amqp_url()),
        ("http://seaweedfs:8333".to_owned(), endpoint.clone()),
        // Another name than inside, as in a composed system.
        ("http://127.0.0.1:8333".to_owned(), endpoint.replace("127.0.0.1", "localhost")),
        ("http://127.0.0.1:8080".to_owned(), format!("http://127.0.0.1:{port}")),
    ]);

    places.run(generate).await;
    places.run(load).await;
    places.run(generate).await;
    let again = places.run(load).await.stdout;
    let again = String::from_utf8_lossy(&again).into_owned();
    assert!(again.starts_with("0 new, 0 changed, "), "a second `up` changes nothing: {again}");

    let mut running = Vec::new();
    for service in compose.services_of_ours() {
        let mut variables: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, value) in places.variables(service) {
            variables.insert(name.leak(), value);
        }
        // What a system of one's own need not say.
        variables.insert("ATR_NAMESPACE", namespace.clone());
        variables.insert("AWS_ACCESS_KEY_ID", store.access_key.clone());
        variables.insert("AWS_SECRET_ACCESS_KEY", store.secret_key.clone());
        let variables: Vec<_> = variables.into_iter().collect();
        assert!(!is_healthy(service, &variables, free_port()).await, "{} does not run", service.name);
        let started = programs::start_at(service.target(), &variables, port).await;
        assert!(is_healthy(service, &variables, started.admin_port).await, "{} is ready", service.name);
        running.push(started);
    }

    let manifest = exported(&format!("http://127.0.0.1:{port}/fhir/Group/{}", generate.after("--list"))).await;
    let files = manifest["output"].as_array().expect("it has files");
    let patients: Vec<&Value> = files.iter().filter(|file| file["type"] == "Patient").collect();
    let count: u64 = patients.iter().filter_map(|file| file["count"].as_u64()).sum();
    assert!(count >= members, "{count} patients of {members} members");
    let patients = patients[0];
    let link = patients["url"].as_str().expect("a file has a link");
    assert!(link.starts_with("http://localhost:"), "{link} is not for those outside");
    let file = reqwest::get(link).await.expect("the store answers");
    assert_eq!(file.status(), StatusCode::OK, "{link}");
    let lines = file.text().await.expect("it is text").lines().count();
    assert_eq!(Some(lines as u64), patients["count"].as_u64());

    for service in running {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
    clean(&namespace).await.expect("the servers are there");
}

/// The manifest of an export of a list, by the requests that the README makes with curl.
async fn exported(list: &str) -> Value {
    let client = Client::new();
    let kick_off = client.get(format!("{list}/$davinci-data-export")).header("Prefer", "respond-async");
    let kick_off = kick_off.header("Accept", "*/*").send().await.expect("the API answers");
    assert_eq!(kick_off.status(), StatusCode::ACCEPTED);
    let polling = kick_off.headers()[CONTENT_LOCATION].to_str().expect("it is a URL").to_owned();
    let polls = async {
        loop {
            let answer = client.get(&polling).send().await.expect("the API answers");
            if answer.status() == StatusCode::OK {
                return answer.json().await.expect("a manifest is JSON");
            }
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            // As often as `ATR_POLLS_PER_MINUTE` lets a client ask.
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(PATIENCE, polls).await.expect("the export comes to an end")
}
