//! A collector of traces: takes what comes by OTLP over HTTP, and keeps it.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;

/// The collector. It runs as long as the test.
pub struct Collector {
    /// For `ATR_OTLP_URL`.
    pub url: String,
    received: Arc<Mutex<Vec<web::Bytes>>>,
}

/// A span as it came in.
#[derive(Clone, Debug)]
pub struct Span {
    /// The program that made it.
    pub service: String,
    /// What it is of.
    pub name: String,
    /// The id of its trace, in hexadecimal digits, as all ids here.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of the span above it; empty when there is none.
    pub parent: String,
    attributes: Vec<KeyValue>,
}

impl Span {
    /// What is noted in it under a name.
    pub fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.attributes, name)
    }
}

impl Collector {
    /// Starts one.
    pub fn start() -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let data = web::Data::from(Arc::clone(&received));
        let server = HttpServer::new(move || {
            let limit = web::PayloadConfig::new(64 << 20);
            App::new().app_data(data.clone()).app_data(limit).route("/v1/traces", web::post().to(take))
        });
        let server = server.workers(1).disable_signals().listen(listener).expect("it can listen");
        // It has nothing to finish when the test is over, and the process ends with the test.
        tokio::spawn(server.run());
        Self { url, received }
    }

    /// All that has come, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }

    /// The spans that have come.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = received
            .into_iter()
            .map(|bytes| ExportTraceServiceRequest::decode(bytes).expect("what comes by OTLP is a request of OTLP"));
        requests.flat_map(|request| request.resource_spans).flat_map(spans_of).collect()
    }
}

fn spans_of(of: opentelemetry_proto::tonic::trace::v1::ResourceSpans) -> Vec<Span> {
    let resource = of.resource.map(|resource| resource.attributes).unwrap_or_default();
    let service = attribute(&resource, "service.name").unwrap_or_default();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans
        .map(|span| Span {
            service: service.clone(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: span.attributes,
        })
        .collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.clone()?.value?;
    Some(match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

async fn take(received: web::Data<Mutex<Vec<web::Bytes>>>, body: web::Bytes) -> HttpResponse {
    received.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}
