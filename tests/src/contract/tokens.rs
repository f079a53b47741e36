//! The contract of `shared::access::tokens::TokenStore`: a test for each sentence of its text, run against both adapters;
//! then what only Redis has.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use shared::access::tokens::memory::MemoryTokens;
use shared::access::tokens::redis::RedisTokens;
use shared::access::tokens::{Fingerprint, Grant, TokenStore};
use shared::clock::SystemClock;
use shared::fault::FaultKind;
use shared::fhir::Instant;
use shared::redis_connection::{RedisConnection, RedisSettings};
use tokio::time::sleep;

use crate::harness::{namespace, redis_url};

const LONG: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_millis(20);

type Store = Arc<dyn TokenStore>;

/// Each test of the contract, once for each adapter.
macro_rules! contract {
    ($($sentence:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $sentence() {
                super::$sentence(std::sync::Arc::new(super::MemoryTokens::new(std::sync::Arc::new(super::SystemClock)))).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test] async fn $sentence() {
                let redis = super::Redis::new().await;
                super::$sentence(std::sync::Arc::new(super::RedisTokens::new(redis.link.clone()))).await;
                redis.wipe().await;
            })*
        }
    };
}

contract! {
    the_first_use_is_told_so_and_no_other
    of_many_at_the_same_time_one_is_the_first
    a_use_is_forgotten_after_its_life
    a_token_is_remembered_with_what_it_stands_for
    a_token_is_forgotten_after_its_life
    a_token_that_was_never_given_stands_for_nothing
}

/// A namespace in Redis. A test that fails leaves its few keys to their expiry, five minutes at most.
struct Redis {
    link: RedisConnection,
    namespace: String,
}

impl Redis {
    async fn new() -> Self {
        let namespace = namespace();
        let link =
            RedisConnection::connect(&redis_url(), &namespace, RedisSettings::default()).await.expect("redis runs");
        Self { link, namespace }
    }

    async fn keys(&self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg(format!("{}:*", self.namespace))
            .query_async(&mut wire().await)
            .await
            .expect("redis runs")
    }

    async fn wipe(&self) {
        for key in self.keys().await {
            redis::cmd("DEL").arg(key).exec_async(&mut wire().await).await.expect("redis runs");
        }
    }
}

async fn wire() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(redis_url()).expect("it is a URL");
    client.get_multiplexed_async_connection().await.expect("redis runs")
}

fn name(text: &str) -> Fingerprint {
    Fingerprint::of(&[text])
}

fn grant() -> Grant {
    Grant::new(
        "north \"1\"",
        "fingerprint",
        "system/*.read".to_owned(),
        Instant::from_unix_micros(1_767_607_200_000_001),
    )
}

async fn the_first_use_is_told_so_and_no_other(store: Store) {
    for (what, is_first) in [("a", true), ("a", false), ("b", true), ("a", false)] {
        assert_eq!(store.use_once(name(what), LONG).await.expect("it answers"), is_first, "{what}");
    }
}

async fn of_many_at_the_same_time_one_is_the_first(store: Store) {
    let uses = join_all((0..50).map(|_| store.use_once(name("a"), LONG))).await;
    let first = uses.into_iter().filter(|first| *first.as_ref().expect("it answers")).count();
    assert_eq!(first, 1);
}

async fn a_use_is_forgotten_after_its_life(store: Store) {
    assert!(store.use_once(name("a"), SHORT).await.expect("it answers"));
    sleep(SHORT * 2).await;
    assert!(store.use_once(name("a"), Duration::ZERO).await.expect("it answers"));
}

async fn a_token_is_remembered_with_what_it_stands_for(store: Store) {
    store.remember(name("t"), &grant(), LONG).await.expect("it answers");
    assert_eq!(store.find(name("t")).await.expect("it answers"), Some(grant()));
}

async fn a_token_is_forgotten_after_its_life(store: Store) {
    store.remember(name("t"), &grant(), SHORT).await.expect("it answers");
    sleep(SHORT * 2).await;
    assert_eq!(store.find(name("t")).await.expect("it answers"), None);
}

async fn a_token_that_was_never_given_stands_for_nothing(store: Store) {
    store.use_once(name("t"), LONG).await.expect("it answers");
    assert_eq!(store.find(name("t")).await.expect("it answers"), None);
}

#[tokio::test]
async fn all_that_is_kept_expires_and_tells_no_token() {
    let redis = Redis::new().await;
    let store = RedisTokens::new(redis.link.clone());
    store.use_once(name("secret"), LONG).await.expect("redis runs");
    store.remember(name("secret"), &grant(), LONG).await.expect("redis runs");
    let keys = redis.keys().await;
    assert_eq!(keys.len(), 2);
    for key in keys {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut wire().await).await.expect("redis runs");
        assert!(left > 0 && left <= 300_000 && !key.contains("secret"), "{key}: {left}");
    }
    redis.wipe().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_corrupt_and_is_not_quoted() {
    let redis = Redis::new().await;
    let store = RedisTokens::new(redis.link.clone());
    store.remember(name("t"), &grant(), LONG).await.expect("redis runs");
    let [key] = &redis.keys().await[..] else { panic!("there is one") };
    redis::cmd("SET").arg(key).arg("{\"secret\":1}").exec_async(&mut wire().await).await.expect("redis runs");
    let fault = store.find(name("t")).await.expect_err("it cannot be read");
    assert_eq!(fault.kind(), FaultKind::Corrupt);
    assert!(!fault.to_string().contains("secret"), "{fault}");
    redis.wipe().await;
}
