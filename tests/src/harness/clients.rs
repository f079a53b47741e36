//! Clients that are registered, the register, and somebody who publishes keys over HTTPS.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use shared::access::assertion::ASSERTION_TYPE;
use shared::access::key_pair::{KeyKind, PrivateKey};
use shared::clock::{Clock, SystemClock};
use shared::settings::{Access, Settings};
use tempfile::TempDir;
use url::form_urlencoded;

use super::system::{PUBLIC_BASE, System};

/// The token endpoint, as clients know it.
pub fn endpoint() -> String {
    format!("{PUBLIC_BASE}/auth/token")
}

/// A client with its private key.
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: PrivateKey,
}

impl Client {
    /// A client with a new key.
    pub fn new(id: &str, kind: KeyKind) -> Self {
        let (_, key) = PrivateKey::generate(kind).expect("the system gives random numbers");
        Self { id: id.to_owned(), key }
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
        granted["access_token"].as_str().expect("a token is granted").to_owned()
    }
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

/// A certificate for 127.0.0.1, and its key.
pub struct Certificate {
    /// The certificate in PEM, which is its own authority.
    pub certificate: String,
    /// The private key in PEM.
    pub key: String,
}

impl Certificate {
    /// A new one.
    pub fn new() -> Self {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("the system gives random numbers");
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    /// A server with this certificate, for any client.
    fn server_config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is a key");
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for them")
            .with_no_client_auth()
            .with_single_cert(chain.expect("it is a certificate"), key)
            .expect("they fit")
    }
}

/// Somebody who publishes a key set over HTTPS.
pub struct KeyServer {
    /// Where.
    pub url: String,
    authority: PathBuf,
    _folder: TempDir,
    published: Arc<Published>,
}

struct Published {
    answer: Mutex<(u16, String)>,
    fetches: AtomicUsize,
}

impl KeyServer {
    /// Publishes these keys.
    pub fn start(keys: &Value) -> Self {
        let certificate = Certificate::new();
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, &certificate.certificate).expect("the folder can be written to");
        let published =
            Arc::new(Published { answer: Mutex::new((200, keys.to_string())), fetches: AtomicUsize::new(0) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
        let url = format!("https://{}/jwks.json", listener.local_addr().expect("it is bound"));
        let data = web::Data::from(Arc::clone(&published));
        let server = HttpServer::new(move || {
            App::new().app_data(data.clone()).route("/jwks.json", web::get().to(answer)).default_service(
                // Keys that nobody may follow a redirect to.
                web::to(answer),
            )
        });
        let server = server.workers(1).disable_signals().listen_rustls_0_23(listener, certificate.server_config());
        // It has nothing to finish when the test is over, and the process ends with the test.
        tokio::spawn(server.expect("the certificate fits").run());
        Self { url, authority, _folder: folder, published }
    }

    /// A file with the authority of its certificate.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Publishes other keys from now on.
    pub fn publish(&self, keys: &Value) {
        self.answer(200, &keys.to_string());
    }

    /// Answers so from now on. A redirect leads to where the keys are.
    pub fn answer(&self, status: u16, body: &str) {
        *self.published.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_owned());
    }

    /// How often somebody has asked.
    pub fn fetches(&self) -> usize {
        self.published.fetches.load(Ordering::SeqCst)
    }
}

async fn answer(published: web::Data<Published>) -> HttpResponse {
    published.fetches.fetch_add(1, Ordering::SeqCst);
    let (status, body) = published.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let status = actix_web::http::StatusCode::from_u16(status).expect("the test names a status");
    let mut response = HttpResponse::build(status);
    if status.is_redirection() {
        response.insert_header(("Location", "/elsewhere.json"));
    }
    response.content_type("application/json").body(body)
}
