//! The server as the reads of this adapter see it: what it can do, what it has turned out not to do, and its pages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::DATE;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::bundle::Page;
use super::cutter::Cutter;
use super::page_size::PageSize;
use super::statement::Statement;
use super::trouble::{Tries, Trouble, doing, unfit};
use super::upstream::{Answer, Ask, Upstream};
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Instant as Time, OwnBases, ResourceType};

/// How long what a server says of itself is believed.
const STATEMENT_LIFE: Duration = Duration::from_mins(10);

/// An answer that is not older shows that the server is there.
const JUST_NOW: Duration = Duration::from_secs(5);

/// How many pieces of an answer wait for whoever reads it.
const PIECES_AHEAD: usize = 4;

/// How much may stand outside of members, and how long a member may be.
const LONGEST_PIECE: usize = 64 << 20;

/// How resources are asked for by their ids: as the server does it best, and else as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A search for many ids.
    Search,
    /// A Bundle of reads.
    Batch,
    /// Read after read.
    Single,
}

/// The server, and what is known of it.
pub struct Server {
    /// The way to it.
    pub upstream: Upstream,
    /// The bases under which its resources are known.
    pub own: OwnBases,
    /// For a server that tells no time.
    clock: Arc<dyn Clock>,
    /// How long a write may take from its `meta.lastUpdated` until it is seen.
    settle: Duration,
    learned: Mutex<Learned>,
    /// Of those who want to know what it can do, one asks.
    looking: Semaphore,
}

struct Learned {
    statement: Option<(Arc<Statement>, Instant)>,
    ways: HashMap<ResourceType, Way>,
    posts: bool,
    page: PageSize,
}

/// An answer whose members were taken out while it came.
pub struct Cut<S> {
    /// The rest of it; `None` when what is known already is what there is.
    pub rest: Option<Bytes>,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// What has become of the members.
    pub state: S,
}

impl Server {
    /// Nothing is asked yet.
    pub fn new(upstream: Upstream, own: OwnBases, clock: Arc<dyn Clock>, most_ids: usize, settle: Duration) -> Self {
        let page = PageSize::new(most_ids);
        let learned = Learned { statement: None, ways: HashMap::new(), posts: true, page };
        Self { upstream, own, clock, settle, learned: Mutex::new(learned), looking: Semaphore::new(1) }
    }

    fn learned<T>(&self, of: impl FnOnce(&mut Learned) -> T) -> T {
        of(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the server says that it can do. One that says nothing is tried.
    pub async fn statement(&self) -> Result<Arc<Statement>, Fault> {
        const WHAT: &str = "its CapabilityStatement";
        if let Some(statement) = self.said() {
            return Ok(statement);
        }
        let ask = Ask::get(self.upstream.url("metadata")?, WHAT);
        let _alone = self.looking.acquire().await.expect("nobody closes it");
        if let Some(statement) = self.said() {
            return Ok(statement);
        }
        let known = self.learned(|learned| learned.statement.clone()).map(|(statement, _)| statement);
        let statement = match (self.upstream.ask(&ask, |reply| Statement::read(&reply.body)).await, known) {
            (Ok(statement), _) => Arc::new(statement),
            // What it has said once it does not take back by saying nothing.
            (Err(_), Some(known)) => known,
            (Err(Trouble::Missing | Trouble::Refused(_)), None) => Arc::default(),
            (Err(trouble), None) => return Err(trouble.into_fault(WHAT)),
        };
        self.learned(|learned| {
            learned.statement = Some((Arc::clone(&statement), Instant::now()));
            // What it could not do may have been a moment's weakness.
            learned.ways.clear();
            learned.posts = true;
        });
        Ok(statement)
    }

    /// What it has said of itself, as long as that is believed.
    fn said(&self) -> Option<Arc<Statement>> {
        let known = self.learned(|learned| learned.statement.clone());
        known.filter(|(_, at)| at.elapsed() < STATEMENT_LIFE).map(|(statement, _)| statement)
    }

    /// Succeeds when the server answers, or has a moment ago.
    pub async fn ready(&self) -> Result<(), Fault> {
        const WHAT: &str = "its CapabilityStatement";
        if self.upstream.answered_within(JUST_NOW) {
            return Ok(());
        }
        let ask = Ask::get(self.upstream.url("metadata")?, WHAT);
        match self.upstream.ask(&ask, |_| Ok(())).await {
            Ok(()) | Err(Trouble::Missing | Trouble::Refused(_)) => Ok(()),
            Err(trouble) => Err(trouble.into_fault(WHAT)),
        }
    }

    /// A time before which all that has been written can be seen: the server's own, as exact as it tells it.
    pub async fn settled(&self) -> Result<Time, Fault> {
        const WHAT: &str = "the time";
        let ask = Ask::get(self.upstream.url("Group?_summary=count")?, WHAT);
        let told = |headers: &reqwest::header::HeaderMap| {
            let text = headers.get(DATE)?.to_str().ok()?;
            let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Time::from_unix_micros(0) + since)
        };
        let answer =
            self.upstream.ask(&ask, |reply| Ok((Page::read(&reply.body)?.told_at, told(&reply.headers)))).await;
        let (page, header) = match answer {
            Ok(times) => times,
            Err(Trouble::Missing | Trouble::Refused(_)) => (None, None),
            Err(trouble) => return Err(trouble.into_fault(WHAT)),
        };
        let now = page.or(header).unwrap_or_else(|| self.clock.now());
        Ok((now - self.settle).floor_to_millis())
    }

    /// How resources of a type are asked for by their ids.
    pub async fn way(&self, resource_type: ResourceType) -> Result<Way, Fault> {
        if let Some(way) = self.learned(|learned| learned.ways.get(&resource_type).copied()) {
            return Ok(way);
        }
        let statement = self.statement().await?;
        Ok(match (statement.finds_ids(resource_type), statement.batch) {
            (true, _) => Way::Search,
            (false, true) => Way::Batch,
            (false, false) => Way::Single,
        })
    }

    /// A way has turned out not to be one; answers the next best.
    pub async fn give_up(&self, resource_type: ResourceType, way: Way) -> Result<Way, Fault> {
        let next = match way {
            Way::Search if self.statement().await?.batch => Way::Batch,
            Way::Search | Way::Batch | Way::Single => Way::Single,
        };
        let is_news = self.learned(|learned| learned.ways.insert(resource_type, next) != Some(next));
        if is_news {
            tracing::warn!(
                "the payer's FHIR server does not find {resource_type}s by {way:?}; they are asked for by {next:?}"
            );
        }
        Ok(next)
    }

    /// Whether searches are posted.
    pub fn posts(&self) -> bool {
        self.learned(|learned| learned.posts)
    }

    /// The server takes no searches that are posted.
    pub fn never_post(&self) {
        self.learned(|learned| learned.posts = false);
    }

    /// How many ids are asked for at a time; changed by what has become of a request.
    pub fn page_size<T>(&self, change: impl FnOnce(&mut PageSize) -> T) -> T {
        let (answer, now) = self.learned(|learned| (change(&mut learned.page), learned.page.now()));
        self.upstream.shows_page_size(now);
        answer
    }

    /// Asks about each of some things, as many at a time as there may be requests; the answers come in their order.
    pub async fn each<T, U, E, F>(&self, things: Vec<T>, ask: impl FnMut(T) -> F) -> Result<Vec<U>, E>
    where
        F: Future<Output = Result<U, E>>,
    {
        stream::iter(things).map(ask).buffered(self.upstream.at_once()).try_collect().await
    }

    /// Asks, as often as it takes until an answer begins.
    pub async fn begun<'a>(&'a self, ask: &'a Ask) -> Result<Answer<'a>, Trouble> {
        let mut tries = Tries::default();
        loop {
            match Box::pin(self.upstream.open(ask)).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => tries.again(ask, trouble).await.map_err(|trouble| match trouble {
                    // It has been tried often enough.
                    Trouble::Passing(fault) => Trouble::Lasting(fault),
                    other => other,
                })?,
            }
        }
    }

    /// Asks, as often as it takes, until there is an answer that can be read without its members. What these go to is begun
    /// anew each time; `read` tells what is wrong with an answer that cannot be read.
    pub async fn ask_cut<S: Send + 'static, T>(
        &self,
        ask: &Ask,
        begin: impl Fn() -> S,
        take: impl Fn(&mut S, u64, &[u8]) -> Result<(), Fault> + Clone + Send + 'static,
        read: impl Fn(Cut<S>) -> Result<T, String>,
    ) -> Result<T, Trouble> {
        let mut tries = Tries::default();
        loop {
            let trouble = match self.cut(self.begun(ask).await?, begin(), take.clone()).await {
                Ok(cut) => match read(cut) {
                    Ok(answer) => return Ok(answer),
                    Err(why) => unfit(&ask.what, why),
                },
                Err(trouble) => trouble,
            };
            tries.again(ask, trouble).await?;
        }
    }

    /// Takes the members of Groups out of an answer as they come: `take` gets the state, the number of the entry (as
    /// [`Cutter::push`] counts) and each member, on a thread where waiting for the disk holds up nobody.
    pub async fn cut<S: Send + 'static>(
        &self,
        mut answer: Answer<'_>,
        mut state: S,
        take: impl Fn(&mut S, u64, &[u8]) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Cut<S>, Trouble> {
        let etag = answer.etag();
        if answer.is_known() {
            return Ok(Cut { rest: None, etag, state });
        }
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let what = answer.what().to_owned();
        let asked = what.clone();
        let reading = spawn_blocking(move || {
            let mut cutter = Cutter::default();
            while let Some(piece) = waiting.blocking_recv() {
                cutter
                    .push(&piece, &mut |entry, member: &[u8]| take(&mut state, entry, member))
                    .map_err(Trouble::Lasting)?;
                if cutter.holds() > LONGEST_PIECE {
                    let why = "a part of it that is no list is longer than this program takes";
                    return Err(Trouble::Lasting(wrong(&what, why)));
                }
            }
            let rest = cutter.finish().map_err(|early| unfit(&what, early.to_string()))?;
            Ok((Bytes::from(rest), state))
        });
        let mut broken = None;
        loop {
            match answer.piece().await {
                Ok(Some(piece)) => {
                    // Whoever reads has stopped, and says why.
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(trouble) => {
                    broken = Some(trouble);
                    break;
                }
            }
        }
        drop(pieces);
        let read = reading
            .await
            .map_err(|stopped| Trouble::Passing(Fault::new(FaultKind::Unavailable, doing(&asked)).because(stopped)))?;
        if let Some(trouble) = broken {
            return Err(trouble);
        }
        let (rest, state) = read?;
        Ok(Cut { rest: Some(rest), etag, state })
    }
}

/// The fault of an answer that cannot be right.
pub fn wrong(what: &str, why: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Corrupt, doing(what)).because(why.into())
}
