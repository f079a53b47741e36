//! The server as its clients see it: over HTTP.

mod behaves;
mod misbehaves;
mod secured;

use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::{FhirServer, Options};

/// What came back.
struct Got {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("it is text")).unwrap_or_default()
    }

    /// `Type/id` of the rows.
    fn rows(&self) -> Vec<String> {
        rows(&self.json())
    }
}

fn rows(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let name = |entry: &Value| {
        let text = |name: &str| entry["resource"][name].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("resourceType"), text("id"))
    };
    entries.iter().map(name).collect()
}

fn next(bundle: &Value) -> Option<String> {
    let links = bundle["link"].as_array()?;
    let next = links.iter().find(|link| link["relation"] == "next")?;
    next["url"].as_str().map(str::to_owned)
}

fn client() -> Client {
    Client::builder().no_gzip().redirect(Policy::none()).build().expect("a client can be made")
}

async fn sent(request: RequestBuilder) -> Got {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the body comes whole");
    Got { status, headers, text }
}

async fn get(server: &FhirServer, path: &str) -> Got {
    sent(client().get(format!("{}/{path}", server.base()))).await
}

/// All pages from the first to the last, but no more than ten.
async fn pages(server: &FhirServer, path: &str) -> Vec<Value> {
    let mut pages = vec![get(server, path).await.json()];
    while let Some(url) = next(pages.last().expect("there is the first")) {
        assert!(pages.len() < 10, "there are too many pages");
        pages.push(sent(client().get(url)).await.json());
    }
    pages
}

fn start() -> FhirServer {
    FhirServer::start(Options::default()).expect("a port can be had")
}

fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","multipleBirthInteger": 1.10 }}"#)
}

/// A server with these Patients, in this order.
fn with_patients(ids: &[&str]) -> FhirServer {
    let server = start();
    let patients: Vec<_> = ids.iter().map(|id| patient(id)).collect();
    server.load(&patients);
    server
}

fn gunzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("it is gzip");
    text
}
