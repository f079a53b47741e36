//! Clients that are registered, and the register that they are in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::access::assertion::ASSERTION_TYPE;
use shared::access::key_pair::{KeyKind, PrivateKey};
use shared::clock::{Clock, SystemClock};
use shared::settings::{Access, Settings};
use tempfile::TempDir;
use url::form_urlencoded;

use super::system::{PUBLIC_BASE, System, with_settings};

/// The token endpoint, as clients know it.
pub fn endpoint() -> String {
    format!("{PUBLIC_BASE}/auth/token")
}

/// A client with its private key.
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: Arc<PrivateKey>,
}

impl Client {
    /// A client with a new key.
    pub fn new(id: &str, kind: KeyKind) -> Self {
        let (_, key) = PrivateKey::generate(kind).expect("the system gives random numbers");
        Self { id: id.to_owned(), key: Arc::new(key) }
    }

    /// Another client with the same key.
    pub fn renamed(&self, id: &str) -> Self {
        Self { id: id.to_owned(), key: Arc::clone(&self.key) }
    }

    /// Its entry in the register, with its keys in it.
    pub fn entry(&self, scope: &str, lists: &Value) -> Value {
        json!({"client_id": self.id, "scope": scope, "lists": lists, "jwks": self.key.public_set()})
    }

    /// A new assertion.
    pub fn assertion(&self) -> String {
        let life = Duration::from_mins(5);
        self.key.assertion(&self.id, &endpoint(), SystemClock.now(), life).expect("the key signs")
    }

    /// The answer of the token endpoint to a request of this client for a scope.
    pub async fn ask(&self, system: &System, scope: &str) -> Response {
        ask(system, &form(&self.assertion(), scope)).await
    }

    /// An access token.
    pub async fn token(&self, system: &System, scope: &str) -> String {
        let response = self.ask(system, scope).await;
        assert_eq!(response.status(), StatusCode::OK);
        let granted: Value = response.json().await.expect("it is JSON");
        granted["access_token"].as_str().expect("a token is issued").to_owned()
    }

    /// Has the requests that follow come from this client, with this scope.
    pub async fn acts(&self, system: &System, scope: &str) {
        let token = self.token(system, scope).await;
        system.act_with(Some(&token));
    }
}

/// As [`with`](super::system::with), with tokens for the clients of this register.
pub async fn with_register<F>(lines: &[String], register: &RegisterFile, story: impl FnOnce(Arc<System>) -> F)
where
    F: Future<Output = ()>,
{
    with_settings(lines, |settings| register.smart(settings), story).await;
}

/// The form of a token request.
pub fn form(assertion: &str, scope: &str) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("grant_type", "client_credentials"),
        pair("client_assertion_type", ASSERTION_TYPE),
        pair("client_assertion", assertion),
        pair("scope", scope),
    ]
}

/// Sends a form to the token endpoint.
pub async fn ask(system: &System, form: &[(String, String)]) -> Response {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = system.request(Method::POST, "/auth/token");
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    request.send().await.expect("the API answers")
}

/// A register in a file that the test may write anew.
pub struct RegisterFile {
    folder: TempDir,
}

impl RegisterFile {
    /// A register of these clients.
    pub fn of(clients: &[Value]) -> Self {
        let register = Self { folder: tempfile::tempdir().expect("a folder for temporary files can be had") };
        register.write(&json!({"clients": clients}));
        register
    }

    /// Replaces what it says.
    pub fn write(&self, register: &Value) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, register.to_string()).expect("the folder can be written to");
        std::fs::rename(new, self.path()).expect("both are in the folder");
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clients.json")
    }

    /// Settings by which this server gives these clients tokens, and looks into the register every second.
    pub fn smart(&self, settings: &mut Settings) {
        settings.access = Some(Access::Smart);
        settings.clients_file = self.path();
        settings.reload_seconds = 1;
    }
}
