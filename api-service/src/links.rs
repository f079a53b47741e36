//! The links from a manifest to its files: signed ones to the object store, or gated ones to the API (standards §5.1).

use shared::export::{JobId, Output, OutputKey};
use shared::fault::Fault;
use shared::fhir::Instant;
use shared::outputs::LinkMethod;
use shared::settings::Links;

use crate::Api;
use crate::manifest::Link;

/// The name of a file below its polling location: `{Type}/{task}.{attempt}.{n}.ndjson`.
pub fn name_of(key: &OutputKey) -> String {
    let text = key.to_string();
    text.split_once('/').map_or_else(|| text.clone(), |(_, name)| name.to_owned())
}

/// A link to each of the files, and when the first of them ends; gated links do not end before the files do.
pub async fn linked(api: &Api, job: JobId, outputs: Vec<Output>) -> Result<(Vec<Link>, Option<Instant>), Fault> {
    let mut links = Vec::with_capacity(outputs.len());
    let mut end: Option<Instant> = None;
    for output in outputs {
        let url = match api.links {
            Links::Gated => format!("{}/{}", api.polling_url(job), name_of(&output.key)),
            Links::Signed => {
                let link = api.platform.outputs.link(&output.key, LinkMethod::Get, api.link_lifetime).await?;
                api.metrics.links.inc();
                end = Some(end.map_or(link.expires_at, |end| end.min(link.expires_at)));
                link.url.to_string()
            }
        };
        links.push(Link { output, url });
    }
    Ok((links, end))
}
