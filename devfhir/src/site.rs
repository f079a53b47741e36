//! From a question to an answer: everything a server knows, without the HTTP around it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::answer::{Answer, Content, etag, outcome, query_of};
use crate::bundle::{Bundle, Entry};
use crate::clock::Moment;
use crate::elements;
use crate::faults::{Harm, Requests, Rules};
use crate::history::History;
use crate::log::Log;
use crate::pages::{Cursor, Found, Listing, Page, Pages};
use crate::question::Question;
use crate::routes::{ROOT, Route};
use crate::search::{Search, Terms};
use crate::spoil::{self, Surroundings};
use crate::statement::statement;
use crate::store::{Record, Store, Version};
use crate::{Abilities, batch, lock};

/// What one server knows.
pub struct Site {
    /// `http://127.0.0.1:1234`.
    pub origin: String,
    /// `http://127.0.0.1:1234/fhir`.
    pub base: String,
    pub authorization: Option<String>,
    pub latency: Duration,
    /// How many rows a page has at most.
    pub page: usize,
    pub store: Mutex<Store>,
    pub abilities: Mutex<Abilities>,
    pub rules: Mutex<Rules>,
    pub pages: Mutex<Pages>,
    pub log: Log,
    /// How many answers were spoiled.
    pub met: Mutex<usize>,
}

/// A question that was understood, and what is going to go wrong with it.
pub struct Asking {
    route: Route,
    requests: Requests,
    /// What the rules look at.
    told: String,
    /// The page that is asked for; a refusal if the parameters are wrong.
    page: Option<Result<Page, Answer>>,
    before: Vec<Harm>,
    is_spoiled: bool,
}

impl Asking {
    /// How long nothing is to be looked up.
    pub fn delay(&self) -> Duration {
        let delays = self.before.iter().map(|harm| match harm {
            Harm::SlowHead(time) | Harm::SlowAboveIds(_, time) => *time,
            _ => Duration::ZERO,
        });
        delays.sum()
    }
}

/// An answer, and what is going to go wrong on its way.
pub struct Sending {
    pub answer: Answer,
    pub harms: Vec<Harm>,
}

impl Site {
    /// Understands a question, and decides what goes wrong before it is answered.
    pub fn understand(&self, question: &Question) -> Asking {
        let mut rules = lock(&self.rules);
        let mut segments = question.below(ROOT);
        let is_moved = segments.is_none();
        if is_moved {
            segments = rules.moved().find_map(|root| question.below(root));
        }
        let route = segments.map_or(Route::Nothing, |segments| Route::of(question, &segments));
        let page = self.first_or_linked_page(&route, question);
        let known = page.as_ref().and_then(|page| page.as_ref().ok());
        let requests = match (&route, known.map(|page| &page.listing)) {
            (Route::Metadata, _) => Requests::Metadata,
            (Route::Read { .. } | Route::VersionRead { .. }, _) => Requests::Read,
            (Route::Batch, _) => Requests::Batch,
            (Route::History { .. }, _) | (_, Some(Listing::History(_))) => Requests::History,
            (Route::Search { .. } | Route::SearchByPost { .. }, _) | (_, Some(Listing::Search(_))) => Requests::Search,
            (Route::Page(_) | Route::Nothing, _) => Requests::Any,
        };
        let mut told = question.told();
        if let (Route::Page(_), Some(page)) = (&route, known) {
            told = format!("{told} {}", page.asked);
        }
        let ids = known.map_or(0, |page| page.listing.ids());
        let before = rules.due(requests, &told, |harm| match harm {
            Harm::Status(..) | Harm::NotJson | Harm::NoServer | Harm::SlowHead(_) => true,
            Harm::Redirect { .. } => !is_moved,
            Harm::TooManyIds(most) | Harm::SlowAboveIds(most, _) => ids > *most,
            Harm::IgnoresId => ids > 0,
            Harm::SmallPages(rows) => known.is_some_and(|page| self.count(&page.listing) > *rows),
            _ => false,
        });
        drop(rules);
        let is_spoiled = !before.is_empty();
        Asking { route, requests, told, page, before, is_spoiled }
    }

    /// Answers what was understood, and decides what goes wrong on the way.
    pub fn answer(&self, question: &Question, asking: Asking) -> Sending {
        let Asking { route, requests, told, page, before, mut is_spoiled } = asking;
        let mut answer = match (self.unanswered(question, &before), page) {
            (Some(answer), _) => answer,
            (None, Some(Err(refusal))) => refusal,
            (None, Some(Ok(page))) => {
                let (answer, spoiled) = self.page(page, &before, |can| lock(&self.rules).due(requests, &told, can));
                is_spoiled |= spoiled;
                answer
            }
            (None, None) => self.one(&route, question),
        };
        if let (Route::Read { kind, id } | Route::VersionRead { kind, id, .. }, 200) = (&route, answer.status)
            && matches!(answer.content, Content::Json(_))
            && !lock(&self.rules).due(requests, &told, |harm| *harm == Harm::WrongType).is_empty()
        {
            is_spoiled = true;
            answer.content = Content::Json(spoil::of_another_type(kind, id));
        }
        let has_body = !matches!(answer.content, Content::Nothing);
        let harms = lock(&self.rules).due(requests, &told, |harm| {
            has_body && matches!(harm, Harm::SlowBody(..) | Harm::TruncatedJson | Harm::BrokenBody)
        });
        if is_spoiled || !harms.is_empty() {
            *lock(&self.met) += 1;
        }
        Sending { answer, harms }
    }

    /// The page that a listing or a link asks for.
    fn first_or_linked_page(&self, route: &Route, question: &Question) -> Option<Result<Page, Answer>> {
        let listing = match route {
            Route::Page(token) => {
                let page = lock(&self.pages).get(token);
                return Some(page.ok_or_else(|| Answer::refusal(404, "not-found", "no link leads to this page")));
            }
            Route::History { kind, id } => self.history(kind, id.as_deref(), question),
            Route::Search { kind } => self.search(kind, question),
            Route::SearchByPost { .. } if !lock(&self.abilities).post_search => {
                Err(Answer::refusal(405, "not-supported", "this server cannot search by POST"))
            }
            Route::SearchByPost { .. } if question.form.is_none() => {
                Err(Answer::refusal(415, "invalid", "the body of a search is application/x-www-form-urlencoded"))
            }
            Route::SearchByPost { kind } => self.search(kind, question),
            _ => return None,
        };
        Some(listing.map(|listing| Page { listing, from: None, asked: question.told().into() }))
    }

    fn search(&self, kind: &str, question: &Question) -> Result<Listing, Answer> {
        let abilities = lock(&self.abilities).clone();
        let terms = Terms { abilities: &abilities, base: &self.base, is_strict: question.is_strict() };
        Search::read(kind, &question.parameters(), &terms).map(|search| Listing::Search(Arc::new(search)))
    }

    fn history(&self, kind: &str, id: Option<&str>, question: &Question) -> Result<Listing, Answer> {
        if !lock(&self.abilities).history {
            return Err(Answer::refusal(404, "not-supported", "this server keeps no history"));
        }
        History::read(kind, id, &question.query).map(|history| Listing::History(Arc::new(history)))
    }

    /// The answer that is given without looking anything up.
    fn unanswered(&self, question: &Question, harms: &[Harm]) -> Option<Answer> {
        harms.iter().find_map(|harm| match harm {
            Harm::Status(status, retry_after) => {
                let answer = Answer::refusal(*status, "exception", "devfhir was told to refuse this request");
                Some(match retry_after {
                    Some(value) => answer.with("Retry-After", value.clone()),
                    None => answer,
                })
            }
            Harm::NotJson => Some(Answer::of(Content::Html("<!DOCTYPE html><title>Welcome</title><p>It works!\n"))),
            Harm::NoServer => {
                let answer = Answer::of(Content::Html("<!DOCTYPE html><title>404</title><p>default backend\n"));
                Some(Answer { status: 404, ..answer })
            }
            Harm::TooManyIds(_) => Some(Answer::refusal(413, "too-costly", "there are too many values of _id")),
            Harm::Redirect { status, to } => {
                let base = if to.starts_with('/') { Cow::from(format!("{}{to}", self.origin)) } else { to.into() };
                let rest = question.path.strip_prefix(ROOT).unwrap_or_default();
                let query = if question.raw_query.is_empty() { "" } else { "?" };
                let place = format!("{base}{rest}{query}{}", question.raw_query);
                let answer = Answer { status: *status, headers: Vec::new(), content: Content::Nothing };
                Some(answer.with("Location", place))
            }
            _ => None,
        })
    }

    /// What is no listing.
    fn one(&self, route: &Route, question: &Question) -> Answer {
        let abilities = lock(&self.abilities).clone();
        match route {
            Route::Metadata if abilities.statement => {
                let store = lock(&self.store);
                Answer::of(Content::Json(statement(&abilities, store.kinds(), &self.base, Moment::now()).into()))
            }
            Route::Read { kind, id } => self.read(kind, id, question),
            Route::VersionRead { kind, id, version } if abilities.history => {
                let store = lock(&self.store);
                let history = store.record(kind, id).map(Record::history).unwrap_or_default();
                match history.iter().find(|one| one.version() == Some(version.as_str())) {
                    Some(version) => whole(version),
                    None => Answer::refusal(404, "not-found", "there never was such a version"),
                }
            }
            Route::Batch if !abilities.batch => Answer::refusal(405, "not-supported", "this server takes no batches"),
            Route::Batch => batch::answer(&question.body, &lock(&self.store)),
            _ => Answer::refusal(404, "not-found", "nothing is answered here"),
        }
    }

    fn read(&self, kind: &str, id: &str, question: &Question) -> Answer {
        let store = lock(&self.store);
        let Some(record) = store.record(kind, id) else {
            return Answer::refusal(404, "not-found", "there never was such a resource");
        };
        let version = record.newest();
        if !record.is_there() {
            return Answer::refusal(410, "deleted", "the resource is deleted");
        }
        let mut answer = whole(version);
        if version.version().is_some_and(|version| question.has(&etag(version))) {
            answer.status = 304;
            answer.content = Content::Nothing;
        }
        answer
    }

    /// How many rows a page of this listing has at most.
    fn count(&self, listing: &Listing) -> usize {
        listing.count().unwrap_or(self.page).min(self.page)
    }

    /// A page of a listing, and whether a harm was done to it. `due` gives the harms of those that can be done.
    fn page(
        &self,
        mut page: Page,
        before: &[Harm],
        due: impl FnOnce(&dyn Fn(&Harm) -> bool) -> Vec<Harm>,
    ) -> (Answer, bool) {
        if before.contains(&Harm::IgnoresId)
            && let Listing::Search(search) = &mut page.listing
        {
            let mut all = Search::clone(search);
            all.ids = None;
            *search = Arc::new(all);
        }
        let caps = before.iter().filter_map(|harm| if let Harm::SmallPages(rows) = harm { Some(*rows) } else { None });
        let count = caps.fold(self.count(&page.listing), usize::min);
        let (told, found) = {
            let mut store = lock(&self.store);
            let told = store.tell(Moment::now());
            let found = match &page.listing {
                Listing::Search(search) => Some(search.find(&store, page.from.as_ref(), count)),
                Listing::History(history) => history.find(&store, page.from.as_ref(), count),
            };
            (told, found)
        };
        let Some(found) = found else {
            return (Answer::refusal(404, "not-found", "there never was such a resource"), false);
        };
        let mut bundle = self.bundle(&page, told, &found);
        let around = self.surroundings(&page);
        let harms = due(&|harm: &Harm| spoil::can_be_done(harm, &bundle, &around));
        for harm in &harms {
            let first_page = || self.link(Page { from: None, ..page.clone() });
            spoil::spoil(&mut bundle, harm, &around, first_page);
        }
        (Answer::of(Content::Bundle(Box::new(bundle))), !harms.is_empty())
    }

    fn bundle(&self, page: &Page, told: Moment, found: &Found) -> Bundle {
        let entry = |version: &Arc<Version>| match (&page.listing, version.text()) {
            (Listing::Search(search), Some(text)) => {
                let text = match &search.elements {
                    Some(elements) => elements::only(text, elements),
                    None => Arc::clone(text),
                };
                Entry::found(&self.base, version, text)
            }
            _ => Entry::past(&self.base, version),
        };
        let mut entries: Vec<_> = found.versions.iter().map(entry).collect();
        let mut has_more = found.has_more && !entries.is_empty();
        let (kind, path, query) = match &page.listing {
            Listing::Search(search) => ("searchset", search.kind.clone(), query_of(&search.used)),
            Listing::History(history) => {
                let id = history.id.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
                ("history", format!("{}{id}/_history", history.kind), String::new())
            }
        };
        if matches!(&page.listing, Listing::Search(search) if search.is_summary) {
            entries.clear();
            has_more = false;
        }
        let own = match (&page.from, query.as_str()) {
            (Some(_), _) => self.link(page.clone()),
            (None, "") => format!("{}/{path}", self.base),
            (None, query) => format!("{}/{path}?{query}", self.base),
        };
        let last = found.versions.last().filter(|_| has_more);
        let next = last.map(|last| {
            let first_row = entries.first().cloned();
            let from = Cursor { write: last.write, id: Arc::clone(&last.id), total: found.total, first_row };
            self.link(Page { from: Some(from), ..page.clone() })
        });
        Bundle { kind, told: Some(told), total: Some(found.total), own: Some(own), next, entries }
    }

    fn surroundings<'a>(&'a self, page: &'a Page) -> Surroundings<'a> {
        let first_row_before = page.from.as_ref().and_then(|from| from.first_row.clone());
        let (kind, is_search) = match &page.listing {
            Listing::Search(search) => (search.kind.as_str(), true),
            Listing::History(history) => (history.kind.as_str(), false),
        };
        Surroundings { base: &self.base, kind, has_ids: page.listing.ids() > 0, is_search, first_row_before }
    }

    fn link(&self, page: Page) -> String {
        format!("{}?_page={}", self.base, lock(&self.pages).keep(page))
    }
}

/// A version as a read gives it.
fn whole(version: &Version) -> Answer {
    let (Some(text), Some(number)) = (version.text(), version.version()) else {
        return Answer::of(Content::Json(outcome("error", "deleted", "the resource is deleted").into()));
    };
    Answer::of(Content::Json(Arc::clone(text)))
        .with("ETag", etag(number))
        .with("Last-Modified", version.stamp.http_date())
}
