//! One job, as a client sees it: kicked off, polled, deleted.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::header::CONTENT_LOCATION;
use reqwest::{Client, Response, StatusCode};
use tokio::time::sleep;

/// The query with which a manifest can be had while a job runs, which tells when the first file is there.
pub const WITH_PARTIAL_MANIFESTS: &str = "?allowPartialManifests=true";

/// A client that waits for no answer without end.
pub fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().no_gzip().read_timeout(Duration::from_mins(1)).build()?)
}

/// A job that was kicked off.
pub struct Job {
    client: Client,
    polling: String,
    /// When it was kicked off.
    pub began: Instant,
}

impl Job {
    /// Kicks off the export of a list, with the parameters of this query.
    pub async fn kick_off(client: &Client, base: &str, list: &str, query: &str) -> anyhow::Result<Self> {
        let began = Instant::now();
        let url = format!("{base}/Group/{list}/$davinci-data-export{query}");
        let request = client.get(&url).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
        let response = request.send().await?;
        ensure!(response.status() == StatusCode::ACCEPTED, "the kick-off was answered with {}", response.status());
        let location = response.headers().get(CONTENT_LOCATION).and_then(|value| value.to_str().ok());
        let polling = location.context("the kick-off has no Content-Location")?.to_owned();
        Ok(Self { client: client.clone(), polling, began })
    }

    /// Asks after it once. Answers whether it has ended well, and the answer.
    pub async fn poll(&self) -> anyhow::Result<(bool, Response)> {
        let response = self.client.get(&self.polling).header("Accept", "application/json").send().await?;
        match response.status() {
            StatusCode::OK => Ok((true, response)),
            StatusCode::ACCEPTED => Ok((false, response)),
            status => bail!("a poll was answered with {status}: {}", response.text().await?),
        }
    }

    /// Waits until it has ended, and answers how long after its kick-off that was.
    pub async fn ended(&self, every: Duration) -> anyhow::Result<Duration> {
        while !self.poll().await?.0 {
            sleep(every).await;
        }
        Ok(self.began.elapsed())
    }

    /// Deletes it, so that its files do not fill the store.
    pub async fn delete(self) -> anyhow::Result<()> {
        let response = self.client.delete(&self.polling).send().await?;
        ensure!(response.status() == StatusCode::ACCEPTED, "a deletion was answered with {}", response.status());
        Ok(())
    }
}
