//! A program is killed at a step of its work that has a name: just before a request of it arrives, or just after that, so
//! that it never learns what came of it.

use super::named::{Step, method, request, script};
use crate::harness::member::{Server, arm, arrival};
use crate::harness::site::{Blueprint, Site, with};
use crate::harness::tripwire::{Place, Side};

/// Kicks off and waits until a worker comes to a place on its wire, to be held there. Answers the polling location and which
/// worker it is.
pub async fn worker_comes_to(site: &Site, server: Server, place: Place, what: &str) -> (String, usize) {
    let armed = arm(&site.workers, server, &place);
    let job = site.kick_off().await;
    (job, arrival(&site.workers, server, armed, what).await)
}

/// Kills the worker that first comes to each step, and starts it again.
pub async fn kills_a_worker_at(site: &mut Site, server: Server, steps: &[Step]) {
    for (name, side, pattern) in steps {
        for arrives in [false, true] {
            let what = format!("a worker dies at '{name}', which arrives: {arrives}");
            kills_a_worker(site, server, Place { side: *side, pattern: pattern.clone(), count: 1, arrives }, &what)
                .await;
        }
    }
}

async fn kills_a_worker(site: &mut Site, server: Server, place: Place, what: &str) {
    let (job, victim) = worker_comes_to(site, server, place, what).await;
    site.workers[victim].kill().await;
    site.workers[victim].start_again().await;
    site.proves(what, &job).await;
}

#[tokio::test]
async fn a_worker_that_dies_as_it_asks_the_job_store_costs_nothing() {
    let steps = [script!("start"), script!("plan"), script!("published"), script!("claim"), script!("complete")];
    with(Blueprint::default(), async |site| kills_a_worker_at(site, Server::Jobs, &steps).await).await;
}

#[tokio::test]
async fn a_worker_that_dies_as_it_keeps_house_costs_nothing() {
    let steps = [script!("take"), script!("look"), script!("swept")];
    with(Blueprint::default(), async |site| {
        kills_a_worker_at(site, Server::Jobs, &steps).await;
        kills_a_worker_at(site, Server::Outputs, &[request("the objects of a job are listed", "list-type=2")]).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_dies_as_it_speaks_to_the_queue_costs_nothing() {
    let steps = [
        method("delivery", Side::Server, 60, 60),
        method("publish", Side::Client, 60, 40),
        method("confirm", Side::Server, 60, 80),
        method("ack", Side::Client, 60, 80),
    ];
    with(Blueprint::default(), async |site| kills_a_worker_at(site, Server::Queue, &steps).await).await;
}

#[tokio::test]
async fn a_worker_that_dies_as_it_uploads_costs_nothing() {
    let steps = [
        request("the list", "PUT /exports/files/"),
        request("the patients", "/Patient/"),
        request("the errors", "/OperationOutcome/"),
    ];
    with(Blueprint::default(), async |site| kills_a_worker_at(site, Server::Outputs, &steps).await).await;
}

#[tokio::test]
async fn a_worker_that_dies_as_it_reads_the_source_costs_nothing() {
    with(Blueprint::default(), async |site| {
        for count in [1, 2, 4, 8, 16] {
            for side in [Side::Client, Side::Server] {
                let what = format!("a worker dies at piece {count} of its talk with PostgreSQL ({side:?})");
                let place = Place { side, pattern: Vec::new(), count, arrives: true };
                kills_a_worker(site, Server::Source, place, &what).await;
            }
        }
    })
    .await;
}

/// The API is killed while somebody waits for an answer to a kick-off; that job runs if it was recorded, and the next
/// kick-off is as good as any.
#[tokio::test]
async fn an_api_that_dies_at_a_kick_off_leaves_a_job_that_runs_or_none() {
    with(Blueprint::default(), async |site| {
        let steps = [
            (Server::Jobs, script!("create")),
            (Server::Queue, method("publish", Side::Client, 60, 40)),
            (Server::Queue, method("confirm", Side::Server, 60, 80)),
            (Server::Jobs, script!("published")),
        ];
        for (server, (name, side, pattern)) in steps {
            for arrives in [false, true] {
                let what = format!("the API dies at '{name}', which arrives: {arrives}");
                let before = site.jobs().await;
                let api = std::slice::from_ref(&site.api);
                let armed = arm(api, server, &Place { side, pattern: pattern.clone(), count: 1, arrives });
                let asking = tokio::spawn(site.ask_for_export().send());
                arrival(api, server, armed, &what).await;
                site.api.kill().await;
                assert!(asking.await.expect("a client does not panic").is_err(), "{what}: nobody answers");
                site.api.start_again().await;
                let recorded: Vec<_> = site.jobs().await.difference(&before).copied().collect();
                let is_recorded = arrives || name != "create";
                assert_eq!(recorded.len(), usize::from(is_recorded), "{what}");
                for job in recorded {
                    let polling = format!("{}/export/{job}", site.base());
                    site.proves(&what, &polling).await;
                }
                site.exports(&what, async |_| {}).await;
            }
        }
    })
    .await;
}

/// Both workers die at once at a step, so that nobody is there to go on.
#[tokio::test]
async fn when_all_workers_die_the_next_ones_go_on() {
    with(Blueprint::default(), async |site| {
        for (name, side, pattern) in [script!("claim"), script!("complete")] {
            let what = format!("all workers die at '{name}'");
            let place = Place { side, pattern, count: 2, arrives: true };
            let (job, _) = worker_comes_to(site, Server::Jobs, place, &what).await;
            for worker in &mut site.workers {
                worker.kill().await;
            }
            for worker in &mut site.workers {
                worker.start_again().await;
            }
            site.proves(&what, &job).await;
        }
    })
    .await;
}
