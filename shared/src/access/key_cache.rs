//! Key sets that others publish: fetched when they are needed, and kept as long as their owners allow (standards §2.1).
//!
//! Anybody can send a token with a made-up `kid`, and each would ask for the keys anew; so a set that does not have the
//! `kid` is fetched again once in a while (`BETWEEN_LOOKS`) and not at each of them, and a fetch that failed is not tried
//! again at once (`AFTER_FAILURE`). Callers who need the same set at the same time wait for one fetch.

mod http;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jsonwebtoken::DecodingKey;
use url::Url;

pub use self::http::HttpKeys;
use super::jwt::Unverified;
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
/// How long nobody asks again where the last fetch has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

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

/// What is known of one URL; each time is the one until which it holds.
#[derive(Default)]
struct Entry {
    fetching: Option<Fetching>,
    kept: Option<(Instant, Arc<KeySet>)>,
    failed: Option<(Instant, Arc<Fault>)>,
    looked: Option<Instant>,
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
    pub async fn key_for(&self, url: &Url, token: &Unverified<'_>) -> Result<Result<DecodingKey, NoKey>, Fault> {
        let kept = self.entry(url, |entry| until(self.clock.now(), entry.kept.as_ref()));
        let keys = match &kept {
            Some(keys) => Arc::clone(keys),
            None => self.fetch(url).await?,
        };
        let found = token.key_in(&keys);
        let is_missing = matches!(found, Err(NoKey::None));
        if !is_missing || kept.is_none() || !self.may_look_again(url) {
            return Ok(found);
        }
        Ok(token.key_in(&*self.fetch(url).await?))
    }

    /// Whether it is time to look for a key that is not in the set; counts as a look.
    fn may_look_again(&self, url: &Url) -> bool {
        let now = self.clock.now();
        self.entry(url, |entry| {
            let may = entry.looked.is_none_or(|until| until <= now);
            if may {
                entry.looked = Some(now + BETWEEN_LOOKS);
            }
            may
        })
    }

    async fn fetch(&self, url: &Url) -> Result<Arc<KeySet>, Fault> {
        let now = self.clock.now();
        let fetching = self.entry(url, |entry| match until(now, entry.failed.as_ref()) {
            Some(fault) => Err(fault),
            None => Ok(entry.fetching.get_or_insert_with(|| self.begin(url)).clone()),
        });
        let fetching = fetching.map_err(|fault| fault.again())?;
        let fetched = fetching.clone().await;
        let now = self.clock.now();
        self.entry(url, |entry| {
            // The first of those who waited notes it for all.
            if entry.fetching.take_if(|current| current.ptr_eq(&fetching)).is_some() {
                match &fetched {
                    Ok(published) => {
                        let life = published.life.unwrap_or(USUAL_LIFE).min(LONGEST_LIFE);
                        entry.kept = Some((now + life, Arc::clone(&published.keys)));
                    }
                    Err(fault) => entry.failed = Some((now + AFTER_FAILURE, Arc::clone(fault))),
                }
            }
        });
        fetched.map(|published| published.keys).map_err(|fault| fault.again())
    }

    /// A fetch goes on by itself: whoever waits for it may leave, and the next one must not find it half done.
    fn begin(&self, url: &Url) -> Fetching {
        let (source, url) = (Arc::clone(&self.source), url.clone());
        let fetching = tokio::spawn(async move { source.fetch(&url).await.map_err(Arc::new) });
        let broken_off = |error| Fault::new(FaultKind::Unavailable, "failed to fetch keys").because(error);
        async move { fetching.await.unwrap_or_else(|error| Err(Arc::new(broken_off(error)))) }.boxed().shared()
    }

    fn entry<T>(&self, url: &Url, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries: MutexGuard<'_, _> = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        work(entries.entry(url.clone()).or_default())
    }
}

/// What holds until a time that has not come yet.
fn until<T>(now: Instant, held: Option<&(Instant, Arc<T>)>) -> Option<Arc<T>> {
    held.filter(|(until, _)| now < *until).map(|(_, held)| Arc::clone(held))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
        fails: AtomicBool,
    }

    #[async_trait]
    impl KeySource for Rotating {
        async fn fetch(&self, _: &Url) -> Result<Published, Fault> {
            let kid = if self.fetches.fetch_add(1, Ordering::SeqCst) == 0 { "old" } else { "new" };
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            if self.fails.load(Ordering::SeqCst) {
                return Err(Fault::new(FaultKind::Unavailable, "nobody answers"));
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

        async fn ask(&self, kid: &str) -> Result<bool, Fault> {
            let token = token(kid);
            let token = Unverified::read(&token, &[Algorithm::RS384]).expect("it is a token");
            Ok(self.cache.key_for(&url(), &token).await?.is_ok())
        }

        async fn finds(&self, kid: &str) -> bool {
            self.ask(kid).await.expect("the source answers")
        }

        async fn fault(&self, kid: &str) -> Option<FaultKind> {
            self.ask(kid).await.err().map(|fault| fault.kind())
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
    async fn keys_are_kept_as_long_as_their_owner_says_and_an_hour_at_most() {
        for (life, kept_millis) in [(60, 60_000), (86_400, 3_600_000)] {
            let fixture = Fixture::of(Rotating { life: Some(Duration::from_secs(life)), ..Rotating::default() });
            assert!(fixture.finds("old").await);
            fixture.clock.advance(Duration::from_millis(kept_millis - 1));
            assert!(fixture.finds("old").await, "{life}");
            assert_eq!(fixture.fetches(), 1, "{life}");
            fixture.clock.advance(Duration::from_millis(1));
            assert!(!fixture.finds("old").await, "{life}: the set is fetched anew");
            assert_eq!(fixture.fetches(), 2, "{life}");
        }
    }

    #[tokio::test]
    async fn keys_that_must_not_be_kept_are_fetched_each_time() {
        let fixture = Fixture::of(Rotating { life: Some(Duration::ZERO), ..Rotating::default() });
        for fetches in 1..=3 {
            fixture.finds("old").await;
            assert_eq!(fixture.fetches(), fetches);
        }
    }

    #[tokio::test]
    async fn where_a_fetch_has_failed_nobody_asks_again_at_once() {
        let fixture = Fixture::of(Rotating { fails: AtomicBool::new(true), ..Rotating::default() });
        for _ in 0..100 {
            assert_eq!(fixture.fault("old").await, Some(FaultKind::Unavailable));
        }
        assert_eq!(fixture.fetches(), 1);
        fixture.source.fails.store(false, Ordering::SeqCst);
        fixture.clock.advance(AFTER_FAILURE);
        assert!(fixture.finds("new").await);
        assert_eq!(fixture.fetches(), 2);
    }

    #[tokio::test]
    async fn a_fetch_whose_callers_have_left_comes_to_its_end_for_the_next() {
        let fixture = Fixture::of(Rotating { gate: Some(Notify::new()), ..Rotating::default() });
        let left = tokio::time::timeout(Duration::from_millis(1), fixture.finds("old")).await;
        assert!(left.is_err(), "the gate is shut");
        fixture.source.gate.as_ref().expect("it has one").notify_one();
        assert!(fixture.finds("old").await);
        assert_eq!(fixture.fetches(), 1);
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
}
