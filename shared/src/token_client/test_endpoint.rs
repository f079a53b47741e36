//! A token endpoint for tests: it issues `token-1`, `token-2` and so on to its one client, and may have trouble doing so.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::{Endpoint, TokenClient};
use crate::access::assertion;
use crate::access::key_pair::{KeyKind, PrivateKey};
use crate::access::key_set::KeySet;
use crate::clock::{Clock, ManualClock};
use crate::fhir::Instant;

/// The id of its client.
pub const CLIENT_ID: &str = "atr";
/// What its client has to ask for.
pub const SCOPE: &str = "system/*.read";
/// How long its tokens are good for.
pub const LIFE_SECONDS: u64 = 300;

/// The endpoint. It runs as long as the test.
pub struct TestEndpoint {
    /// The base of its server, which says where tokens are got.
    pub base: Url,
    /// The private key of its client.
    pub key_file: PathBuf,
    /// The clock that it goes by.
    pub clock: ManualClock,
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    base: Url,
    keys: KeySet,
    clock: ManualClock,
    asked: AtomicUsize,
    /// Status and body, when it issues no token.
    trouble: Mutex<Option<(u16, String)>>,
    /// What it says of where tokens are got, when that is not here.
    elsewhere: Mutex<Option<String>>,
}

impl TestEndpoint {
    /// Issues tokens.
    pub fn start() -> Self {
        let (pem, key) = PrivateKey::generate(KeyKind::Es384).expect("the system gives random numbers");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let key_file = folder.path().join("client.pem");
        std::fs::write(&key_file, pem).expect("the folder can be written to");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        let base = Url::parse(&format!("http://{address}/fhir")).expect("it is a URL");
        let clock = ManualClock::at(Instant::from_unix_millis(1_767_607_200_000));
        let state = Arc::new(State {
            base: base.clone(),
            keys: KeySet::read(&key.public_set()).expect("it is a set of public keys"),
            clock: clock.clone(),
            asked: AtomicUsize::new(0),
            trouble: Mutex::default(),
            elsewhere: Mutex::default(),
        });
        let data = web::Data::from(Arc::clone(&state));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/fhir/.well-known/smart-configuration", web::get().to(configuration))
                .route("/fhir/token", web::post().to(token))
        });
        let server = server.workers(1).disable_signals().listen(listener).expect("it is bound");
        // It has nothing to finish when the test is over, and the process ends with the test.
        tokio::spawn(server.run());
        Self { base, key_file, clock, folder, state }
    }

    /// Its client, who finds it by its base.
    pub fn client(&self) -> TokenClient {
        TokenClient {
            http: Client::new(),
            endpoint: Endpoint::SaidBy(self.base.clone()),
            client_id: CLIENT_ID.to_owned(),
            key_file: self.key_file.clone(),
            scope: SCOPE.to_owned(),
            within: Duration::from_mins(1),
        }
    }

    /// A file beside the key.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written to");
        path
    }

    /// Answers so from now on, with the assertion that it is sent in place of `{}`.
    pub fn has_trouble(&self, status: u16, body: &str) {
        *self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some((status, body.to_owned()));
    }

    /// Issues tokens again.
    pub fn is_well(&self) {
        *self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says that tokens are got there.
    pub fn sends_to(&self, url: &str) {
        *self.state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    /// How often it was asked for a token.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl State {
    fn endpoint(&self) -> String {
        format!("{}/token", self.base)
    }

    /// Why a request is no good; `None` when its client has proven who it is.
    fn problem(&self, form: &[(String, String)]) -> Option<String> {
        let value = |name: &str| form.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value);
        for (name, expected) in [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", assertion::ASSERTION_TYPE),
            ("scope", SCOPE),
        ] {
            if value(name) != expected {
                return Some(format!("{name} is {}", value(name)));
            }
        }
        let read = match assertion::read(value("client_assertion")) {
            Ok(read) => read,
            Err(why) => return Some(why.to_string()),
        };
        let key = self.keys.choose(read.header.kid.as_deref(), Algorithm::ES384);
        let Ok(claims) = read.verify(&key.expect("the client has one key")) else {
            return Some("the signature is wrong".to_owned());
        };
        assertion::check(&claims, CLIENT_ID, &[self.endpoint()], self.clock.now()).err().map(|why| why.to_string())
    }
}

async fn configuration(state: web::Data<State>) -> HttpResponse {
    let elsewhere = state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
    HttpResponse::Ok().json(json!({"token_endpoint": elsewhere.unwrap_or_else(|| state.endpoint())}))
}

async fn token(state: web::Data<State>, form: web::Form<Vec<(String, String)>>) -> HttpResponse {
    let number = state.asked.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some((status, body)) = state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        let sent = form.iter().find(|(name, _)| name == "client_assertion").map_or("", |(_, value)| value);
        let status = StatusCode::from_u16(status).expect("the test names a status");
        return HttpResponse::build(status).body(body.replace("{}", sent));
    }
    if let Some(problem) = state.problem(&form) {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_client", "error_description": problem}));
    }
    let answer: Value = json!({
        "access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": LIFE_SECONDS, "scope": SCOPE,
    });
    HttpResponse::Ok().json(answer)
}
