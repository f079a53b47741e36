//! Somebody who publishes a key set over HTTPS, and may have trouble doing so.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;
use shared::settings::Settings;
use tempfile::TempDir;

use super::certificate::Certificate;

/// The server. It runs as long as the test.
pub struct KeyServer {
    /// Where the keys are.
    pub url: String,
    authority: PathBuf,
    _folder: TempDir,
    published: Arc<Published>,
}

struct Published {
    /// What is answered where the keys are.
    answer: Mutex<(u16, String)>,
    /// What is answered where a redirect leads: good keys, which nobody may take from there.
    elsewhere: String,
    fetches: AtomicUsize,
}

impl KeyServer {
    /// Publishes these keys.
    pub fn start(keys: &Value) -> Self {
        let certificate = Certificate::new();
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, &certificate.certificate).expect("the folder can be written to");
        let published = Arc::new(Published {
            answer: Mutex::new((200, keys.to_string())),
            elsewhere: keys.to_string(),
            fetches: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
        let url = format!("https://{}/jwks.json", listener.local_addr().expect("it is bound"));
        let data = web::Data::from(Arc::clone(&published));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/jwks.json", web::get().to(answer))
                .route("/elsewhere.json", web::get().to(elsewhere))
        });
        let server = server.workers(1).disable_signals().listen_rustls_0_23(listener, certificate.server_config());
        // It has nothing to finish when the test is over, and the process ends with the test.
        tokio::spawn(server.expect("the certificate fits").run());
        Self { url, authority, _folder: folder, published }
    }

    /// Has a system trust its certificate.
    pub fn trusted_by(&self, settings: &mut Settings) {
        self.authority.clone_into(&mut settings.authorities_file);
    }

    /// Publishes other keys from now on.
    pub fn publish(&self, keys: &Value) {
        self.answer(200, &keys.to_string());
    }

    /// Answers so from now on. A redirect leads to where the first keys are.
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
    let status = StatusCode::from_u16(status).expect("the test names a status");
    let mut response = HttpResponse::build(status);
    if status.is_redirection() {
        response.insert_header((LOCATION, "/elsewhere.json"));
    }
    response.content_type("application/json").body(body)
}

async fn elsewhere(published: web::Data<Published>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(published.elsewhere.clone())
}
