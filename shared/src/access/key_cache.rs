//! Key sets that others publish: fetched when they are needed, and kept as long as their owners allow (standards §2.1).
//!
//! Anybody can send a token with a made-up `kid`, and each would ask for the keys anew; so a set that does not have the
//! `kid` is fetched again once in a while (`BETWEEN_LOOKS`) and not at each of them. Callers who need the same set at
//! the same time wait for one fetch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jsonwebtoken::DecodingKey;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap, HeaderName};
use reqwest::{Certificate, Client, StatusCode};
use url::Url;

use super::jwt::{BadToken, Unverified};
use super::key_set::{KeySet, NoKey};
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;

/// How long keys are kept whose owner does not say.
const USUAL_LIFE: Duration = Duration::from_mins(5);
/// How long they are kept at most, whatever their owner says: a key that was taken back has to go some time.
const LONGEST_LIFE: Duration = Duration::from_hours(1);
/// How long nobody looks again for a key that was not in a set fetched for its sake.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);
/// The longest key set that is read.
const LONGEST_SET: usize = 256 << 10;

/// A key set as its owner gave it out.
#[derive(Clone, Debug)]
pub struct Published {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// How long they may be kept; `None` when their owner does not say.
    pub life: Option<Duration>,
}

/// Gets key sets from where they are published.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The set at this URL. Fails with `Unavailable` when it cannot be had now, with `Invalid` when what is there is none.
    async fn fetch(&self, url: &Url) -> Result<Published, Fault>;
}

type Fetching = Shared<BoxFuture<'static, Result<Published, Arc<Fault>>>>;

#[derive(Default)]
struct Entry {
    fetching: Option<Fetching>,
    keys: Option<Arc<KeySet>>,
    good_until: Option<Instant>,
    look_again: Option<Instant>,
}

/// The key sets of everybody whose tokens are checked here.
pub struct KeyCache {
    source: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<Url, Entry>>,
}

impl KeyCache {
    /// An empty cache.
    pub fn new(source: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, entries: Mutex::default() }
    }

    /// The key at this URL that checks a token. A set that was kept and does not have it is fetched again.
    ///
    /// The outer failure is that the set cannot be had, the inner one that no key in it fits.
    pub async fn key_for(&self, url: &Url, token: &Unverified<'_>) -> Result<Result<DecodingKey, BadToken>, Fault> {
        let kept = self.entry(url, |entry| entry.keys_at(self.clock.now()));
        let keys = match &kept {
            Some(keys) => Arc::clone(keys),
            None => self.fetch(url).await?,
        };
        let found = token.key_in(&keys);
        let is_missing = matches!(found, Err(NoKey::None));
        if !is_missing || kept.is_none() || !self.may_look_again(url) {
            return Ok(found.map_err(BadToken::from));
        }
        let keys = self.fetch(url).await?;
        Ok(token.key_in(&keys).map_err(BadToken::from))
    }

    /// Whether it is time to look for a key that is not in the set; counts as a look.
    fn may_look_again(&self, url: &Url) -> bool {
        let now = self.clock.now();
        self.entry(url, |entry| {
            let may = entry.look_again.is_none_or(|at| at <= now);
            if may {
                entry.look_again = Some(now + BETWEEN_LOOKS);
            }
            may
        })
    }

    async fn fetch(&self, url: &Url) -> Result<Arc<KeySet>, Fault> {
        let fetching = self.entry(url, |entry| entry.fetching.get_or_insert_with(|| self.begin(url)).clone());
        let fetched = fetching.clone().await;
        let now = self.clock.now();
        self.entry(url, |entry| {
            // The first of those who waited keeps it for all.
            if entry.fetching.take_if(|current| current.ptr_eq(&fetching)).is_some()
                && let Ok(published) = &fetched
            {
                let life = published.life.unwrap_or(USUAL_LIFE).min(LONGEST_LIFE);
                entry.keys = Some(Arc::clone(&published.keys));
                entry.good_until = Some(now + life);
            }
        });
        match fetched {
            Ok(published) => Ok(published.keys),
            Err(fault) => Err(Fault::new(fault.kind(), fault.to_string())),
        }
    }

    fn begin(&self, url: &Url) -> Fetching {
        let (source, url) = (Arc::clone(&self.source), url.clone());
        async move { source.fetch(&url).await.map_err(Arc::new) }.boxed().shared()
    }

    fn entry<T>(&self, url: &Url, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries: MutexGuard<'_, _> = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        work(entries.entry(url.clone()).or_default())
    }
}

impl Entry {
    fn keys_at(&self, now: Instant) -> Option<Arc<KeySet>> {
        self.keys.clone().filter(|_| self.good_until.is_some_and(|until| now < until))
    }
}

/// Gets key sets over HTTPS: no redirects, no more than 256 KiB, no longer than it is told to wait.
pub struct HttpKeys(Client);

impl HttpKeys {
    /// `timeout` is for one fetch. `authorities` are PEM certificates that are trusted beside those of the system.
    /// Fails with `Invalid` when they cannot be read.
    pub fn new(timeout: Duration, authorities: Option<&[u8]>) -> Result<Self, Fault> {
        let wrong = |error| Fault::new(FaultKind::Invalid, "failed to prepare for fetching keys").because(error);
        let authorities = authorities.map(Certificate::from_pem_bundle).transpose().map_err(wrong)?;
        let client = Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .tls_certs_merge(authorities.unwrap_or_default())
            .build()
            .map_err(wrong)?;
        Ok(Self(client))
    }
}

#[async_trait]
impl KeySource for HttpKeys {
    async fn fetch(&self, url: &Url) -> Result<Published, Fault> {
        let doing = || format!("failed to fetch keys from {url}");
        let unavailable = |error: reqwest::Error| Fault::new(FaultKind::Unavailable, doing()).because(error);
        let invalid = |why: &str| Fault::new(FaultKind::Invalid, doing()).because(why.to_owned());
        let request = self.0.get(url.clone()).header("Accept", "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::new(FaultKind::Unavailable, doing()).because(format!("it answers {status}")));
            }
            status => return Err(invalid(&format!("it answers {status}"))),
        }
        let life = life(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_SET {
                return Err(invalid(&format!("it is longer than {LONGEST_SET} bytes")));
            }
        }
        let json = serde_json::from_slice(&body).map_err(|_| invalid("it is no JSON"))?;
        let keys = KeySet::read(&json).map_err(|why| invalid(&why.to_string()))?;
        Ok(Published { keys: Arc::new(keys), life })
    }
}

/// How long an answer may be kept (RFC 9111 §4.2, §5.2): nothing when it must not be, `None` when it does not say.
fn life(headers: &HeaderMap) -> Option<Duration> {
    let texts = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        texts(CACHE_CONTROL).flat_map(|line| line.split(',')).map(|word| word.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|word| matches!(word.as_str(), "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let max_age = directives.iter().find_map(|word| word.strip_prefix("max-age="))?;
    // What cannot be read is stale already (RFC 9111 §4.2.1).
    let max_age: u64 = max_age.trim_matches('"').parse().unwrap_or(0);
    let age: u64 = texts(AGE).next().and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(max_age.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64_simd::URL_SAFE_NO_PAD;
    use futures_util::future::join_all;
    use jsonwebtoken::Algorithm;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::clock::ManualClock;

    /// Publishes one key, and another one from the second fetch on.
    #[derive(Default)]
    struct Rotating {
        fetches: AtomicUsize,
        life: Option<Duration>,
        /// When it is there, a fetch waits for it.
        gate: Option<Notify>,
    }

    #[async_trait]
    impl KeySource for Rotating {
        async fn fetch(&self, _: &Url) -> Result<Published, Fault> {
            let kid = if self.fetches.fetch_add(1, Ordering::SeqCst) == 0 { "old" } else { "new" };
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            let key = json!({"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB"});
            let keys = KeySet::read(&json!({"keys": [key]})).expect("it is a set");
            Ok(Published { keys: Arc::new(keys), life: self.life })
        }
    }

    fn url() -> Url {
        Url::parse("https://keys.example.org/").expect("it is a URL")
    }

    fn token(kid: &str) -> String {
        let part = |text: String| URL_SAFE_NO_PAD.encode_to_string(text);
        format!("{}.{}.{}", part(json!({"alg": "RS384", "kid": kid}).to_string()), part("{}".to_owned()), "AAAA")
    }

    struct Fixture {
        cache: KeyCache,
        source: Arc<Rotating>,
        clock: ManualClock,
    }

    impl Fixture {
        fn of(source: Rotating) -> Self {
            let (source, clock) = (Arc::new(source), ManualClock::at(Instant::from_unix_millis(0)));
            let cache = KeyCache::new(Arc::clone(&source) as Arc<dyn KeySource>, Arc::new(clock.clone()));
            Self { cache, source, clock }
        }

        async fn finds(&self, kid: &str) -> bool {
            let token = token(kid);
            let token = Unverified::read(&token, &[Algorithm::RS384]).expect("it is a token");
            self.cache.key_for(&url(), &token).await.expect("the source answers").is_ok()
        }

        fn fetches(&self) -> usize {
            self.source.fetches.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn keys_are_kept_for_five_minutes_when_their_owner_does_not_say() {
        let fixture = Fixture::of(Rotating::default());
        assert!(fixture.finds("old").await);
        fixture.clock.advance(Duration::from_secs(299));
        assert!(fixture.finds("old").await);
        assert_eq!(fixture.fetches(), 1);
        fixture.clock.advance(Duration::from_secs(1));
        assert!(!fixture.finds("old").await, "the old key is taken back");
        assert_eq!(fixture.fetches(), 2);
    }

    #[tokio::test]
    async fn keys_are_kept_no_longer_than_their_owner_says_and_an_hour() {
        for (life, kept_seconds) in [(0, 0), (60, 60), (86_400, 3_600)] {
            let fixture = Fixture::of(Rotating { life: Some(Duration::from_secs(life)), ..Rotating::default() });
            assert!(fixture.finds("old").await);
            fixture.clock.advance(Duration::from_secs(kept_seconds));
            assert!(fixture.finds("new").await);
            assert_eq!(fixture.fetches(), 2, "{life}");
        }
    }

    #[tokio::test]
    async fn a_kid_that_is_not_there_is_looked_for_once_and_then_not_for_a_while() {
        let fixture = Fixture::of(Rotating::default());
        assert!(fixture.finds("old").await);
        assert!(fixture.finds("new").await, "the key was rotated a moment ago");
        assert_eq!(fixture.fetches(), 2);
        for _ in 0..100 {
            assert!(!fixture.finds("made-up").await);
        }
        assert_eq!(fixture.fetches(), 2);
        fixture.clock.advance(BETWEEN_LOOKS);
        assert!(!fixture.finds("made-up").await);
        assert_eq!(fixture.fetches(), 3);
    }

    #[tokio::test]
    async fn those_who_come_at_once_wait_for_one_fetch() {
        let fixture = Fixture::of(Rotating { gate: Some(Notify::new()), ..Rotating::default() });
        let all = join_all((0..10).map(|_| fixture.finds("old")));
        let open = async {
            tokio::task::yield_now().await;
            fixture.source.gate.as_ref().expect("it has one").notify_one();
        };
        let (found, ()) = tokio::join!(all, open);
        assert_eq!(found, [true; 10]);
        assert_eq!(fixture.fetches(), 1);
    }

    #[test]
    fn what_http_says_of_keeping_is_understood() {
        for (cache_control, age, expected) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["public, max-age=60"], None, Some(60)),
            (&["public", "Max-Age=60"], None, Some(60)),
            (&["max-age=60"], Some("20"), Some(40)),
            (&["max-age=60"], Some("90"), Some(0)),
            (&["no-store, max-age=60"], None, Some(0)),
            (&["no-cache"], None, Some(0)),
            (&["max-age=soon"], None, Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            for line in cache_control {
                headers.append(CACHE_CONTROL, line.parse().expect("it is a header"));
            }
            if let Some(age) = age {
                headers.append(AGE, age.parse().expect("it is a header"));
            }
            assert_eq!(life(&headers), expected.map(Duration::from_secs), "{cache_control:?} {age:?}");
        }
    }
}
