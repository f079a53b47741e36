//! A system is upgraded while it works, and back again: programs of the last version and of this one share the servers.

use super::named::{method, request};
use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::programs::last_version;
use crate::harness::site::{Blueprint, Site, with};
use crate::harness::tripwire::{Place, Side};

const API: &str = "api-service";
const WORKER: &str = "export-worker";

/// Which version a program is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Last,
    This,
}

impl Version {
    fn program(self, name: &str) -> String {
        match self {
            Self::Last => last_version(name),
            Self::This => name.to_owned(),
        }
    }
}

#[tokio::test]
async fn workers_of_both_versions_share_the_work_of_jobs_of_both() {
    with(Blueprint::default(), async |site| {
        site.workers[0].becomes(&Version::Last.program(WORKER)).await;
        for api in [Version::This, Version::Last] {
            site.api.becomes(&api.program(API)).await;
            for nth in 0..5 {
                site.exports(&format!("the API is of {api:?} version, export {nth}"), async |_| {}).await;
            }
            for (worker, version) in site.workers.iter().zip([Version::Last, Version::This]) {
                let completed = worker.metric("atr_task_attempts_total", "completed").await;
                assert!(completed > 0.0, "the worker of {version:?} version has done some of the work");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_one_version_has_begun_the_other_one_ends() {
    with(Blueprint::default(), async |site| {
        for (before, after) in [(Version::Last, Version::This), (Version::This, Version::Last)] {
            // Steps that look alike in every version.
            for (server, (name, side, pattern)) in [
                (Server::Queue, method("delivery", Side::Server, 60, 60)),
                (Server::Outputs, request("an upload", "PUT /")),
                (Server::Queue, method("ack", Side::Client, 60, 80)),
            ] {
                let what =
                    format!("the workers of {before:?} version die at '{name}', those of {after:?} version go on");
                everything_becomes(site, before).await;
                let (job, _) =
                    worker_comes_to(site, server, Place { side, pattern, count: 2, arrives: true }, &what).await;
                for worker in &mut site.workers {
                    worker.kill().await;
                }
                everything_becomes(site, after).await;
                site.proves(&what, &job).await;
            }
        }
    })
    .await;
}

/// The last version knows nothing of a time for which files linger (decision 0020), and this one takes none off that nobody
/// has added.
#[tokio::test]
async fn a_job_that_the_last_version_has_ended_can_be_polled_as_long_as_it_was_promised() {
    // Less than the files of this version linger.
    let settings = vec![("ATR_RETENTION_SECONDS", "200".to_owned())];
    with(Blueprint { settings, ..Blueprint::default() }, async |site| {
        for worker in &mut site.workers {
            worker.becomes(&Version::Last.program(WORKER)).await;
        }
        site.exports("the workers are of the last version", async |_| {}).await;
    })
    .await;
}

async fn everything_becomes(site: &mut Site, version: Version) {
    for worker in &mut site.workers {
        worker.becomes(&version.program(WORKER)).await;
    }
    site.api.becomes(&version.program(API)).await;
}
