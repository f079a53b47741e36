//! What more workers gain where the machine is not the limit: workers of one permit on each lane, on a source that is late
//! with each page.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::arguments::ScaleOutArguments;
use crate::export;
use crate::figures::{Figures, a_second, table};
use crate::system::{Ground, Setup, System};
use crate::wire::SlowWire;

struct Step {
    workers: u16,
    resources: u64,
    seconds: f64,
    members_written: u64,
    /// That all of it used: source, store and wire, too.
    cores: f64,
}

/// Exports the list with each number of workers.
pub async fn measure(ground: &Ground<'_>, arguments: &ScaleOutArguments) -> anyhow::Result<Figures> {
    let (common, data) = (ground.common, ground.data);
    let wire = SlowWire::to(&data.source_url, Duration::from_millis(arguments.delay_ms)).await?;
    let mut steps = Vec::new();
    for workers in arguments.counts.iter().copied() {
        eprintln!("exporting with {workers} workers");
        let setup = Setup {
            workers,
            permits: 1,
            source_url: wire.url.clone(),
            settings: vec![
                ("ATR_EXPRESS_PERMITS", "1".to_owned()),
                ("ATR_PAGE_IDS", arguments.page_ids.to_string()),
                ("ATR_SLICE_IDS", arguments.slice_ids.to_string()),
            ],
        };
        let exported = System::during(ground, &setup, async |system| export::run(system, &data.list).await).await?;
        steps.push(Step {
            workers,
            resources: exported.resources(),
            seconds: exported.seconds,
            members_written: exported.members_written,
            cores: exported.cpu_seconds.values().sum::<f64>() / exported.seconds,
        });
    }
    ensure!(!steps.is_empty(), "--counts names no number of workers");
    let is_right = |step: &Step| step.members_written == common.members && step.resources == steps[0].resources;
    let wrong = (!steps.iter().all(is_right)).then(|| "not every export wrote every member and the same".to_owned());
    let times = |step: &Step| steps[0].seconds / step.seconds;
    let each = |step: &Step| times(step) * f64::from(steps[0].workers) / f64::from(step.workers);
    let row = |step: &Step| {
        vec![
            step.workers.to_string(),
            format!("{:.1} s", step.seconds),
            a_second(step.resources, step.seconds),
            format!("{:.2}", times(step)),
            format!("{:.2}", each(step)),
            format!("{:.2}", step.cores),
        ]
    };
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    let step = |step: &Step| {
        json!({
            "workers": step.workers,
            "seconds": step.seconds,
            "resources": step.resources,
            "times": times(step),
            "each": each(step),
            "cores": step.cores,
        })
    };
    let json = json!({
        "members": common.members,
        "delayMilliseconds": arguments.delay_ms,
        "pageIds": arguments.page_ids,
        "sliceIds": arguments.slice_ids,
        "isRight": wrong.is_none(),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    });
    let head = ["workers", "kick-off to manifest", "resources/s", "times the first", "each, of the first", "cores"];
    Ok(Figures { table: table(&head, &rows), json, wrong })
}
