//! A worker stands still (SIGSTOP, a virtual machine that is moved, a long pause of its node) until others have done its work,
//! and then goes on as if nothing had been.

use super::named::{Step, request, script};
use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::site::{Blueprint, Site, with};
use crate::harness::tripwire::Place;

#[tokio::test]
async fn what_a_worker_says_to_the_job_store_after_a_long_pause_changes_nothing() {
    let steps = [script!("start"), script!("plan"), script!("claim"), script!("complete"), script!("swept")];
    with(Blueprint::default(), async |site| pauses_a_worker_at(site, Server::Jobs, &steps).await).await;
}

#[tokio::test]
async fn what_a_worker_uploads_after_a_long_pause_is_removed() {
    let steps = [request("the patients", "/Patient/"), request("the coverages", "/Coverage/")];
    with(Blueprint::default(), async |site| pauses_a_worker_at(site, Server::Outputs, &steps).await).await;
}

/// Stops the worker that first comes to each step, waits until the job has come to its end without it, and lets it go on:
/// what it had sent arrives only then, or had arrived before and is answered then.
async fn pauses_a_worker_at(site: &mut Site, server: Server, steps: &[Step]) {
    for (name, side, pattern) in steps {
        for arrives in [false, true] {
            let what = format!("a worker stands still at '{name}', which arrives: {arrives}");
            let place = Place { side: *side, pattern: pattern.clone(), count: 1, arrives };
            let (job, sleeper) = worker_comes_to(site, server, place, &what).await;
            site.workers[sleeper].signal("STOP");
            site.is_complete(&what, &job).await;
            site.workers[sleeper].signal("CONT");
            site.workers[sleeper].wire(server).release();
            site.workers[sleeper].is_awake().await;
            site.proves(&what, &job).await;
        }
    }
}
