//! The accept loop: connections, the faults in front of the store, and a stop that waits for both.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::dto::StreamingBlob;
use s3s::service::S3Service;
use s3s::stream::ByteStream as _;
use s3s::{Body, HttpRequest, HttpResponse, S3Error, S3ErrorCode, StdError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use crate::faults::{Failure, Faults};
use crate::storage::refusal;

/// How long a stop waits for requests under way. Then their connections are cut.
const STOP_SECONDS: u64 = 5;

/// How long to wait when no connection can be accepted (no file descriptors left), instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `store` on a bound socket.
    pub fn start(listener: TcpListener, store: S3Service, faults: Faults) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, store, faults, stopped));
        Ok(Self { address, stop, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, waits for the requests under way, at most [`STOP_SECONDS`], and for every task.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.accepting.await {
            warn!(%error, "the accept loop did not end by itself");
        }
    }
}

/// Ends when `stopped` fires or its sender is dropped.
async fn accept(listener: TcpListener, store: S3Service, faults: Faults, mut stopped: oneshot::Receiver<()>) {
    // HTTP/1 only: S3 clients speak nothing else without TLS, and HTTP/2 would spawn a task for each stream, out of reach
    // of `stop`.
    let http = Builder::new(TokioExecutor::new()).http1_only();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let service = {
            let (store, faults) = (store.clone(), faults.clone());
            service_fn(move |request: Request<Incoming>| answer(request.map(Body::from), store.clone(), faults.clone()))
        };
        without_delay(&stream);
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        connections.spawn(graceful.watch(connection));
    }
    drop(listener);
    if tokio::time::timeout(Duration::from_secs(STOP_SECONDS), graceful.shutdown()).await.is_err() {
        warn!("cutting {} connections that are still busy after {STOP_SECONDS} s", connections.len());
    }
    connections.shutdown().await;
}

/// Nagle's algorithm would hold back the end of an answer for up to 40 ms.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
}

fn report(ended: Result<Result<(), StdError>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(error, "a connection broke"),
        Err(error) => warn!(%error, "a connection's task panicked"),
    }
}

async fn answer(request: HttpRequest, store: S3Service, faults: Faults) -> Result<HttpResponse, StdError> {
    match faults.strike(request.method(), request.uri()) {
        None => Ok(store.call(request).await?),
        Some(Failure::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(store.call(request).await?)
        }
        Some(Failure::SlowDown) => refuse(request, S3ErrorCode::SlowDown).await,
        Some(Failure::InternalError) => refuse(request, S3ErrorCode::InternalError).await,
        Some(Failure::Refusal(status, code)) => {
            read_up_to(request, u64::MAX).await?;
            Ok(refusal(StatusCode::from_u16(status)?, code, "devstore was told to refuse this request")
                .to_http_response()?)
        }
        Some(Failure::BreakRequest) => {
            let announced =
                request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            read_up_to(request, announced.unwrap_or(0) / 2).await?;
            Err(told().into())
        }
        Some(Failure::BreakAnswer) => cut(store.call(request).await?),
    }
}

/// Reads the request to its end before refusing: a client that is still sending when the connection closes may see a
/// reset and never the 503.
async fn refuse(request: HttpRequest, code: S3ErrorCode) -> Result<HttpResponse, StdError> {
    read_up_to(request, u64::MAX).await?;
    Ok(S3Error::with_message(code, "devstore was told to fail this request").to_http_response()?)
}

async fn read_up_to(request: HttpRequest, enough: u64) -> Result<(), StdError> {
    let mut body = request.into_body();
    let mut read = 0;
    while read < enough {
        let Some(chunk) = body.next().await else { break };
        read += chunk?.len() as u64;
    }
    Ok(())
}

/// An answer whose body breaks off halfway. hyper closes the connection when a service or a body fails.
fn cut(answer: HttpResponse) -> Result<HttpResponse, StdError> {
    let mut left = answer.body().remaining_length().exact().unwrap_or(0) / 2;
    if left == 0 {
        return Err(told().into());
    }
    let truncate = move |chunk: Result<Bytes, StdError>| {
        let mut chunk = chunk.map_err(io::Error::other)?;
        chunk.truncate(left);
        left -= chunk.len();
        Ok(chunk)
    };
    // hyper throws away what it has not yet sent when a body fails; while one is pending, it sends.
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(told())
    });
    Ok(answer.map(|body| {
        let first_half = body.map(truncate).take_while(|chunk| ready(!chunk.as_ref().is_ok_and(Bytes::is_empty)));
        StreamingBlob::wrap(first_half.chain(end)).into()
    }))
}

fn told() -> io::Error {
    io::Error::other("devstore was told to break this connection")
}
