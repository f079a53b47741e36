//! The wires between the programs and one of the servers break, all at once, in the middle of an export.

use std::time::Duration;

use tokio::time::sleep;

use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::proxy::Wire;
use crate::harness::site::{Blueprint, Site, longer_than_a_call, with};
use crate::harness::tripwire::{Place, Side};

/// Long enough for a program to try again in vain.
const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn wires_to_redis_may_break() {
    break_wires_to(Server::Jobs).await;
}

#[tokio::test]
async fn wires_to_rabbitmq_may_break() {
    break_wires_to(Server::Queue).await;
}

#[tokio::test]
async fn wires_to_postgresql_may_break() {
    break_wires_to(Server::Source).await;
}

#[tokio::test]
async fn wires_to_the_object_store_may_break() {
    break_wires_to(Server::Outputs).await;
}

async fn break_wires_to(server: Server) {
    with(Blueprint::default(), async |site| {
        each(site, server, "cut once", async |site| cut(site, server)).await;
        each(site, server, "cut five times", async |site| {
            for _ in 0..5 {
                cut(site, server);
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        each(site, server, "down for a while", async |site| during(site, server, Wire::Down, A_WHILE).await).await;
        each(site, server, "slow", async |site| {
            during(site, server, Wire::Delay(Duration::from_millis(40)), A_WHILE).await;
        })
        .await;
        each(site, server, "silent for longer than a call may take", async |site| {
            during(site, server, Wire::BlackHole, longer_than_a_call(server)).await;
        })
        .await;
        each(site, server, "silent for ever on the connections that are there", async |site| {
            for member in site.members() {
                member.wire(server).silence();
            }
        })
        .await;
    })
    .await;
}

/// Exports, and lets something happen to the wires when the first worker has said a few things over its own.
async fn each(site: &mut Site, server: Server, how: &str, fault: impl AsyncFnOnce(&mut Site)) {
    let what = format!("the wires to {server:?} are {how}");
    let place = Place { side: Side::Client, pattern: Vec::new(), count: 12, arrives: true };
    let (job, first) = worker_comes_to(site, server, place, &what).await;
    site.workers[first].wire(server).release();
    fault(site).await;
    site.proves(&what, &job).await;
}

fn cut(site: &Site, server: Server) {
    for member in site.members() {
        member.wire(server).cut();
    }
}

async fn during(site: &Site, server: Server, wire: Wire, time: Duration) {
    for member in site.members() {
        member.wire(server).set(wire);
    }
    sleep(time).await;
    for member in site.members() {
        member.wire(server).set(Wire::Pass);
    }
}
