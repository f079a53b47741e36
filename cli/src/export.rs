//! A client of the export API: kick-off, poll, download.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::time::sleep;

use crate::arguments::{AccessArguments, ExportArguments};
use crate::progress;
use crate::tokens::Tokens;

/// The longest that a poll waits, whatever `Retry-After` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many polls come quicker than `Retry-After` says: a small export is done long before a whole second is over, and no
/// server minds a few.
const QUICK_POLLS: u32 = 10;

/// What an export brought.
pub struct Exported {
    /// The kick-off URL.
    pub kick_off: String,
    /// The polling location.
    pub polling: String,
    /// The downloaded files.
    pub files: Vec<Downloaded>,
}

/// A downloaded file.
pub struct Downloaded {
    /// Where it is now.
    pub path: PathBuf,
    /// Where it came from.
    pub url: String,
    /// Its lines.
    pub lines: u64,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default, rename = "requiresAccessToken")]
    requires_access_token: bool,
    output: Vec<Item>,
    #[serde(default)]
    deleted: Vec<Item>,
    #[serde(default)]
    error: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    r#type: String,
    url: String,
    count: u64,
}

/// Exports a list and downloads its files into a folder.
pub async fn export(arguments: &ExportArguments) -> anyhow::Result<Exported> {
    let client = client(&arguments.access, Policy::default()).await?;
    let mut query = Vec::new();
    query.extend(arguments.types.as_ref().map(|types| ("_type", types)));
    query.extend(arguments.since.as_ref().map(|since| ("_since", since)));
    let server = arguments.server.trim_end_matches('/');
    let tokens = Tokens::of(server, &arguments.access).await?;
    let kick_off = format!("{server}/Group/{}/$davinci-data-export", arguments.list);

    let request =
        client.get(&kick_off).query(&query).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
    let response = tokens.authorize(request).await?.send().await.with_context(|| format!("cannot reach {server}"))?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(refused("the kick-off", response).await);
    }
    let location = response.headers().get(CONTENT_LOCATION).and_then(|value| value.to_str().ok());
    let polling = location.ok_or_else(|| anyhow!("the server's 202 has no Content-Location"))?.to_owned();

    let bar = progress::percent("exporting");
    let manifest = poll(&client, &tokens, &polling, &bar).await?;
    bar.finish_and_clear();
    let files = download(&client, &tokens, manifest, &arguments.out).await?;
    Ok(Exported { kick_off, polling, files })
}

/// Says what an export brought, and that something is missing when there is an error file.
pub fn print_files(exported: &Exported, out: &Path) {
    println!("the export is complete; its files are in {}:", out.display());
    for file in &exported.files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let what =
            if name.starts_with("OperationOutcome") { "problems: what is missing or is not followed" } else { "lines" };
        println!("  {name:<32} {:>9} {what}", file.lines);
    }
}

/// What requests are made with. Redirects that are followed leave the token behind when they lead to another server.
pub async fn client(access: &AccessArguments, redirects: Policy) -> anyhow::Result<Client> {
    // Files come as they lie: what is compressed is compared and kept compressed.
    let builder = Client::builder().no_gzip().redirect(redirects);
    let mut builder = builder.connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_mins(1));
    if let Some(file) = &access.authorities {
        let reading = || format!("cannot read {}", file.display());
        let pem = fs::read(file).await.with_context(reading)?;
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).with_context(reading)?);
    }
    Ok(builder.build()?)
}

async fn poll(client: &Client, tokens: &Tokens, polling: &str, bar: &ProgressBar) -> anyhow::Result<Manifest> {
    let mut quick = (0..QUICK_POLLS).map(|_| Duration::from_millis(100));
    loop {
        let request = client.get(polling).header("Accept", "application/json");
        let response = tokens.authorize(request).await?.send().await?;
        let asked = pause(&response);
        match response.status() {
            StatusCode::OK => return response.json().await.context("the manifest cannot be read"),
            StatusCode::ACCEPTED => {
                let header =
                    |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let words = header("X-Progress");
                let percent = words.split_once('%').and_then(|(percent, _)| percent.parse().ok()).unwrap_or(0);
                bar.set_position(percent);
                bar.set_prefix(words.split_once(": ").map_or(words, |(_, rest)| rest).to_owned());
                sleep(quick.next().unwrap_or(asked)).await;
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => sleep(asked).await,
            _ => return Err(refused("the export", response).await),
        }
    }
}

/// How long the server asks to wait; a second when it does not say.
fn pause(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_PAUSE)
}

async fn download(client: &Client, tokens: &Tokens, manifest: Manifest, out: &Path) -> anyhow::Result<Vec<Downloaded>> {
    fs::create_dir_all(out).await.with_context(|| format!("cannot make the folder {}", out.display()))?;
    let mut files: Vec<Downloaded> = Vec::new();
    let items = manifest.output.into_iter().chain(manifest.deleted).chain(manifest.error);
    for (number, Item { r#type, url, count }) in items.enumerate() {
        // The type is somebody else's text and becomes a part of a path.
        if !r#type.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("the manifest names a type that is no resource type");
        }
        let path = out.join(format!("{type}.{number:05}.ndjson"));
        let mut request = client.get(&url).header("Accept", "application/fhir+ndjson");
        // A link that needs no token must not be sent one: it may lead to somebody else's server.
        if manifest.requires_access_token {
            request = tokens.authorize(request).await?;
        }
        fetch(request, &path, &r#type).await?;
        files.push(Downloaded { path, url, lines: count });
    }
    Ok(files)
}

async fn fetch(request: RequestBuilder, path: &Path, what: &str) -> anyhow::Result<()> {
    // The URL of a link is a key, and errors are written down.
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    if response.status() != StatusCode::OK {
        return Err(refused("a download", response).await);
    }
    let bar = progress::bytes("downloading", response.content_length().unwrap_or(0));
    let writing = || format!("cannot write {}", path.display());
    // It is about people: nobody else on this machine is to read it.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).await;
    let mut file = BufWriter::new(file.with_context(writing)?);
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(reqwest::Error::without_url);
        let chunk = chunk.with_context(|| format!("the download of a {what} file broke off"))?;
        file.write_all(&chunk).await.with_context(writing)?;
        bar.inc(chunk.len() as u64);
    }
    file.flush().await.with_context(writing)?;
    bar.finish_and_clear();
    Ok(())
}

/// What the server said, in its own words where it has some.
async fn refused(what: &str, response: Response) -> anyhow::Error {
    #[derive(Deserialize)]
    struct Issue {
        #[serde(default)]
        diagnostics: String,
    }
    #[derive(Deserialize)]
    struct Outcome {
        issue: Vec<Issue>,
    }
    let status = response.status();
    let outcome: Option<Outcome> = response.json().await.ok();
    let words =
        outcome.and_then(|outcome| outcome.issue.into_iter().next()).map(|issue| issue.diagnostics).unwrap_or_default();
    anyhow!("{what} was answered with {status}: {words}")
}
