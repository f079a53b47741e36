//! Resources by their ids, as they are now: searched for by many ids at a time, or in a Bundle of reads, or read after read.
//!
//! A search may leave rows out without a word (an index that lags behind, a row that the server cannot read), or be about
//! something else than was asked. So a row that was not asked for is passed over, and an id without a row is read by itself
//! before it counts as missing: an export tells clients what is missing.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::json;

use super::bundle::{Found, Page};
use super::pages::Took;
use super::server::{Cut, Server, Way};
use super::trouble::{ANOTHER, Trouble};
use super::upstream::{Ask, Content};
use crate::fault::Fault;
use crate::fhir::{ResourceId, ResourceKey, ResourceType};

/// The longest URL of a search that is not posted: what servers and proxies take as a rule.
const LONGEST_URL: usize = 2_000;

/// How many resources a Bundle of reads asks for at most.
const BATCH: usize = 50;

/// What was found, and what has to be read by itself before it is known not to be there.
#[derive(Default)]
struct Chunk {
    found: HashMap<ResourceId, Found>,
    unsure: Vec<ResourceId>,
}

/// Why a search brought nothing of use.
enum NoSearch {
    /// The server does not find resources by their ids.
    NotAWay,
    /// Anything else.
    Trouble(Trouble),
}

impl From<Trouble> for NoSearch {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Server {
    /// Those of some resources of a type that there are now. Ids are given once each. A Group comes without its members.
    pub async fn by_ids(
        &self,
        resource_type: ResourceType,
        ids: &[ResourceId],
    ) -> Result<HashMap<ResourceId, Found>, Fault> {
        let what = format!("{resource_type}s by their ids");
        // A Group may be large, however few there are.
        let (mut found, mut unsure) = (HashMap::new(), ids.to_vec());
        if resource_type != ResourceType::GROUP {
            Chunk { found, unsure } =
                self.at_once(resource_type, ids).await.map_err(|trouble| trouble.into_fault(&what))?;
        }
        unsure.retain(has_path);
        let reads = self.each(unsure, |id| self.read(ResourceKey::new(resource_type, id))).await?;
        found.extend(reads.into_iter().flatten().map(|read| (read.resource.key.id.clone(), read)));
        Ok(found)
    }

    /// One resource as it is now; `None` when it is not there.
    pub async fn read(&self, key: ResourceKey) -> Result<Option<Found>, Fault> {
        if !has_path(&key.id) {
            return Ok(None);
        }
        let what = match key.resource_type {
            ResourceType::GROUP => key.to_string(),
            other => format!("one {other}"),
        };
        let ask = Ask::get(self.upstream.url(&key.to_string())?, what);
        let read = |text: &Bytes| {
            let found = Found::read(text).filter(|found| found.resource.key == key);
            found.ok_or_else(|| ANOTHER.to_owned())
        };
        let read = if key.resource_type == ResourceType::GROUP {
            let read = |cut: Cut<()>| read(&cut.rest.unwrap_or_default());
            self.ask_cut(&ask, || (), |(), _, _| Ok(()), read).await
        } else {
            self.upstream.ask(&ask, |reply| read(&reply.body)).await
        };
        match read {
            Ok(found) => Ok(Some(found)),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(trouble.into_fault(&ask.what)),
        }
    }

    /// In as few requests as the server bears.
    async fn at_once(&self, resource_type: ResourceType, ids: &[ResourceId]) -> Result<Chunk, Trouble> {
        let chunks: Vec<Vec<ResourceId>> = ids.chunks(self.page_size(|page| page.now())).map(<[_]>::to_vec).collect();
        let mut all = Chunk::default();
        for chunk in self.each(chunks, |ids| self.chunk(resource_type, ids)).await? {
            all.found.extend(chunk.found);
            all.unsure.extend(chunk.unsure);
        }
        Ok(all)
    }

    /// As many ids as one request may have, unless it turns out to be too many.
    async fn chunk(&self, resource_type: ResourceType, ids: Vec<ResourceId>) -> Result<Chunk, Trouble> {
        let mut all = Chunk::default();
        let mut rest = vec![&ids[..]];
        // By which way as many were refused. Whether for their number shows when fewer are not, by the same way.
        let mut refused = None;
        while let Some(ids) = rest.pop() {
            // Somebody else may have found out meanwhile that it is none.
            let way = self.way(resource_type).await.map_err(Trouble::Lasting)?;
            let done = match way {
                Way::Single => {
                    all.unsure.extend_from_slice(ids);
                    continue;
                }
                Way::Batch if ids.len() > BATCH => {
                    rest.extend(ids.chunks(BATCH));
                    continue;
                }
                Way::Batch => self.batch(resource_type, ids).await,
                Way::Search => self.search(resource_type, ids).await,
            };
            match done {
                Ok(chunk) => {
                    self.page_size(|page| match refused.take() {
                        Some((by, many)) if by == way => page.too_much(many),
                        _ => page.well(ids.len()),
                    });
                    all.found.extend(chunk.found);
                    all.unsure.extend(chunk.unsure);
                }
                Err(NoSearch::NotAWay) => {
                    self.give_up(resource_type, way).await.map_err(Trouble::Lasting)?;
                    rest.push(ids);
                }
                // Who refuses many may take fewer: servers limit how many values a parameter has.
                Err(NoSearch::Trouble(trouble @ (Trouble::TooMuch(_) | Trouble::Refused(_)))) if ids.len() > 1 => {
                    if matches!(trouble, Trouble::Refused(_)) {
                        refused = Some((way, ids.len()));
                    } else {
                        self.page_size(|page| page.too_much(ids.len()));
                    }
                    let (first, second) = ids.split_at(ids.len() / 2);
                    rest.extend([second, first]);
                }
                Err(NoSearch::Trouble(trouble)) => return Err(trouble),
            }
        }
        Ok(all)
    }

    async fn search(&self, resource_type: ResourceType, ids: &[ResourceId]) -> Result<Chunk, NoSearch> {
        let what = format!("{resource_type}s by their ids");
        let list: Vec<&str> = ids.iter().map(ResourceId::as_str).collect();
        let parameters = format!("_id={}&_count={}", list.join(","), ids.len());
        let base = |below: &str| self.upstream.url(below).map_err(Trouble::Lasting);
        let url = base(&format!("{resource_type}?{parameters}"))?;
        let (url, content) = match url.as_str().len() > LONGEST_URL {
            true if self.posts() => (base(&format!("{resource_type}/_search"))?, Content::Form(parameters)),
            // Not too much for the server, but for its URLs.
            true if ids.len() > 1 => {
                let (first, second) = ids.split_at(ids.len() / 2);
                let mut first = Box::pin(self.search(resource_type, first)).await?;
                let second = Box::pin(self.search(resource_type, second)).await?;
                first.found.extend(second.found);
                first.unsure.extend(second.unsure);
                return Ok(first);
            }
            _ => (url, Content::Nothing),
        };
        let is_posted = matches!(content, Content::Form(_));
        let ask = Ask { url, content, known: None, what, divisible: ids.len() > 1 };
        let asked: HashSet<&ResourceId> = ids.iter().collect();
        let mut found: HashMap<ResourceId, Found> = HashMap::with_capacity(ids.len());
        let mut is_about_others = false;
        let paged = self
            .pages(ask, resource_type, |page| {
                let (has_next, before) = (page.next.is_some(), found.len());
                let mut strangers = false;
                for row in page.entries.into_iter().filter_map(|entry| entry.resource) {
                    let key = &row.resource.key;
                    if key.resource_type == resource_type && asked.contains(&key.id) {
                        keep_newest(&mut found, row);
                    } else {
                        strangers |= key.resource_type == resource_type;
                    }
                }
                // Whoever lists everything is not to be followed through all of it.
                is_about_others |= strangers && has_next;
                match found.len() {
                    _ if is_about_others => Took::Enough,
                    now if now == asked.len() => Took::Enough,
                    now if now == before => Took::Nothing,
                    _ => Took::New,
                }
            })
            .await;
        match paged {
            Ok(()) if is_about_others => return Err(NoSearch::NotAWay),
            // Whatever is behind the pages is read by itself.
            Ok(()) | Err(Trouble::Endless) => {}
            Err(Trouble::Refused(status)) if is_posted && status == StatusCode::METHOD_NOT_ALLOWED => {
                self.never_post();
                return Box::pin(self.search(resource_type, ids)).await;
            }
            Err(Trouble::Refused(_) | Trouble::Missing) if is_posted && ids.len() == 1 => {
                self.never_post();
                return Box::pin(self.search(resource_type, ids)).await;
            }
            Err(Trouble::Refused(_) | Trouble::Missing) if ids.len() == 1 => return Err(NoSearch::NotAWay),
            Err(Trouble::Missing) => return Err(Trouble::Refused(StatusCode::NOT_FOUND).into()),
            Err(trouble) => return Err(trouble.into()),
        }
        let unsure = ids.iter().filter(|id| !found.contains_key(id)).cloned().collect();
        Ok(Chunk { found, unsure })
    }

    /// A Bundle of reads. What is not there is read by itself.
    async fn batch(&self, resource_type: ResourceType, ids: &[ResourceId]) -> Result<Chunk, NoSearch> {
        let what = format!("{resource_type}s by their ids");
        let entries: Vec<_> = ids
            .iter()
            .map(|id| json!({"request": {"method": "GET", "url": format!("{resource_type}/{id}")}}))
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
        let mut url = self.upstream.base().clone();
        // The base itself takes a Bundle, and has no slash at its end.
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let content = Content::Json(bundle.to_string().into());
        let ask = Ask { url, content, known: None, what, divisible: ids.len() > 1 };
        let page = match self.upstream.ask(&ask, |reply| Page::read(&reply.body)).await {
            Ok(page) => page,
            Err(Trouble::Refused(_) | Trouble::Missing) => return Err(NoSearch::NotAWay),
            Err(trouble) => return Err(trouble.into()),
        };
        let mut chunk = Chunk::default();
        let mut entries = page.entries.into_iter();
        for id in ids {
            let entry = entries.next().unwrap_or_default();
            match entry.resource {
                Some(found) if found.resource.key.id == *id && found.resource.key.resource_type == resource_type => {
                    chunk.found.insert(id.clone(), found);
                }
                // What is said to be missing, too: the answers may stand in another order.
                _ => chunk.unsure.push(id.clone()),
            }
        }
        Ok(chunk)
    }
}

/// Whether a resource of this id can be read by itself. `.` and `..` are legal ids, but a path that ends in them is another one
/// (RFC 3986 §5.2.4): such a resource is found by a search or not at all.
pub fn has_path(id: &ResourceId) -> bool {
    !matches!(id.as_str(), "." | "..")
}

/// A row that comes twice may have changed in between.
fn keep_newest(found: &mut HashMap<ResourceId, Found>, row: Found) {
    match found.get(&row.resource.key.id) {
        Some(before) if before.meta.last_updated >= row.meta.last_updated => {}
        _ => {
            found.insert(row.resource.key.id.clone(), row);
        }
    }
}
