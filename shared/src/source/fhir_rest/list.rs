//! Reading an attribution list: the Group as it is, or one of its versions, streamed into a file ([`Held`]).

use bytes::Bytes;

use super::builder::{Builder, Come};
use super::bundle::{Found, Page};
use super::by_id::has_path;
use super::held::Held;
use super::pages::Progress;
use super::server::{Cut, Server};
use super::trouble::{ANOTHER, Tries, Trouble, page_gone, unfit};
use super::upstream::Ask;
use crate::fault::Fault;
use crate::fhir::{Instant, ResourceId, ResourceKey, ResourceType, json};
use crate::source::ListHead;

/// How many versions of a list are asked for at a time: each may have millions of members.
const VERSIONS: u32 = 2;

/// How long after the end of time nothing happens: without a history what there is now is taken, whenever it came to be.
const EVER: Instant = Instant::from_unix_micros(i64::MAX);

/// What has become of reading a list.
pub enum Reading {
    /// There was no such list at that time.
    Gone,
    /// It is as it was when it got this `ETag`.
    Known,
    /// Here it is.
    Held {
        /// In a file.
        held: Box<Held>,
        /// Under which it can be asked whether it has changed; `None` when it is not how the list is now.
        etag: Option<String>,
    },
}

/// What of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which list.
    pub list: &'a ResourceId,
    /// As of when.
    pub as_of: Instant,
    /// From when on it is asked what it named; as far as the server keeps a history.
    pub since: Option<Instant>,
    /// The `ETag` of what is known.
    pub known: Option<&'a str>,
}

/// What has become of reading the head of a list.
pub enum HeadReading {
    /// There is no such list.
    Gone,
    /// It is as it was when it got this `ETag`.
    Known,
    /// It has changed since that time; how it was then, its versions tell.
    Later,
    /// Here it is, with its `ETag`.
    Head(ListHead, Option<String>),
}

impl Server {
    /// Reads the head of a list as it is now, and counts its members on the way: for whoever has no use for them.
    pub async fn head(&self, wanted: Wanted<'_>) -> Result<HeadReading, Fault> {
        if !has_path(wanted.list) {
            return Ok(HeadReading::Gone);
        }
        let key = ResourceKey::new(ResourceType::GROUP, wanted.list.clone());
        let has_history = self.statement().await?.has_history(ResourceType::GROUP);
        let ask = asking(self, &key, wanted.known)?;
        let count = |members: &mut u64, _, _: &[u8]| {
            *members += 1;
            Ok(())
        };
        let read = |Cut { rest, etag, state }: Cut<u64>| {
            let Some(rest) = rest else { return Ok(HeadReading::Known) };
            let head = head_of(&key, &rest, wanted.as_of, state)?;
            let is_later = has_history && head.last_updated > wanted.as_of;
            Ok(if is_later { HeadReading::Later } else { HeadReading::Head(head, etag) })
        };
        match self.ask_cut(&ask, || 0, count, read).await {
            Ok(reading) => Ok(reading),
            Err(Trouble::Missing) if has_history => Ok(HeadReading::Later),
            Err(Trouble::Missing) => Ok(HeadReading::Gone),
            Err(trouble) => Err(trouble.into_fault(&ask.what)),
        }
    }

    /// Reads a list.
    pub async fn list(&self, wanted: Wanted<'_>) -> Result<Reading, Fault> {
        if !has_path(wanted.list) {
            return Ok(Reading::Gone);
        }
        let key = ResourceKey::new(ResourceType::GROUP, wanted.list.clone());
        let has_history = self.statement().await?.has_history(ResourceType::GROUP);
        let ask = asking(self, &key, wanted.known)?;
        let mut tries = Tries::default();
        loop {
            match Box::pin(self.try_list(&ask, &key, wanted, has_history)).await {
                Ok(reading) => return Ok(reading),
                Err(trouble) => tries.again(&ask, trouble).await.map_err(|trouble| trouble.into_fault(&ask.what))?,
            }
        }
    }

    async fn try_list(
        &self,
        ask: &Ask,
        key: &ResourceKey,
        wanted: Wanted<'_>,
        has_history: bool,
    ) -> Result<Reading, Trouble> {
        let Wanted { as_of, since, .. } = wanted;
        let mut builder = Builder::begin().map_err(Trouble::Lasting)?;
        let place = builder.place();
        let (own, list) = (self.own.clone(), key.clone());
        let answer = match self.begun(ask).await {
            Ok(answer) => answer,
            Err(Trouble::Missing) if has_history => return Box::pin(self.past_list(key, as_of, since)).await,
            Err(Trouble::Missing) => return Ok(Reading::Gone),
            Err(trouble) => return Err(trouble),
        };
        let cut = self.cut(answer, builder, move |builder, _, member| builder.member(&list, member, &own)).await?;
        let Some(rest) = cut.rest else { return Ok(Reading::Known) };
        let found = Found::read(&rest).filter(|found| found.resource.key == *key);
        let found = found.ok_or_else(|| unfit(&ask.what, ANOTHER))?;
        let from = found.meta.last_updated.unwrap_or(as_of);
        if has_history && from > since.unwrap_or(as_of).min(as_of) {
            return Box::pin(self.past_list(key, as_of, since)).await;
        }
        let mut builder = cut.state;
        builder.version(Come { from, group: Some((place, found.resource.body)) });
        let as_of = if has_history { as_of } else { EVER };
        let held = finish(builder, as_of, since).await?;
        Ok(held.map_or(Reading::Gone, |held| Reading::Held { held: Box::new(held), etag: cut.etag }))
    }

    /// A list as its history has it.
    async fn past_list(&self, key: &ResourceKey, as_of: Instant, since: Option<Instant>) -> Result<Reading, Trouble> {
        let what = format!("the versions of {key}");
        let url = self.upstream.url(&format!("{key}/_history?_count={VERSIONS}")).map_err(Trouble::Lasting)?;
        let mut ask = Ask::get(url, what);
        let mut builder = Builder::begin().map_err(Trouble::Lasting)?;
        let (mut progress, mut is_first) = (Progress::default(), true);
        let enough = since.unwrap_or(as_of).min(as_of);
        loop {
            let (first, before) = (builder.places(), builder.oldest());
            let (own, list) = (self.own.clone(), key.clone());
            let take = move |builder: &mut Builder, entry: u64, member: &[u8]| {
                begun(builder, first + usize::try_from(entry).unwrap_or(usize::MAX) + 1);
                builder.member(&list, member, &own)
            };
            // Asked for until it begins: what has come of the pages before would be lost with it.
            let answer = match self.begun(&ask).await {
                Ok(answer) => answer,
                Err(Trouble::Missing) if is_first => return Ok(Reading::Gone),
                Err(Trouble::Missing) => return Err(page_gone(&ask.what)),
                Err(trouble) => return Err(trouble),
            };
            is_first = false;
            let cut = self.cut(answer, builder, take).await?;
            builder = cut.state;
            let page = Page::read(&cut.rest.unwrap_or_default()).map_err(|why| unfit(&ask.what, why))?;
            let next = page.next.clone();
            tell(&mut builder, first, key, page, as_of);
            let Some(link) = next.filter(|_| builder.oldest().is_none_or(|oldest| oldest > enough)) else { break };
            progress.made(builder.oldest() != before)?;
            ask = Ask::get(self.next(&link, &ask.what)?, ask.what);
        }
        let held = finish(builder, as_of, since).await?;
        Ok(held.map_or(Reading::Gone, |held| Reading::Held { held: Box::new(held), etag: None }))
    }
}

/// The request for a list of which a version may be known.
fn asking(server: &Server, key: &ResourceKey, known: Option<&str>) -> Result<Ask, Fault> {
    let ask = Ask::get(server.upstream.url(&key.to_string())?, key.to_string());
    Ok(Ask { known: known.map(str::to_owned), ..ask })
}

/// The head of a list in an answer of which the members were taken out. The reason why it is none has nothing of its content.
fn head_of(key: &ResourceKey, rest: &Bytes, as_of: Instant, members: u64) -> Result<ListHead, String> {
    let found = Found::read(rest).filter(|found| found.resource.key == *key).ok_or(ANOTHER)?;
    let text = std::str::from_utf8(&found.resource.body).map_err(|_| "it is not UTF-8 text")?;
    let opened = json::open_group(text).map_err(|error| json::reason(&error))?;
    let part = |part: &str| Bytes::copy_from_slice(part.as_bytes());
    let last_updated = found.meta.last_updated.unwrap_or(as_of);
    Ok(ListHead { last_updated, before: part(opened.before), after: part(opened.after), members })
}

/// Begins versions until there are so many.
fn begun(builder: &mut Builder, versions: usize) {
    while builder.places() < versions {
        builder.place();
    }
}

/// Tells the builder of the versions on a page, of which the first resource has this place.
fn tell(builder: &mut Builder, first: usize, key: &ResourceKey, page: Page, as_of: Instant) {
    /// When it came to be, if that is told, and its place and text, unless it is a deletion.
    type Told = (Option<Instant>, Option<(usize, Bytes)>);
    let mut place = first;
    let mut told: Vec<Told> = Vec::new();
    for entry in page.entries {
        // Each resource of the page has a place, whatever it is.
        let mine = place;
        place += usize::from(entry.has_resource);
        match (entry.deletion, entry.resource) {
            (Some((_, at)), _) => told.push((at, None)),
            (None, Some(found)) if found.resource.key == *key => {
                told.push((found.meta.last_updated, Some((mine, found.resource.body))));
            }
            _ => {}
        }
    }
    begun(builder, place);
    // One without a time is taken to have happened right after the one before it, which comes behind it here; and the
    // latest to be how the list was.
    let mut later: Vec<Come> = Vec::with_capacity(told.len());
    let mut before = None;
    for (from, group) in told.into_iter().rev() {
        let from = from.or(before).unwrap_or(as_of);
        before = Some(from);
        later.push(Come { from, group });
    }
    later.into_iter().rev().for_each(|come| builder.version(come));
}

/// Sorts out what has come, on a thread where that holds up nobody.
async fn finish(builder: Builder, as_of: Instant, since: Option<Instant>) -> Result<Option<Held>, Trouble> {
    let finished = tokio::task::spawn_blocking(move || builder.finish_list(as_of, since)).await;
    let stopped = |error| Fault::new(crate::fault::FaultKind::Unavailable, "failed to read a list").because(error);
    finished.map_err(|error| Trouble::Lasting(stopped(error)))?.map_err(Trouble::Lasting)
}
