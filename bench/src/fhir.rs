//! The payer's own FHIR server as the source: one that takes a while for every request, asked for more or fewer resources at a
//! time, by more or fewer requests at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use devfhir::{FhirServer, Options, as_taken};
use serde_json::json;
use shared::source::files::{self, Found};

use crate::arguments::FhirArguments;
use crate::data::Place;
use crate::export;
use crate::figures::{Figures, a_second, table};
use crate::system::{Ground, Setup, System};

/// How many resources the server is given at a time.
const BATCH: usize = 10_000;

struct Step {
    ids: u32,
    connections: u32,
    resources: u64,
    seconds: f64,
    members_written: u64,
    requests: usize,
}

/// Exports the list with each number of ids in a request and each number of requests at once.
pub async fn measure(ground: &Ground<'_>, place: &Place, arguments: &FhirArguments) -> anyhow::Result<Figures> {
    let latency = Duration::from_millis(arguments.delay_ms);
    let server = FhirServer::start(Options { latency, ..Options::default() })?;
    eprintln!("loading the FHIR server");
    load(&server, place.folder())?;
    let mut steps = Vec::new();
    for ids in arguments.ids.iter().copied() {
        for connections in arguments.connections.iter().copied() {
            eprintln!("exporting with {ids} ids in a request and {connections} requests at once");
            let setup = Setup {
                workers: 1,
                permits: 2,
                source_url: server.base(),
                settings: vec![
                    ("ATR_SOURCE_REQUEST_IDS", ids.to_string()),
                    ("ATR_SOURCE_CONNECTIONS", connections.to_string()),
                    ("ATR_SOURCE_SETTLE_SECONDS", "0".to_owned()),
                ],
            };
            let before = server.requests().len();
            let exported = System::during(ground, &setup, async |system| export::run(system, &ground.data.list).await);
            let exported = exported.await?;
            steps.push(Step {
                ids,
                connections,
                resources: exported.resources(),
                seconds: exported.seconds,
                members_written: exported.members_written,
                requests: server.requests().len() - before,
            });
        }
    }
    ensure!(!steps.is_empty(), "--ids or --connections names no number");
    let is_right = |step: &Step| step.members_written == ground.common.members && step.resources == steps[0].resources;
    let wrong = (!steps.iter().all(is_right)).then(|| "not every export wrote every member and the same".to_owned());
    let row = |step: &Step| {
        vec![
            step.ids.to_string(),
            step.connections.to_string(),
            format!("{:.1} s", step.seconds),
            a_second(step.resources, step.seconds),
            step.requests.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    let step = |step: &Step| {
        json!({
            "ids": step.ids,
            "connections": step.connections,
            "seconds": step.seconds,
            "resources": step.resources,
            "requests": step.requests,
        })
    };
    let json = json!({
        "members": ground.common.members,
        "delayMilliseconds": arguments.delay_ms,
        "isRight": wrong.is_none(),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    });
    let head = ["ids a request", "requests at once", "kick-off to manifest", "resources/s", "requests"];
    Ok(Figures { table: table(&head, &rows), json, wrong })
}

/// Gives the server all that the files of a folder hold.
fn load(server: &FhirServer, folder: &Path) -> anyhow::Result<()> {
    let mut batch: Vec<String> = Vec::with_capacity(BATCH);
    for found in files::read(&[folder.to_owned()])? {
        let Found::Resource(resource) = found? else { continue };
        batch.push(as_taken(std::str::from_utf8(&resource.body).context("generated data is text")?));
        if batch.len() == BATCH {
            server.load(&batch);
            batch.clear();
        }
    }
    server.load(&batch);
    Ok(())
}
