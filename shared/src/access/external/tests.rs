//! Every check of a token of another issuer, violated one at a time.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use url::Url;

use super::*;
use crate::access::key_cache::{KeySource, Published};
use crate::access::key_pair::{KeyKind, PrivateKey};
use crate::access::key_set::KeySet;
use crate::clock::ManualClock;
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;

const BASE: &str = "https://export.example.org/fhir";
const ISSUER: &str = "https://login.example.org";
/// 2026-01-05T10:00:00Z, in seconds.
const NOW: i64 = 1_767_607_200;

/// Publishes the keys of the two issuers of the tests.
struct Sets([(&'static str, Value); 2]);

#[async_trait]
impl KeySource for Sets {
    async fn fetch(&self, url: &Url) -> Result<Published, Fault> {
        let found = self.0.iter().find(|(at, _)| *at == url.as_str());
        let (_, keys) = found.ok_or_else(|| Fault::new(FaultKind::Unavailable, "nobody answers there"))?;
        Ok(Published { keys: Arc::new(KeySet::read(keys).expect("it is a set")), life: None })
    }
}

struct Fixture {
    external: External,
    pem: String,
    kid: String,
    other_pem: String,
    other_kid: String,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let make = || PrivateKey::generate(KeyKind::Es384).expect("the system gives random numbers");
        let ((pem, key), (other_pem, other)) = (make(), make());
        let register = json!({
            "issuers": [
                {"issuer": ISSUER, "jwks_uri": "https://login.example.org/jwks"},
                {
                    "issuer": "https://other.example.org",
                    "jwks_uri": "https://other.example.org/jwks",
                    "audience": ["atr"],
                    "client_claim": "azp",
                },
                {"issuer": "https://gone.example.org", "jwks_uri": "https://gone.example.org/jwks"},
            ],
            "clients": [
                {"client_id": "north", "issuer": ISSUER, "scope": "system/*.read", "lists": "all"},
                {
                    "client_id": "south",
                    "issuer": "https://other.example.org",
                    "scope": "system/Group.read",
                    "lists": {"ids": ["g"]},
                },
            ],
        });
        let clock = ManualClock::at(Instant::from_unix_millis(NOW * 1_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let sets = Sets([
            ("https://login.example.org/jwks", key.public_set()),
            ("https://other.example.org/jwks", other.public_set()),
        ]);
        let clients = Clients::read(&register.to_string()).expect("the test writes a register");
        let keys = KeyCache::new(Arc::new(sets), Arc::clone(&shared));
        let external = External::new(Watched::fixed(clients), keys, shared, BASE.to_owned());
        let (kid, other_kid) = (key.id().to_owned(), other.id().to_owned());
        Self { external, pem, kid, other_pem, other_kid, clock }
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES384) }
    }

    fn sign(&self, claims: &Value) -> String {
        sign(&self.pem, &self.header(), claims)
    }

    async fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        self.external.caller(Some(&format!("Bearer {token}"))).await
    }

    async fn refuses(&self, token: &str, part: &str) {
        match self.caller(token).await {
            Err(Refusal::TokenInvalid(problem)) => assert!(problem.contains(part), "{part}: {problem}"),
            other => panic!("{part}: {other:?}"),
        }
    }
}

fn sign(pem: &str, header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_ec_pem(pem.as_bytes()).expect("it is a key")).expect("it signs")
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": BASE, "exp": NOW + 3_600, "client_id": "north", "scope": "system/*.read openid"})
}

fn with(field: &str, new: Value) -> Value {
    let mut claims = claims();
    claims[field] = new;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("it is an object").remove(field).expect("it is there");
    claims
}

#[tokio::test]
async fn a_caller_is_who_the_issuer_says_with_what_token_and_register_both_allow() {
    let fixture = Fixture::new();
    let caller = fixture.caller(&fixture.sign(&claims())).await.expect("all is right");
    assert_eq!(caller.client, ClientId("https://login.example.org north".to_owned()));
    assert_eq!((caller.scopes.to_string().as_str(), caller.lists.are_all()), ("system/*.read", true));

    let header = Header { kid: Some(fixture.other_kid.clone()), ..Header::new(Algorithm::ES384) };
    let other = json!({
        "iss": "https://other.example.org", "aud": ["x", "atr"], "exp": NOW + 60, "azp": "south",
        "scp": ["system/*.read"],
    });
    let caller = fixture.caller(&sign(&fixture.other_pem, &header, &other)).await.expect("all is right");
    assert_eq!((caller.scopes.to_string().as_str(), caller.lists.are_all()), ("system/Group.read", false));
}

#[tokio::test]
async fn each_claim_has_to_be_there_and_right() {
    let fixture = Fixture::new();
    for (claims, part) in [
        (without("iss"), "iss"),
        (with("iss", json!("https://evil.example.org")), "issuer that is not known"),
        (with("iss", json!("https://login.example.org/")), "issuer that is not known"),
        (without("aud"), "aud"),
        (with("aud", json!("https://elsewhere.example.org/fhir")), "aud"),
        (without("exp"), "exp"),
        (with("exp", json!(NOW)), "expired"),
        (with("nbf", json!(NOW + 31)), "nbf"),
        (without("client_id"), "client_id"),
        (with("client_id", json!(7)), "client_id"),
        (with("client_id", json!("")), "client_id"),
    ] {
        fixture.refuses(&fixture.sign(&claims), part).await;
    }
}

#[tokio::test]
async fn who_is_not_registered_is_told_so_and_no_token_is_not_a_bad_one() {
    let fixture = Fixture::new();
    for id in ["south", "stranger"] {
        let refusal = fixture.caller(&fixture.sign(&with("client_id", json!(id)))).await;
        assert!(matches!(refusal, Err(Refusal::Unregistered(_))), "{refusal:?}");
    }
    assert!(matches!(fixture.external.caller(None).await, Err(Refusal::TokenMissing)));
}

#[tokio::test]
async fn a_token_dies_at_exp() {
    let fixture = Fixture::new();
    let token = fixture.sign(&claims());
    fixture.clock.advance(Duration::from_millis(3_599_999));
    assert!(fixture.caller(&token).await.is_ok());
    fixture.clock.advance(Duration::from_millis(1));
    fixture.refuses(&token, "expired").await;
}

#[tokio::test]
async fn the_key_of_one_issuer_does_not_speak_for_another() {
    let fixture = Fixture::new();
    let header = Header { kid: Some(fixture.other_kid.clone()), ..Header::new(Algorithm::ES384) };
    fixture.refuses(&sign(&fixture.other_pem, &header, &claims()), "none of the registered keys").await;
    fixture.refuses(&sign(&fixture.other_pem, &fixture.header(), &claims()), "signature").await;
}

#[tokio::test]
async fn a_token_without_a_kid_is_checked_by_the_only_key_that_fits() {
    let fixture = Fixture::new();
    assert!(fixture.caller(&sign(&fixture.pem, &Header::new(Algorithm::ES384), &claims())).await.is_ok());
}

#[tokio::test]
async fn tampered_unsigned_and_symmetric_tokens_are_refused() {
    let fixture = Fixture::new();
    let good = fixture.sign(&claims());
    let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("it has three parts") };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
    let tampered = with("scope", json!("system/*.*"));
    fixture.refuses(&format!("{header}.{}.{signature}", part(&tampered)), "signature").await;

    let none = json!({"alg": "none", "typ": "JWT", "kid": fixture.kid});
    fixture.refuses(&format!("{}.{}.", part(&none), part(&claims())), "alg").await;
    let secret = EncodingKey::from_secret(fixture.kid.as_bytes());
    let symmetric = Header { kid: Some(fixture.kid.clone()), ..Header::new(Algorithm::HS256) };
    fixture.refuses(&encode(&symmetric, &claims(), &secret).expect("it signs"), "alg").await;
}

#[tokio::test]
async fn an_issuer_whose_keys_cannot_be_had_is_a_fault_and_no_refusal() {
    let fixture = Fixture::new();
    let token = fixture.sign(&with("iss", json!("https://gone.example.org")));
    match fixture.caller(&token).await {
        Err(Refusal::Fault(fault)) => assert!(fault.is_transient(), "{fault}"),
        other => panic!("{other:?}"),
    }
}
