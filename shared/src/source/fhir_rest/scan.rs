//! All that there is of a type: its ids, page after page, into a file ([`Held`]), from which they are read as those of a list.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::builder::Builder;
use super::held::Held;
use super::pages::{Took, Walk};
use super::server::Server;
use super::trouble::Trouble;
use super::upstream::Ask;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Instant, ResourceKey, ResourceType};
use crate::source::Changed;

/// How many ids are asked for at a time.
const IDS: u32 = 1_000;

/// By how much more is asked for than is wanted, at either end of a time: servers differ in how exactly they compare times.
const MARGIN: Duration = Duration::from_secs(1);

impl Server {
    /// The ids of all that there was of a type, as far as it changed in this time.
    pub async fn ids(&self, resource_type: ResourceType, as_of: Instant, changed: Changed) -> Result<Held, Fault> {
        let mut builder = Builder::begin()?;
        let from = |at: Instant| format!("&_lastUpdated=ge{}", at - MARGIN);
        let after = changed.after.map_or_else(String::new, from);
        let conditions = match changed.until {
            None => vec![after],
            // What has changed once more after the transaction time counts as it was at that time.
            Some(until) => vec![format!("{after}&_lastUpdated=le{}", until + MARGIN), from(as_of)],
        };
        for condition in conditions {
            let what = format!("all {resource_type}s");
            let below = format!("{resource_type}?_elements=id&_count={IDS}{condition}");
            let ask = Ask::get(self.upstream.url(&below)?, what.clone());
            let (mut walk, mut took) = (Walk::from(ask, resource_type), Took::New);
            loop {
                let page = match walk.next(self, took).await {
                    Ok(Some(page)) => page,
                    // A server that does not have the type has nothing of it.
                    Ok(None) | Err(Trouble::Missing) => break,
                    Err(trouble) => return Err(trouble.into_fault(&what)),
                };
                let keys = page.entries.into_iter().filter_map(|entry| entry.resource).map(|found| found.resource.key);
                let keys = keys.filter(|key| key.resource_type == resource_type).collect();
                let is_new;
                (builder, is_new) = put(builder, keys).await?;
                took = if is_new { Took::New } else { Took::Nothing };
            }
        }
        // What was there and has been deleted since is found nowhere else.
        if self.statement().await?.has_type_history(resource_type) {
            let deleted = self.deletions(resource_type, as_of).await?;
            (builder, _) = put(builder, deleted.into_iter().map(|(key, _)| key).collect()).await?;
        }
        on_the_disk(move || builder.finish()).await
    }
}

/// Takes ids; answers whether there was a new one among them.
async fn put(mut builder: Builder, keys: Vec<ResourceKey>) -> Result<(Builder, bool), Fault> {
    on_the_disk(move || {
        let mut is_new = false;
        for key in keys {
            is_new |= builder.id(&key)?;
        }
        Ok((builder, is_new))
    })
    .await
}

/// Does something on a thread where waiting for the disk holds up nobody.
async fn on_the_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    let stopped = |error| Fault::new(FaultKind::Unavailable, "failed to write ids to the disk").because(error);
    spawn_blocking(work).await.map_err(stopped)?
}
