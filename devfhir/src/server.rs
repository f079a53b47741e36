//! The thread that serves, and its end.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use rustls::ServerConfig;

use crate::answer::Answer;
use crate::question::Question;
use crate::site::{Sending, Site};
use crate::wire;

/// How large a body may be that is sent to this server: that of a search for very many ids.
const BODY_BYTES: usize = 64 << 20;

/// How long a connection may be idle. Longer than the pools of clients keep theirs, so that none is closed just when it is used.
const IDLE: Duration = Duration::from_mins(3);

/// A thread that serves until this is dropped.
pub struct Server {
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A port of this machine.
    pub fn listener() -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    }

    /// Serves on a bound socket.
    pub fn start(listener: TcpListener, site: Arc<Site>, tls: Option<ServerConfig>) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let serve = move || {
            actix_web::rt::System::new().block_on(async move {
                let site = web::Data::from(site);
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(site.clone())
                        .app_data(web::PayloadConfig::new(BODY_BYTES))
                        .default_service(web::to(answer))
                });
                let server = server.workers(2).disable_signals().keep_alive(IDLE).tcp_nodelay(true);
                // A client that has gone away is in progress no longer.
                let server = server.h1_allow_half_closed(false);
                let server = match tls {
                    Some(tls) => server.listen_rustls_0_23(listener, tls),
                    None => server.listen(listener),
                };
                let server = server.map(HttpServer::run);
                // If nobody takes it, whoever started this thread has given up, and the handle that is dropped ends nothing.
                match server {
                    Ok(server) => {
                        if tell.send(Ok(server.handle())).is_ok() {
                            // It ends when it is told to; how it fails by itself is seen by those who ask.
                            let _ = server.await;
                        }
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("devfhir".to_owned()).spawn(serve)?;
        let handle = told.recv().map_err(|_| io::Error::other("the thread of the server ended at once"))??;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Server {
    /// Cuts what is under way.
    fn drop(&mut self) {
        // The order is given by the call; the future only waits, which the thread does as well.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed, and whoever asked has seen an answer fail.
            let _ = thread.join();
        }
    }
}

async fn answer(request: HttpRequest, body: Bytes, site: web::Data<Site>) -> HttpResponse {
    let question = Question::of(&request, body);
    let running = site.log.begin(&question);
    tokio::time::sleep(site.latency).await;
    let takes_gzip = question.takes_gzip();
    if site.authorization.is_some() && site.authorization != question.authorization {
        let answer = Answer::refusal(401, "login", "the header Authorization is not as it is to be");
        let answer = answer.with("WWW-Authenticate", "Bearer".to_owned());
        return wire::response(Sending { answer, harms: Vec::new() }, takes_gzip, running);
    }
    let asking = site.understand(&question);
    tokio::time::sleep(asking.delay()).await;
    let sending = site.answer(&question, asking);
    wire::response(sending, takes_gzip, running)
}
