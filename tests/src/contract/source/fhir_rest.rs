//! What only a FHIR server can do to its readers: to misbehave, to lack abilities, to ask for patience. Whatever it does, a
//! reader ends with all there is or with a fault that says what is wrong.

mod abilities;
mod harms;
mod held;
mod manners;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use devfhir::{FhirServer, Options};
use shared::clock::SystemClock;
use shared::export::JobId;
use shared::fault::Fault;
use shared::fhir::{Instant, ResourceId};
use shared::metrics::Metrics;
use shared::outputs::OutputStore;
use shared::platform::OutputShelf;
use shared::source::ResourceSource;
use shared::source::fhir_rest::credentials::Credentials;
use shared::source::fhir_rest::pace::SharedPause;
use shared::source::fhir_rest::{FhirRestSource, FhirSettings, Ground};
use url::Url;

use super::{group, id, member, own, patient};
use crate::harness::memory_outputs::MemoryOutputs;

/// How many members the list has.
const MEMBERS: usize = 30;

const SETTINGS: FhirSettings = FhirSettings {
    connections: 4,
    request_ids: 8,
    connect_timeout: Duration::from_mins(1),
    answer_timeout: Duration::from_mins(1),
    settle: Duration::ZERO,
};

/// The source on a server, with nothing special about it.
pub fn source(server: &FhirServer) -> FhirRestSource {
    source_with(server, SETTINGS, None, &Metrics::new())
}

fn source_with(
    server: &FhirServer,
    settings: FhirSettings,
    pause: Option<Arc<dyn SharedPause>>,
    metrics: &Metrics,
) -> FhirRestSource {
    source_on(server, settings, pause, metrics, &Arc::new(MemoryOutputs::new(Arc::new(SystemClock), 1 << 20)))
}

fn source_on(
    server: &FhirServer,
    settings: FhirSettings,
    pause: Option<Arc<dyn SharedPause>>,
    metrics: &Metrics,
    outputs: &Arc<MemoryOutputs>,
) -> FhirRestSource {
    let base = Url::parse(&server.base()).expect("it is a URL");
    let ground = Ground {
        credentials: Credentials::nobody(&base),
        base,
        http: reqwest::Client::builder().no_proxy(),
        own: own(),
        shelf: Arc::new(OutputShelf(Arc::clone(outputs) as Arc<dyn OutputStore>)),
        pause,
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
    };
    FhirRestSource::connect(ground, settings).expect("a client can be made")
}

/// A server with one list of some members, each with a Coverage, some of them missing.
fn payer() -> FhirServer {
    let server = FhirServer::start(Options::default()).expect("there is a free port");
    server.load(&resources());
    server
}

fn resources() -> Vec<String> {
    let members: Vec<String> =
        (0..MEMBERS).map(|n| member(&format!("Patient/p{n}"), &[("coverage", &format!("Coverage/c{n}"))])).collect();
    let there = (0..MEMBERS).filter(|n| n % 10 != 3);
    let patients = there.clone().map(|n| patient(&format!("p{n}")));
    let coverages = there.map(|n| format!(r#"{{"resourceType":"Coverage","id":"c{n}"}}"#));
    // Of the same types, and on no list.
    let others = (0..5).map(|n| patient(&format!("other{n}")));
    patients.chain(coverages).chain(others).chain([group("g", &members)]).collect()
}

/// What a reader learns of a list: each id that it names, and whether it is there.
type Learned = BTreeMap<String, bool>;

/// Reads a list as the tasks of a job do.
async fn read(source: impl ResourceSource) -> Result<Learned, Fault> {
    let source = Arc::new(source).of_job(JobId::random());
    let as_of = source.transaction_time().await?;
    source.hold(&id("g"), as_of, None).await?;
    read_as_of(&*source, &id("g"), as_of).await
}

async fn read_as_of(source: &dyn ResourceSource, list: &ResourceId, as_of: Instant) -> Result<Learned, Fault> {
    let mut learned = BTreeMap::new();
    for mut slice in source.cut(list, as_of, 20).await? {
        loop {
            let page = source.listed(list, &slice, as_of, 15).await?;
            let Some(end) = page.last() else { break };
            slice.after = Some(end.id.clone());
            for listed in page {
                let key = format!("{}/{}", slice.resource_type, listed.id);
                if let Some(stored) = &listed.stored {
                    assert_eq!(stored.resource.key.to_string(), key);
                }
                assert!(learned.insert(key, listed.stored.is_some()).is_none(), "an id comes once");
            }
        }
    }
    Ok(learned)
}

/// What there is to learn.
fn all() -> Learned {
    let named = (0..MEMBERS).flat_map(|n| [(format!("Patient/p{n}"), n), (format!("Coverage/c{n}"), n)]);
    named.map(|(key, n)| (key, n % 10 != 3)).collect()
}

#[tokio::test]
async fn a_server_that_behaves_is_read_whole() {
    let server = payer();
    assert_eq!(read(source(&server)).await.expect("the server is there"), all());
}
