//! A client that kicks off as fast as it can, and never polls.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::json;
use shared::access::key_pair::KeyKind;
use shared::settings::Settings;

use crate::harness::clients::{Client, RegisterFile};
use crate::harness::redis_url;
use crate::harness::system::{issue, polling_location, with_settings};
use crate::stories::small_list;

const KICK_OFFS: usize = 10_000;
const AT_ONCE: usize = 32;

/// The names of all keys of a namespace in Redis, of which the part that names the job is left out.
async fn kinds_of_keys(namespace: &str) -> BTreeMap<String, usize> {
    let client = redis::Client::open(redis_url()).expect("it is a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let mut kinds = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{namespace}:*")).arg("COUNT").arg(1_000);
        let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await.expect("Redis answers");
        for key in keys {
            *kinds.entry(key.rsplit_once(':').map_or("", |(_, kind)| kind).to_owned()).or_default() += 1;
        }
        if next == 0 {
            return kinds;
        }
        cursor = next;
    }
}

#[tokio::test]
async fn ten_thousand_kick_offs_of_one_client_are_bounded_and_leave_nothing() {
    let (greedy, other) = (Client::new("greedy", KeyKind::Es384), Client::new("other", KeyKind::Es384));
    let scope = "system/*.read";
    let register = RegisterFile::of(&[greedy.entry(scope, &json!("all")), other.entry(scope, &json!("all"))]);
    let few = |settings: &mut Settings| {
        register.smart(settings);
        settings.jobs_per_client = 20;
    };
    with_settings(&small_list(), few, |system| async move {
        greedy.acts(&system, scope).await;
        // Without workers no job ends, so that what is accepted stays.
        system.stop_workers().await;
        let answers: Vec<_> = stream::iter(0..KICK_OFFS)
            .map(|_| async {
                let response = system.get("/Group/g/$export").await;
                match response.status() {
                    StatusCode::ACCEPTED => Some(polling_location(&response)),
                    status => {
                        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                        let seconds =
                            response.headers()[RETRY_AFTER].to_str().ok().and_then(|text| text.parse::<u32>().ok());
                        assert!(seconds.is_some_and(|seconds| seconds > 0), "Retry-After is a number of seconds");
                        let (code, text) = issue(response).await;
                        assert_eq!(code, "throttled");
                        assert!(text.contains("20"), "it names the limit: {text}");
                        None
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let accepted: Vec<String> = answers.into_iter().flatten().collect();
        // Kick-offs that arrive in the same moment may each find the last place free.
        assert!((20..20 + AT_ONCE).contains(&accepted.len()), "{} jobs", accepted.len());
        let kinds = kinds_of_keys(&system.settings.namespace).await;
        let keys: usize = kinds.values().sum();
        assert!(
            keys <= 3 * accepted.len() + 4,
            "three keys a job, the index, the client and what a token needs: {kinds:?}"
        );

        system.start_worker().await;
        other.acts(&system, scope).await;
        assert_eq!(system.export("/Group/g/$export").await.reached, system.expected("g").await, "others are served");
        greedy.acts(&system, scope).await;
        for polling in &accepted {
            assert_eq!(system.exported(polling).await.reached, system.expected("g").await);
            system.delete(polling).await;
        }
        system.export("/Group/g/$export").await;
    })
    .await;
}
