//! The servers themselves crash, stand still and close connections, each a server of the test's own.

use std::time::Duration;

use tokio::time::sleep;

use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::servers::{Kind, OwnServer};
use crate::harness::site::{Blueprint, Site, longer_than_a_call, with};
use crate::harness::tripwire::{Place, Side};

/// Long enough for every program to have tried again in vain.
const A_WHILE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn redis_may_crash_and_stand_still() {
    let mut redis = OwnServer::start(Kind::Redis).await;
    let blueprint = Blueprint { redis: redis.url(), ..Blueprint::default() };
    with(blueprint, async |site| crashes_and_stands_still(site, &mut redis, Server::Jobs).await).await;
}

#[tokio::test]
async fn rabbitmq_may_crash_and_stand_still_and_close_connections() {
    let mut rabbitmq = OwnServer::start(Kind::RabbitMq).await;
    let blueprint = Blueprint { amqp: rabbitmq.url(), ..Blueprint::default() };
    with(blueprint, async |site| {
        in_the_middle(site, "the broker closes all connections", async |_| {
            rabbitmq.rabbitmqctl(&["close_all_connections", "--vhost", "/", "for a test"]).await;
        })
        .await;
        in_the_middle(site, "the broker loses its queues", async |site| {
            for lane in ["express", "bulk"] {
                rabbitmq.rabbitmqctl(&["delete_queue", &format!("{}.{lane}.v1", site.namespace)]).await;
            }
        })
        .await;
        crashes_and_stands_still(site, &mut rabbitmq, Server::Queue).await;
    })
    .await;
}

#[tokio::test]
async fn postgresql_may_crash_and_stand_still() {
    let mut postgresql = OwnServer::start(Kind::PostgreSql).await;
    let blueprint = Blueprint { postgres: postgresql.url(), ..Blueprint::default() };
    with(blueprint, async |site| crashes_and_stands_still(site, &mut postgresql, Server::Source).await).await;
}

/// Exports, and lets something happen while a worker waits for an answer of the source: the job cannot be over before.
async fn in_the_middle(site: &mut Site, what: &str, fault: impl AsyncFnOnce(&mut Site)) {
    let place = Place { side: Side::Client, pattern: Vec::new(), count: 6, arrives: true };
    let (job, waiting) = worker_comes_to(site, Server::Source, place, what).await;
    fault(site).await;
    site.workers[waiting].wire(Server::Source).release();
    site.proves(what, &job).await;
}

async fn crashes_and_stands_still(site: &mut Site, server: &mut OwnServer, role: Server) {
    in_the_middle(site, "a server stands still", async |_| {
        server.signal("STOP");
        sleep(longer_than_a_call(role)).await;
        server.signal("CONT");
    })
    .await;
    in_the_middle(site, "a server crashes and is back at once", async |_| {
        server.crash().await;
        server.start_again().await;
    })
    .await;
    in_the_middle(site, "a server crashes and stays away for a while", async |_| {
        server.crash().await;
        sleep(A_WHILE).await;
        server.start_again().await;
    })
    .await;
}
