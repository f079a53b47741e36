//! Access by tokens of other issuers, over real HTTP and with keys fetched over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use shared::access::key_pair::KeyKind;
use shared::clock::{Clock, SystemClock};
use shared::settings::{Access, Settings};

use super::small_list;
use crate::harness::clients::{Client, RegisterFile};
use crate::harness::key_server::KeyServer;
use crate::harness::system::{PUBLIC_BASE, System, issue, with_settings};
use crate::oracle::{by_key, reached};

const ISSUER: &str = "https://login.example.org";

/// An authorization server of somebody else: it signs what it is told to.
struct Issuer {
    signer: Client,
    keys: KeyServer,
}

impl Issuer {
    fn new() -> Self {
        let signer = Client::new(ISSUER, KeyKind::Rs384);
        let keys = KeyServer::start(&signer.key.public_set());
        Self { signer, keys }
    }

    /// A token of a client with this scope.
    fn token(&self, client: &str, scope: &str) -> String {
        let expires = (SystemClock.now() + Duration::from_hours(1)).unix_millis() / 1_000;
        self.sign(&json!({
            "iss": ISSUER, "aud": PUBLIC_BASE, "exp": expires, "client_id": client, "sub": client, "scope": scope,
        }))
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.key.sign_claims(claims).expect("the key signs")
    }

    fn register(&self) -> RegisterFile {
        let register = RegisterFile::of(&[]);
        let client = |id: &str, scope: &str| json!({"client_id": id, "issuer": ISSUER, "scope": scope, "lists": "all"});
        register.write(&json!({
            "issuers": [{"issuer": ISSUER, "jwks_uri": self.keys.url}],
            "clients": [client("north", "system/*.read"), client("south", "system/Group.read")],
        }));
        register
    }

    fn settings(&self, register: &RegisterFile, settings: &mut Settings) {
        settings.access = Some(Access::External);
        settings.clients_file = register.path();
        self.keys.trusted_by(settings);
        settings.token_url = format!("{ISSUER}/token");
    }
}

/// Runs a story on a system that believes this issuer.
async fn with_issuer<F>(issuer: &Issuer, story: impl FnOnce(Arc<System>) -> F)
where
    F: Future<Output = ()>,
{
    let register = issuer.register();
    with_settings(&small_list(), |settings| issuer.settings(&register, settings), story).await;
}

#[tokio::test]
async fn an_export_runs_with_the_token_of_another_issuer() {
    let issuer = &Issuer::new();
    with_issuer(issuer, |system| async move {
        let configuration: Value =
            system.get("/.well-known/smart-configuration").await.json().await.expect("it is JSON");
        assert_eq!(configuration["token_endpoint"], format!("{ISSUER}/token"));
        system.act_with(Some(&issuer.token("north", "system/*.rs")));
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.reached.lines, reached(&by_key(small_list()), "g", &[]).lines);
        assert_eq!(issuer.keys.fetches(), 1, "the keys are kept");

        // South's token says more than south's entry, and the export of north is not south's.
        system.act_with(Some(&issuer.token("south", "system/*.read")));
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.keys(), ["Group/g"]);
        let polling = system.kick_off("/Group/g/$export").await;
        system.act_with(Some(&issuer.token("north", "system/*.read")));
        assert_eq!(system.get(&polling).await.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn tokens_that_are_not_believed_are_401_and_clients_that_are_not_registered_403() {
    let issuer = &Issuer::new();
    with_issuer(issuer, |system| async move {
        let good = issuer.token("north", "system/*.read");
        let now = SystemClock.now().unix_millis() / 1_000;
        let claims = |field: &str, value: Value| {
            let mut claims = json!({
                "iss": ISSUER, "aud": PUBLIC_BASE, "exp": now + 600, "client_id": "north", "scope": "system/*.read",
            });
            claims[field] = value;
            issuer.sign(&claims)
        };
        let impostor = Client::new(ISSUER, KeyKind::Rs384);
        let forged = impostor.key.sign_claims(&json!({
            "iss": ISSUER, "aud": PUBLIC_BASE, "exp": now + 600, "client_id": "north", "scope": "system/*.read",
        }));
        for token in [
            forged.expect("the key signs"),
            claims("iss", json!("https://evil.example.org")),
            claims("aud", json!("https://elsewhere.example.org")),
            claims("exp", json!(now - 1)),
            good.replace('.', "_"),
            format!("{good}x"),
        ] {
            system.act_with(Some(&token));
            let response = system.get("/Group/g").await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("it is text");
            assert!(challenge.contains("invalid_token"), "{challenge}");
        }
        system.act_with(Some(&issuer.token("stranger", "system/*.read")));
        let response = system.get("/Group/g").await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(issue(response).await.0, "forbidden");
        // Nobody gets a token here.
        system.act_with(None);
        let response = system.post("/auth/token", &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_has_rotated_its_key_is_believed() {
    let issuer = &Issuer::new();
    with_issuer(issuer, |system| async move {
        system.act_with(Some(&issuer.token("north", "system/*.read")));
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
        let rotated = Issuer { signer: Client::new(ISSUER, KeyKind::Es384), keys: KeyServer::start(&json!({})) };
        system.act_with(Some(&rotated.token("north", "system/*.read")));
        issuer.keys.publish(&rotated.signer.key.public_set());
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_is_away_is_a_transient_error() {
    let issuer = &Issuer::new();
    with_issuer(issuer, |system| async move {
        issuer.keys.answer(503, "");
        system.act_with(Some(&issuer.token("north", "system/*.read")));
        let response = system.get("/Group/g").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(issue(response).await.0, "transient");
        issuer.keys.publish(&issuer.signer.key.public_set());
        system.becomes("/Group/g", StatusCode::OK).await;
    })
    .await;
}
