use std::net::TcpListener;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use url::Url;

use super::*;
use crate::token_client::Endpoint;
use crate::token_client::test_endpoint::{LIFE_SECONDS, TestEndpoint};

/// For something that happens within moments on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn kept_by(client: TokenClient, endpoint: &TestEndpoint) -> KeptToken {
    KeptToken::new(client, Arc::new(endpoint.clock.clone()))
}

fn kept(endpoint: &TestEndpoint) -> KeptToken {
    kept_by(endpoint.client(), endpoint)
}

/// The header that is sent now.
async fn sent(tokens: &KeptToken) -> String {
    let token = tokens.now().await.unwrap_or_else(|fault| panic!("{fault}"));
    token.authorization.to_str().expect("it is ASCII").to_owned()
}

async fn fault(tokens: &KeptToken) -> Fault {
    tokens.now().await.err().expect("there is no token")
}

async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it is seen");
}

fn advance(endpoint: &TestEndpoint, seconds: u64) {
    endpoint.clock.advance(Duration::from_secs(seconds));
}

#[tokio::test]
async fn those_who_come_at_once_wait_for_one_token() {
    let endpoint = TestEndpoint::start();
    let tokens = kept(&endpoint);
    let all = join_all((0..20).map(|_| sent(&tokens))).await;
    assert!(all.iter().all(|sent| sent == "Bearer token-1"), "{all:?}");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_a_minute_before_its_end_and_nobody_waits_for_that() {
    let endpoint = TestEndpoint::start();
    let tokens = kept(&endpoint);
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    advance(&endpoint, LIFE_SECONDS - 61);
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
    advance(&endpoint, 1);
    assert_eq!(sent(&tokens).await, "Bearer token-1", "it is still good");
    eventually(async || sent(&tokens).await == "Bearer token-2").await;
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn a_token_that_lives_short_is_renewed_at_three_quarters_of_its_life() {
    for (life, renewed_at, ends_at) in [(60, 45, 52), (4, 3, 3)] {
        let endpoint = TestEndpoint::start();
        endpoint.has_trouble(200, &format!(r#"{{"access_token":"brief","expires_in":{life}}}"#));
        let tokens = kept(&endpoint);
        let token = tokens.now().await.unwrap_or_else(|fault| panic!("{fault}"));
        let begun = endpoint.clock.now();
        assert_eq!(token.renew_at.since(begun).as_secs(), renewed_at, "{life}");
        assert_eq!(token.good_until.since(begun).as_secs(), ends_at, "{life}");
    }
}

#[tokio::test]
async fn a_failed_renewal_leaves_the_token_in_use_until_just_before_its_end() {
    let endpoint = TestEndpoint::start();
    let tokens = kept(&endpoint);
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    endpoint.has_trouble(503, "");
    advance(&endpoint, LIFE_SECONDS - 60);
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    eventually(async || endpoint.asked() == 2).await;
    advance(&endpoint, 49);
    assert_eq!(sent(&tokens).await, "Bearer token-1", "it is good for eleven seconds more");
    advance(&endpoint, 1);
    assert_eq!(fault(&tokens).await.kind(), FaultKind::Unavailable);
    endpoint.is_well();
    advance(&endpoint, AFTER_FAILURE.as_secs());
    assert!(sent(&tokens).await.starts_with("Bearer token-"));
}

#[tokio::test]
async fn after_a_failure_nobody_asks_again_at_once() {
    let endpoint = TestEndpoint::start();
    endpoint.has_trouble(503, "");
    let tokens = kept(&endpoint);
    for _ in 0..10 {
        assert_eq!(fault(&tokens).await.kind(), FaultKind::Unavailable);
    }
    assert_eq!(endpoint.asked(), 1);
    endpoint.is_well();
    advance(&endpoint, AFTER_FAILURE.as_secs());
    assert_eq!(sent(&tokens).await, "Bearer token-2");
}

#[tokio::test]
async fn a_refused_token_is_given_up_once_for_all_and_the_next_is_not_given_up_at_once() {
    let endpoint = TestEndpoint::start();
    let tokens = kept(&endpoint);
    let first = tokens.now().await.unwrap_or_else(|fault| panic!("{fault}")).number;
    assert!(tokens.refused(first));
    let second = tokens.now().await.unwrap_or_else(|fault| panic!("{fault}")).number;
    assert!(tokens.refused(first), "somebody who comes later is to try with the new one");
    assert_eq!(sent(&tokens).await, "Bearer token-2");
    assert!(!tokens.refused(second), "the server seems to take none");
    assert_eq!((sent(&tokens).await.as_str(), endpoint.asked()), ("Bearer token-2", 2));
    endpoint.clock.advance(BETWEEN_REFUSALS);
    assert!(tokens.refused(second));
    assert_eq!(sent(&tokens).await, "Bearer token-3");
}

#[tokio::test]
async fn who_leaves_does_not_break_off_what_others_wait_for() {
    let endpoint = TestEndpoint::start();
    let tokens = kept(&endpoint);
    assert!(tokens.now().now_or_never().is_none(), "it takes a while");
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn a_refusal_is_said_without_a_secret() {
    let endpoint = TestEndpoint::start();
    endpoint.has_trouble(401, r#"{"error":"invalid_client","error_description":"who signed '{}'?"}"#);
    let fault = fault(&kept(&endpoint)).await;
    assert_eq!(fault.kind(), FaultKind::Invalid);
    let said = fault.to_string();
    assert!(said.ends_with("/fhir/token: it answers 401 Unauthorized invalid_client: who signed '…'?"), "{said}");
    let pem = std::fs::read_to_string(&endpoint.key_file).expect("it is there");
    assert!(pem.lines().all(|line| !said.contains(line)), "{said}");
}

#[tokio::test]
async fn what_an_operator_must_mend_is_invalid_and_named() {
    let endpoint = TestEndpoint::start();
    let with = |change: &dyn Fn(&mut TokenClient)| {
        let mut client = endpoint.client();
        change(&mut client);
        kept_by(client, &endpoint)
    };
    let no_key = endpoint.write("no-key.pem", "s3cret");
    let nowhere = Url::parse(&format!("{}/nowhere", endpoint.base)).expect("it is a URL");
    for (tokens, part) in [
        (with(&|client| client.client_id = "somebody".to_owned()), "invalid_client"),
        (with(&|client| client.key_file = "/nowhere.pem".into()), "/nowhere.pem"),
        (with(&|client| client.key_file.clone_from(&no_key)), "no-key.pem: it is no private key"),
        (with(&|client| client.endpoint = Endpoint::SaidBy(nowhere.clone())), "the base of a server that asks"),
        (with(&|client| client.endpoint = Endpoint::At(nowhere.clone())), "404"),
    ] {
        let fault = fault(&tokens).await;
        let said = fault.to_string();
        assert_eq!(fault.kind(), FaultKind::Invalid, "{said}");
        assert!(said.contains(part) && !said.contains("s3cret"), "{said}");
    }
    endpoint.sends_to("http://a.example.org/token");
    let exposed = fault(&kept(&endpoint)).await;
    assert!(exposed.kind() == FaultKind::Invalid && exposed.to_string().contains("in the clear"), "{exposed}");
}

#[tokio::test]
async fn an_endpoint_that_is_silent_is_not_waited_for_for_ever() {
    let endpoint = TestEndpoint::start();
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
    let url = format!("http://{}/token", silent.local_addr().expect("it is bound"));
    let url = Url::parse(&url).expect("it is a URL");
    let within = Duration::from_millis(20);
    let tokens = kept_by(TokenClient { endpoint: Endpoint::At(url), within, ..endpoint.client() }, &endpoint);
    assert_eq!(fault(&tokens).await.kind(), FaultKind::Unavailable);
}
