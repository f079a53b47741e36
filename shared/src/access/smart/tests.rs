//! Every check of standards §2.2 and §2.3, violated one at a time.

use base64_simd::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::access::key_cache::{KeySource, Published};
use crate::access::key_pair::{KeyKind, PrivateKey};
use crate::access::key_set::KeySet;
use crate::access::tokens::memory::MemoryTokens;
use crate::clock::ManualClock;
use crate::fhir::Instant;

const ENDPOINT: &str = "https://export.example.org/fhir/auth/token";
const JWKS_URI: &str = "https://north.example.org/jwks.json";
/// 2026-01-05T10:00:00Z, in seconds.
const NOW: i64 = 1_767_607_200;

/// Publishes one key set, at one URL.
struct OneSet(Value);

#[async_trait]
impl KeySource for OneSet {
    async fn fetch(&self, url: &Url) -> Result<Published, Fault> {
        assert_eq!(url.as_str(), JWKS_URI, "keys are fetched from where the client has registered them");
        let keys = KeySet::read(&self.0).map_err(|why| Fault::new(FaultKind::Invalid, "no set").because(why))?;
        Ok(Published { keys: Arc::new(keys), life: None })
    }
}

/// A server that knows one client, `north`, and the client's keys.
struct Fixture {
    smart: Smart,
    clock: ManualClock,
    pem: String,
    key: PrivateKey,
}

impl Fixture {
    /// The client has this kind of key, and registers what `register` makes of the public set.
    fn with(kind: KeyKind, register: impl FnOnce(&Value) -> Value) -> Self {
        let (pem, key) = PrivateKey::generate(kind).expect("the system gives random numbers");
        let registered = register(&key.public_set());
        let clock = ManualClock::at(Instant::from_unix_millis(NOW * 1_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let clients = json!({"clients": [registered]});
        let clients = Clients::read(&clients.to_string()).expect("the test writes a register");
        let cache = KeyCache::new(Arc::new(OneSet(key.public_set())), Arc::clone(&shared));
        let tokens = Arc::new(MemoryTokens::new(Arc::clone(&shared)));
        let smart = Smart::new(Watched::fixed(clients), cache, tokens, shared, vec![ENDPOINT.to_owned()]);
        Self { smart, clock, pem, key }
    }

    fn given(kind: KeyKind) -> Self {
        Self::with(kind, |keys| north(&json!({"jwks": keys})))
    }

    fn header(&self) -> Value {
        json!({"alg": self.key.kind().name(), "typ": "JWT", "kid": self.key.id()})
    }

    /// Signs these claims under this header with the client's own key, whatever the header says.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_by(&self.pem, header, claims)
    }

    fn sign_by(&self, pem: &str, header: &Value, claims: &Value) -> String {
        let (key, algorithm) = match self.key.kind() {
            KeyKind::Es384 => (EncodingKey::from_ec_pem(pem.as_bytes()), jsonwebtoken::Algorithm::ES384),
            KeyKind::Rs384 => (EncodingKey::from_rsa_pem(pem.as_bytes()), jsonwebtoken::Algorithm::RS384),
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key.expect("it is a key"), algorithm).expect("it signs");
        format!("{signed}.{signature}")
    }

    async fn grant(&self, assertion: &str) -> Result<IssuedToken, NotIssued> {
        self.smart.issue(&form(assertion)).await
    }

    /// The error of a refused assertion, which must be `invalid_client` and name this.
    async fn refuses(&self, assertion: &str, part: &str) {
        match self.grant(assertion).await {
            Err(NotIssued::Refused { error: TokenError::InvalidClient, problem, .. }) => {
                assert!(problem.contains(part), "{part}: {problem}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
}

fn north(keys: &Value) -> Value {
    let mut client = json!({"client_id": "north", "scope": "system/*.read", "lists": "all"});
    client.as_object_mut().expect("it is one").extend(keys.as_object().expect("it is one").clone());
    client
}

fn claims() -> Value {
    json!({"iss": "north", "sub": "north", "aud": ENDPOINT, "exp": NOW + 300, "jti": "one"})
}

fn with(mut value: Value, field: &str, new: Value) -> Value {
    value[field] = new;
    value
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().expect("it is an object").remove(field).expect("it is there");
    value
}

fn form(assertion: &str) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("grant_type", "client_credentials"),
        pair("client_assertion_type", ASSERTION_TYPE),
        pair("client_assertion", assertion),
        pair("scope", "system/*.read"),
    ]
}

fn authorization(granted: &IssuedToken) -> String {
    format!("Bearer {}", granted.access_token)
}

#[tokio::test]
async fn a_client_gets_a_token_by_either_kind_of_key_given_or_published_and_is_known_by_it() {
    for kind in [KeyKind::Es384, KeyKind::Rs384] {
        for published in [false, true] {
            let fixture = Fixture::with(kind, |keys| {
                north(&if published { json!({"jwks_uri": JWKS_URI}) } else { json!({"jwks": keys}) })
            });
            let granted = fixture.grant(&fixture.sign(&fixture.header(), &claims())).await.expect("all is right");
            assert_eq!((granted.expires_in, granted.scope.as_str()), (300, "system/*.read"));
            let caller = fixture.smart.caller(Some(&authorization(&granted))).await.expect("it is known");
            assert_eq!(caller.client, ClientId("north".to_owned()));
            assert!(caller.lists.are_all() && caller.scopes == Scopes::known_in("system/*.read"));
        }
    }
}

#[tokio::test]
async fn each_claim_has_to_be_there_and_right() {
    let fixture = Fixture::given(KeyKind::Es384);
    for (claims, part) in [
        (without(claims(), "iss"), "iss"),
        (with(claims(), "iss", json!("south")), "no client is registered"),
        (with(claims(), "iss", json!("")), "iss"),
        (without(claims(), "sub"), "sub"),
        (with(claims(), "sub", json!("south")), "iss and sub"),
        (without(claims(), "aud"), "aud"),
        (with(claims(), "aud", json!("https://export.example.org/fhir")), "aud"),
        (with(claims(), "aud", json!("http://export.example.org/fhir/auth/token")), "aud"),
        (with(claims(), "aud", json!(format!("{ENDPOINT}/"))), "aud"),
        (without(claims(), "exp"), "exp"),
        (with(claims(), "exp", json!((NOW + 300).to_string())), "exp"),
        (with(claims(), "exp", json!(NOW)), "expired"),
        (with(claims(), "exp", json!(NOW - 1)), "expired"),
        (with(claims(), "exp", json!(NOW + 331)), "more than 300 seconds"),
        (with(claims(), "exp", json!(NOW + 3_600)), "more than 300 seconds"),
        (with(claims(), "nbf", json!(NOW + 31)), "nbf"),
        (without(claims(), "jti"), "jti"),
        (with(claims(), "jti", json!("")), "jti"),
        (with(claims(), "jti", json!("j".repeat(256))), "jti"),
    ] {
        fixture.refuses(&fixture.sign(&fixture.header(), &claims), part).await;
    }
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute_and_more_audiences_and_claims_do_no_harm() {
    let fixture = Fixture::given(KeyKind::Es384);
    for (number, claims) in [
        with(claims(), "exp", json!(NOW + 330)),
        with(claims(), "exp", json!(NOW + 1)),
        with(claims(), "nbf", json!(NOW + 30)),
        with(claims(), "aud", json!(["https://elsewhere.example.org", ENDPOINT])),
        with(claims(), "colour", json!("red")),
        with(claims(), "iat", json!(NOW)),
    ]
    .into_iter()
    .enumerate()
    {
        let claims = with(claims, "jti", json!(number.to_string()));
        assert!(fixture.grant(&fixture.sign(&fixture.header(), &claims)).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn each_field_of_the_header_has_to_be_right() {
    let fixture = Fixture::given(KeyKind::Es384);
    let header = || fixture.header();
    for (header, part) in [
        (without(header(), "typ"), "typ JWT"),
        (with(header(), "typ", json!("at+jwt")), "typ JWT"),
        (without(header(), "kid"), "kid"),
        (with(header(), "kid", json!("")), "kid"),
        (with(header(), "kid", json!("another")), "none of the registered keys"),
        (with(header(), "jku", json!("https://elsewhere.example.org/jwks")), "jku"),
        (with(header(), "crit", json!(["exp"])), "crit"),
        (with(header(), "alg", json!("none")), "alg"),
        (with(header(), "alg", json!("ES256")), "alg"),
        // The key of another type is not used for what its algorithm says.
        (with(header(), "alg", json!("RS384")), "none of the registered keys"),
    ] {
        fixture.refuses(&fixture.sign(&header, &claims()), part).await;
    }
}

#[tokio::test]
async fn a_signature_by_another_key_or_for_another_text_is_refused() {
    for kind in [KeyKind::Es384, KeyKind::Rs384] {
        let fixture = Fixture::given(kind);
        let (other, _) = PrivateKey::generate(kind).expect("the system gives random numbers");
        fixture.refuses(&fixture.sign_by(&other, &fixture.header(), &claims()), "signature").await;

        let good = fixture.sign(&fixture.header(), &claims());
        let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("it has three parts") };
        let tampered = URL_SAFE_NO_PAD.encode_to_string(with(claims(), "exp", json!(NOW + 301)).to_string());
        fixture.refuses(&format!("{header}.{tampered}.{signature}"), "signature").await;
        fixture.refuses(&format!("{good}AAAA"), "signature").await;
        fixture.refuses(good.trim_end_matches(|at| at != '.'), "signature").await;
        assert!(fixture.grant(&good).await.is_ok(), "none of these has used it up");
    }
}

#[tokio::test]
async fn an_unsigned_token_and_one_signed_with_the_public_key_as_a_secret_are_refused() {
    let fixture = Fixture::given(KeyKind::Rs384);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
    let unsigned = with(fixture.header(), "alg", json!("none"));
    fixture.refuses(&format!("{}.{}.", part(&unsigned), part(&claims())), "alg").await;

    let set = fixture.key.public_set();
    for secret in [set.to_string(), set["keys"][0].to_string(), set["keys"][0]["n"].to_string()] {
        for algorithm in [jsonwebtoken::Algorithm::HS256, jsonwebtoken::Algorithm::HS384] {
            let header = Header { kid: Some(fixture.key.id().to_owned()), ..Header::new(algorithm) };
            let token = encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes())).expect("it signs");
            fixture.refuses(&token, "alg").await;
        }
    }
}

#[tokio::test]
async fn two_keys_of_one_kid_are_no_choice() {
    let fixture = Fixture::with(KeyKind::Es384, |keys| {
        let key = &keys["keys"][0];
        north(&json!({"jwks": {"keys": [key, key]}}))
    });
    fixture.refuses(&fixture.sign(&fixture.header(), &claims()), "several of the registered keys").await;
}

#[tokio::test]
async fn a_key_of_another_curve_does_not_fit() {
    let fixture = Fixture::with(KeyKind::Es384, |keys| {
        let key = with(keys["keys"][0].clone(), "crv", json!("P-256"));
        north(&json!({"jwks": {"keys": [without(key, "alg")]}}))
    });
    fixture.refuses(&fixture.sign(&fixture.header(), &claims()), "none of the registered keys").await;
}

#[tokio::test]
async fn jku_may_repeat_what_is_registered_and_nothing_else() {
    let fixture = Fixture::with(KeyKind::Es384, |_| north(&json!({"jwks_uri": JWKS_URI})));
    let elsewhere = with(fixture.header(), "jku", json!("https://evil.example.org/jwks.json"));
    fixture.refuses(&fixture.sign(&elsewhere, &claims()), "jku").await;
    let here = with(fixture.header(), "jku", json!(JWKS_URI));
    assert!(fixture.grant(&fixture.sign(&here, &claims())).await.is_ok());

    let given = Fixture::given(KeyKind::Es384);
    let header = with(given.header(), "jku", json!(JWKS_URI));
    given.refuses(&given.sign(&header, &claims()), "jku").await;
}

#[tokio::test]
async fn an_assertion_is_good_for_one_use_as_long_as_it_lives() {
    let fixture = Fixture::given(KeyKind::Es384);
    let assertion = fixture.sign(&fixture.header(), &claims());
    assert!(fixture.grant(&assertion).await.is_ok());
    fixture.refuses(&assertion, "used before").await;
    // Another assertion with the same jti is the same.
    let again = fixture.sign(&fixture.header(), &with(claims(), "exp", json!(NOW + 200)));
    fixture.refuses(&again, "used before").await;
    fixture.clock.advance(Duration::from_secs(299));
    fixture.refuses(&assertion, "used before").await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.refuses(&assertion, "expired").await;
}

#[tokio::test]
async fn the_form_has_to_be_a_request_for_client_credentials() {
    let fixture = Fixture::given(KeyKind::Es384);
    let good = form(&fixture.sign(&fixture.header(), &claims()));
    let changed = |name: &str, value: Option<&str>| {
        let mut form = good.clone();
        form.retain(|(given, _)| given != name);
        form.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        form
    };
    let mut twice = good.clone();
    twice.push(good[3].clone());
    for (form, error, part) in [
        (changed("grant_type", None), TokenError::InvalidRequest, "grant_type"),
        (changed("grant_type", Some("password")), TokenError::UnsupportedGrantType, "grant_type"),
        (changed("client_assertion_type", None), TokenError::InvalidClient, "client_assertion_type"),
        (changed("client_assertion_type", Some("saml")), TokenError::InvalidClient, "client_assertion_type"),
        (changed("client_assertion", None), TokenError::InvalidClient, "client_assertion"),
        (changed("client_assertion", Some("")), TokenError::InvalidClient, "client_assertion"),
        (changed("client_assertion", Some("nonsense")), TokenError::InvalidClient, "client_assertion"),
        (changed("client_id", Some("south")), TokenError::InvalidClient, "client_id"),
        (changed("scope", None), TokenError::InvalidScope, "scope"),
        (twice, TokenError::InvalidRequest, "scope is given more than once"),
        (Vec::new(), TokenError::InvalidRequest, "grant_type"),
    ] {
        match fixture.smart.issue(&form).await {
            Err(NotIssued::Refused { error: given, problem, .. }) => {
                assert_eq!(given, error, "{part}: {problem}");
                assert!(problem.contains(part), "{part}: {problem}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    assert!(fixture.smart.issue(&changed("client_id", Some("north"))).await.is_ok());
}

#[tokio::test]
async fn scopes_are_granted_as_far_as_they_are_registered_or_refused() {
    let fixture = Fixture::with(KeyKind::Es384, |keys| {
        with(north(&json!({"jwks": keys})), "scope", json!("system/Group.read system/Patient.read"))
    });
    let ask = async |number: u32, scope: &str| {
        let claims = with(claims(), "jti", json!(number.to_string()));
        let mut form = form(&fixture.sign(&fixture.header(), &claims));
        form[3].1 = scope.to_owned();
        fixture.smart.issue(&form).await
    };
    let granted = ask(1, "system/*.read").await.expect("some of it is granted");
    assert_eq!(granted.scope, "system/Group.read system/Patient.read");
    let refused = ask(2, "system/Coverage.read launch").await;
    match refused {
        Err(NotIssued::Refused { error: TokenError::InvalidScope, problem, claimed }) => {
            assert!(problem.contains("system/Group.read"), "{problem}");
            assert_eq!(claimed, Some(ClientId("north".to_owned())));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_dies_after_five_minutes_and_what_was_never_given_is_refused() {
    let fixture = Fixture::given(KeyKind::Es384);
    let granted = fixture.grant(&fixture.sign(&fixture.header(), &claims())).await.expect("all is right");
    let header = authorization(&granted);
    fixture.clock.advance(Duration::from_millis(299_999));
    assert!(fixture.smart.caller(Some(&header)).await.is_ok());
    fixture.clock.advance(Duration::from_millis(1));
    for header in [header.as_str(), "Bearer made-up", "Bearer a b"] {
        assert!(matches!(fixture.smart.caller(Some(header)).await, Err(Refusal::TokenInvalid(_))), "{header}");
    }
    assert!(matches!(fixture.smart.caller(None).await, Err(Refusal::TokenMissing)));
}
