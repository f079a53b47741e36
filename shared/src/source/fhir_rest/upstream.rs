//! One request to the payer's FHIR server, in good manners: so many at once and no more, none while the server asks for
//! patience or is left alone, each with an end in sight, and again after a failure that may pass, later each time.
//!
//! What a server says of a request that is no answer is a [`Trouble`]; what follows from it is for those who ask.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode, redirect};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use url::Url;

use super::circuit::{Circuit, Leave};
use super::credentials::{Credentials, Sent};
use super::pace::{Pace, retry_after};
use super::trouble::{Tries, Trouble, broken, doing, too_slow, unfit};
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;

const FHIR_JSON: &str = "application/fhir+json";

/// The longest answer that is read whole. One that is longer is asked for in smaller pages.
const LONGEST_BODY: usize = 64 << 20;

/// How long a pause is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// What a server means that asks for patience and does not say how much.
const SOME_PATIENCE: Duration = Duration::from_secs(1);
/// The longest that it is believed.
const MOST_PATIENCE: Duration = Duration::from_hours(1);

/// How many redirects are followed, within the server.
const REDIRECTS: usize = 3;

/// How long the server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of this process at once.
    pub at_once: usize,
    /// For a connection.
    pub connect: Duration,
    /// For the beginning of an answer, and for each further piece of it.
    pub answer: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub url: Url,
    /// With what.
    pub content: Content,
    /// The `ETag` of what is known already.
    pub known: Option<String>,
    /// Words for what is asked for, with nothing personal in them: `the members of list 7`.
    pub what: String,
    /// Whether less could be asked for; if not, what is too much is tried again as it is.
    pub divisible: bool,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing: `GET`.
    Nothing,
    /// The parameters of a search: `POST`.
    Form(String),
    /// A Bundle: `POST`.
    Json(Bytes),
}

impl Ask {
    /// `GET`.
    pub fn get(url: Url, what: impl Into<String>) -> Self {
        Self { url, content: Content::Nothing, known: None, what: what.into(), divisible: false }
    }
}

/// The server.
pub struct Upstream {
    http: Client,
    /// Ends with a slash.
    base: Url,
    credentials: Credentials,
    limits: Limits,
    permits: Semaphore,
    pace: Pace,
    circuit: Mutex<Circuit>,
    /// When it last answered a request.
    answered: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// An answer that has begun.
pub struct Answer<'a> {
    response: Response,
    ask: &'a Ask,
    began: Instant,
    turn: Turn<'a>,
    /// Nothing else is asked in its place before it has been read.
    _permit: SemaphorePermit<'a>,
}

/// A request that may be made. What has become of it is told to the circuit, or that nobody knows.
struct Turn<'a> {
    upstream: &'a Upstream,
    leave: Leave,
    is_told: bool,
}

/// An answer that has been read.
pub struct Reply {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its content, decompressed.
    pub body: Bytes,
}

impl Upstream {
    /// The server at this base; `http` brings what belongs to the credentials.
    pub fn new(
        base: Url,
        http: ClientBuilder,
        credentials: Credentials,
        limits: Limits,
        pace: Pace,
        metrics: Metrics,
    ) -> Result<Self, Fault> {
        let origin = base.origin();
        // What is sent there is for this server alone, and so is the trust in what it answers.
        let within = redirect::Policy::custom(move |attempt| {
            let is_followed = attempt.previous().len() <= REDIRECTS && attempt.url().origin() == origin;
            if is_followed { attempt.follow() } else { attempt.stop() }
        });
        let http = http
            .redirect(within)
            .connect_timeout(limits.connect)
            .read_timeout(limits.answer)
            .gzip(true)
            .pool_max_idle_per_host(limits.at_once)
            .build()
            .map_err(|error| Fault::new(FaultKind::Invalid, "failed to set up an HTTP client").because(error))?;
        Ok(Self {
            http,
            base,
            credentials,
            limits,
            permits: Semaphore::new(limits.at_once),
            pace,
            circuit: Mutex::default(),
            answered: Mutex::default(),
            metrics,
        })
    }

    /// A URL below the base: `Patient?_id=1`.
    pub fn url(&self, below: &str) -> Result<Url, Fault> {
        self.base.join(below).map_err(|error| Fault::new(FaultKind::Invalid, "failed to make a URL").because(error))
    }

    /// The base, with a slash at its end.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Where a link of the server leads, when that is on it: whatever else a link says, credentials go nowhere else.
    pub fn link(&self, text: &str) -> Option<Url> {
        let url = self.base.join(text).ok()?;
        (url.origin() == self.base.origin()).then_some(url)
    }

    /// How many requests there may be at once.
    pub fn at_once(&self) -> usize {
        self.limits.at_once
    }

    /// How many ids are asked for at a time, for the metric.
    pub fn shows_page_size(&self, ids: usize) {
        self.metrics.fhir_request_ids.set(i64::try_from(ids).unwrap_or(i64::MAX));
    }

    /// Asks, as often as it takes, until there is an answer that can be read.
    ///
    /// `read` tells what is wrong with one that cannot; it may be a proxy's, or cut short, so it is asked for again.
    pub async fn ask<T>(&self, ask: &Ask, read: impl Fn(&Reply) -> Result<T, String>) -> Result<T, Trouble> {
        let mut tries = Tries::default();
        loop {
            let trouble = match Box::pin(self.once(ask)).await {
                Ok(reply) => match read(&reply) {
                    Ok(answer) => return Ok(answer),
                    Err(why) => unfit(&ask.what, why),
                },
                Err(trouble) => trouble,
            };
            tries.again(ask, trouble).await?;
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Reply, Trouble> {
        let answer = self.open(ask).await?;
        let longest = self.limits.answer * 4;
        timeout(longest, answer.whole()).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Asks once, when it is time to; answers when the answer begins. `ask.known` may be answered by an answer that
    /// [`Answer::is_known`].
    pub async fn open<'a>(&'a self, ask: &'a Ask) -> Result<Answer<'a>, Trouble> {
        let permit = self.permits.acquire().await.expect("nobody closes it");
        let mut turn = self.turn(&ask.what).await?;
        let method = if matches!(ask.content, Content::Nothing) { Method::GET } else { Method::POST };
        // A server that keeps the results of searches would answer as of the first time.
        let request =
            self.http.request(method, ask.url.clone()).header(ACCEPT, FHIR_JSON).header(CACHE_CONTROL, "no-cache");
        let request = match &ask.content {
            Content::Nothing => request,
            Content::Form(form) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone()),
            Content::Json(json) => request.header(CONTENT_TYPE, FHIR_JSON).body(json.clone()),
        };
        let request = match &ask.known {
            Some(etag) => request.header(IF_NONE_MATCH, etag),
            None => request,
        };
        let (request, sent) =
            self.credentials.authorize(request).await.map_err(|fault| {
                if fault.is_transient() { Trouble::Passing(fault) } else { Trouble::Lasting(fault) }
            })?;
        let began = Instant::now();
        let response = match timeout(self.limits.answer, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(turn.failed(ask, broken(&ask.what, &error))),
            Err(_) => return Err(turn.failed(ask, too_slow())),
        };
        match self.judge(&ask.what, &response, sent).await {
            None => Ok(Answer { response, ask, began, turn, _permit: permit }),
            Some(trouble) => Err(turn.failed(ask, trouble)),
        }
    }

    /// Waits until a request may be made.
    async fn turn(&self, what: &str) -> Result<Turn<'_>, Trouble> {
        self.pace.wait(PATIENCE).await.map_err(|rest| {
            let why = format!("it asks for patience, for {} s more", rest.as_secs());
            Trouble::Lasting(Fault::new(FaultKind::Busy, doing(what)).because(why))
        })?;
        let leave = self.circuit(|circuit| circuit.ask(Instant::now())).map_err(|_| {
            let why = "it has failed again and again, and is left alone for a while";
            Trouble::Lasting(Fault::new(FaultKind::Unavailable, doing(what)).because(why))
        })?;
        Ok(Turn { upstream: self, leave, is_told: false })
    }

    fn circuit<T>(&self, with: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = with(&mut circuit);
        self.metrics.fhir_circuit_open.set(i64::from(circuit.is_open()));
        answer
    }

    /// Whether the server has answered within this time.
    pub fn answered_within(&self, time: Duration) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|answered| answered.elapsed() < time)
    }

    /// What the status of an answer means; `None` when it has what was asked for.
    async fn judge(&self, what: &str, response: &Response, sent: Sent) -> Option<Trouble> {
        let status = response.status();
        let lasting = |why: &str| {
            let why = format!("it answers {status}: {why}");
            Some(Trouble::Lasting(Fault::new(FaultKind::Invalid, doing(what)).because(why)))
        };
        match status {
            StatusCode::OK | StatusCode::NOT_MODIFIED => None,
            StatusCode::NOT_FOUND | StatusCode::GONE if is_fhir(response.headers()) => Some(Trouble::Missing),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let why = format!("it answers {status}, and not as a FHIR server does");
                Some(Trouble::Passing(Fault::new(FaultKind::Unavailable, doing(what)).because(why)))
            }
            StatusCode::UNAUTHORIZED if self.credentials.refused(sent).await => Some(Trouble::Renewed),
            StatusCode::UNAUTHORIZED => lasting("it does not take the credentials"),
            StatusCode::FORBIDDEN => lasting("the credentials do not go so far"),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG => {
                Some(Trouble::TooMuch("it is more than the server takes at a time"))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Some(too_slow()),
            StatusCode::TOO_MANY_REQUESTS => Some(self.patience(response.headers()).await),
            StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(RETRY_AFTER) => {
                Some(self.patience(response.headers()).await)
            }
            StatusCode::NOT_IMPLEMENTED => Some(Trouble::Refused(status)),
            _ if status.is_server_error() => {
                let why = format!("it answers {status}");
                Some(Trouble::Passing(Fault::new(FaultKind::Unavailable, doing(what)).because(why)))
            }
            _ if status.is_redirection() => lasting("it redirects to another server, or in a circle"),
            _ => Some(Trouble::Refused(status)),
        }
    }

    async fn patience(&self, headers: &HeaderMap) -> Trouble {
        let pause = retry_after(headers).unwrap_or(SOME_PATIENCE).min(MOST_PATIENCE);
        self.metrics.fhir_pauses.inc();
        self.pace.pause(pause).await;
        Trouble::Patience
    }
}

impl Turn<'_> {
    /// The request has gone wrong: counts it, and tells the circuit.
    fn failed(&mut self, ask: &Ask, trouble: Trouble) -> Trouble {
        let Self { upstream, leave, .. } = *self;
        upstream.metrics.fhir_requests.with_label_values(&[trouble.outcome()]).inc();
        self.is_told = true;
        upstream.circuit(|circuit| match trouble {
            // It may well bear less.
            Trouble::TooMuch(_) if ask.divisible => circuit.abandoned(leave),
            Trouble::Passing(_) | Trouble::TooMuch(_) => circuit.failed(leave, Instant::now()),
            _ => circuit.succeeded(),
        });
        trouble
    }

    /// The server has answered.
    fn succeeded(&mut self, began: Instant) {
        self.is_told = true;
        let metrics = &self.upstream.metrics;
        metrics.fhir_requests.with_label_values(&["answered"]).inc();
        metrics.fhir_request_seconds.with_label_values::<&str>(&[]).observe(began.elapsed().as_secs_f64());
        *self.upstream.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.upstream.circuit(Circuit::succeeded);
    }
}

impl Drop for Turn<'_> {
    /// Whoever asked has gone away, or could not ask after all.
    fn drop(&mut self) {
        if !self.is_told {
            self.upstream.circuit(|circuit| circuit.abandoned(self.leave));
        }
    }
}

impl Answer<'_> {
    /// Whether what is known already is what there is; then there is no content.
    pub fn is_known(&mut self) -> bool {
        let is_known = self.response.status() == StatusCode::NOT_MODIFIED;
        if is_known {
            self.turn.succeeded(self.began);
        }
        is_known
    }

    /// Words for what was asked for.
    pub fn what(&self) -> &str {
        &self.ask.what
    }

    /// Its `ETag`.
    pub fn etag(&self) -> Option<String> {
        self.response.headers().get(ETAG)?.to_str().ok().map(str::to_owned)
    }

    /// The next piece of the content; `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Trouble> {
        match self.response.chunk().await {
            Ok(Some(piece)) => Ok(Some(piece)),
            Ok(None) => {
                self.turn.succeeded(self.began);
                Ok(None)
            }
            Err(error) => Err(self.turn.failed(self.ask, broken(&self.ask.what, &error))),
        }
    }

    async fn whole(mut self) -> Result<Reply, Trouble> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > LONGEST_BODY {
                return Err(self.turn.failed(self.ask, Trouble::TooMuch("the answer is too long")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Reply { headers: self.response.headers().clone(), body: body.freeze() })
    }
}

/// Whether it is the FHIR server that answers, and nothing before it: a gateway without a way says 404 in its own words.
fn is_fhir(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_none_or(|kind| ["json", "fhir"].iter().any(|word| kind.contains(word)))
}
