//! Traces: a request, the attempts at tasks that come of it, and the calls of ports that each makes.
//!
//! The context is W3C Trace Context: a `traceparent` comes in with a request, goes through the job store and the messages,
//! and so to the worker, whichever it is. A `tracestate` is not passed on. Attributes are ids of jobs and tasks and words of
//! this program, and never anything of a member.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{FutureExt, Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The name of the header and of the key of the context.
pub const TRACEPARENT: &str = "traceparent";

/// The library that makes the spans.
const TRACER: &str = "atr";

/// A piece of work that has a span of its own, and may have others below it.
pub struct Traced {
    context: Context,
}

/// Who asks and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A request that is answered.
    Server,
    /// A message that is worked on.
    Consumer,
}

impl Traced {
    /// Work that begins now, because of what `traceparent` says, if it says anything that can be read.
    #[must_use]
    pub fn begin(name: impl Into<Cow<'static, str>>, side: Side, traceparent: Option<&str>) -> Self {
        let parent = traceparent.map_or_else(Context::new, |traceparent| {
            let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
            TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
        });
        let kind = match side {
            Side::Server => SpanKind::Server,
            Side::Consumer => SpanKind::Consumer,
        };
        let tracer = global::tracer(TRACER);
        let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), &parent);
        let mut context = parent.with_span(span);
        let origin = match side {
            Side::Server => self::traceparent(&context),
            Side::Consumer => traceparent.map(str::to_owned),
        };
        if let Some(origin) = origin {
            context = context.with_value(Origin(origin));
        }
        Self { context }
    }

    /// Does a part of the work: what it logs bears the id of the trace, and what it begins is below it.
    pub async fn on<T>(&self, doing: impl Future<Output = T>) -> T {
        doing.with_context(self.context.clone()).await
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.context.span().end();
    }
}

/// The id of the trace that the work going on is in, for logs; `None` outside of any.
#[must_use]
pub fn id() -> Option<String> {
    let context = Context::current();
    let span = context.span();
    let of_span = span.span_context();
    of_span.is_valid().then(|| of_span.trace_id().to_string())
}

/// Notes something of the work that is going on: an id, a count, a word.
pub fn note(name: &'static str, value: impl Into<Value>) {
    Context::current().span().set_attribute(KeyValue::new(name, value));
}

/// Notes that the work that is going on fails, and why, in words of this program.
pub fn failed(why: &'static str) {
    Context::current().span().set_status(Status::error(why));
}

/// The `traceparent` for further work of the request that the work going on belongs to: that of the request itself, so
/// that all the tasks of a job stand side by side below it. `None` outside of any work.
#[must_use]
pub fn origin() -> Option<String> {
    Context::current().get::<Origin>().map(|origin| origin.0.clone())
}

/// What [`origin`] answers, in the context of the work.
struct Origin(String);

fn traceparent(context: &Context) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes a call of a port below the work that is going on; its span is only made where it is kept.
pub async fn call<T>(
    name: impl FnOnce() -> String,
    call: impl Future<Output = T>,
    outcome: impl FnOnce(&T) -> &'static str,
) -> T {
    let parent = Context::current();
    if !parent.span().span_context().is_sampled() {
        return call.await;
    }
    let tracer = global::tracer(TRACER);
    let mut span = tracer.build_with_context(tracer.span_builder(name()).with_kind(SpanKind::Client), &parent);
    let answer = call.await;
    span.set_attribute(KeyValue::new("outcome", outcome(&answer)));
    span.end();
    answer
}
