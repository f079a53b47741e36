//! From an answer to bytes: gzip, and what may go wrong on the way.

use std::io::{self, Write as _};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt as _, stream};

use crate::answer::{Answer, Content, FHIR_JSON};
use crate::faults::Harm;
use crate::log::Running;
use crate::site::Sending;

/// The answer as actix-web sends it. The request is in progress until all of its body is on the way.
pub fn response(sending: Sending, takes_gzip: bool, running: Running) -> HttpResponse {
    let Sending { answer: Answer { status, headers, content }, harms } = sending;
    running.answered(status);
    let mut response = HttpResponse::build(StatusCode::from_u16(status).expect("a status is between 100 and 999"));
    for (name, value) in headers {
        response.insert_header((name, value));
    }
    let (kind, mut body) = match content {
        Content::Nothing => return response.finish(),
        Content::Json(text) => (FHIR_JSON, text.as_bytes().to_vec()),
        Content::Bundle(bundle) => (FHIR_JSON, bundle.text().into_bytes()),
        Content::Html(text) => ("text/html", text.as_bytes().to_vec()),
    };
    response.insert_header((CONTENT_TYPE, kind));
    if harms.contains(&Harm::TruncatedJson) {
        body.truncate(body.len() / 2);
    }
    response.insert_header((VARY, "Accept-Encoding"));
    if takes_gzip {
        response.insert_header((CONTENT_ENCODING, "gzip"));
        body = gzip(&body);
    }
    let length = body.len();
    if harms.contains(&Harm::BrokenBody) {
        body.truncate(length / 2);
        let pieces = pieces(body, Duration::ZERO, 1, running).chain(stream::once(broken()));
        return response.body(SizedStream::new(length as u64, Box::pin(pieces)));
    }
    let slow = harms
        .iter()
        .find_map(|harm| if let Harm::SlowBody(pause, count) = harm { Some((*pause, *count)) } else { None });
    match slow {
        Some((pause, count)) => {
            response.body(SizedStream::new(length as u64, Box::pin(pieces(body, pause, count, running))))
        }
        None => response.body(body),
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a Vec takes all that is written")
}

/// The body in so many pieces, with a pause before each but the first.
fn pieces(body: Vec<u8>, pause: Duration, count: usize, running: Running) -> impl Stream<Item = io::Result<Bytes>> {
    let size = body.len().div_ceil(count.max(1)).max(1);
    let body = Bytes::from(body);
    stream::unfold((0, running), move |(start, running)| {
        let piece = (start < body.len()).then(|| body.slice(start..body.len().min(start + size)));
        async move {
            let piece = piece?;
            if start > 0 {
                tokio::time::sleep(pause).await;
            }
            Some((Ok(piece), (start + size, running)))
        }
    })
}

/// The end of a body that breaks. actix-web sends what it has while a body has nothing, and throws it away when one fails.
async fn broken() -> io::Result<Bytes> {
    tokio::task::yield_now().await;
    Err(io::Error::other("devfhir was told to break this connection"))
}
