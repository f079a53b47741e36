//! The servers themselves crash, stand still and close connections, each a server of the test's own.

use tokio::time::sleep;

use crate::harness::member::Server;
use crate::harness::servers::{Kind, OwnServer};
use crate::harness::site::{Blueprint, Site, longer_than_a_call, with};

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
        site.exports("the broker closes all connections", async |_| {
            rabbitmq.rabbitmqctl(&["close_all_connections", "--vhost", "/", "for a test"]).await;
        })
        .await;
        site.exports("the broker loses its queues", async |site| {
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

async fn crashes_and_stands_still(site: &mut Site, server: &mut OwnServer, role: Server) {
    site.exports("a server stands still", async |_| {
        server.signal("STOP");
        sleep(longer_than_a_call(role)).await;
        server.signal("CONT");
    })
    .await;
    site.exports("a server crashes and is back at once", async |_| {
        server.crash().await;
        server.start_again().await;
    })
    .await;
    site.exports("a server crashes and stays away for a while", async |_| {
        server.crash().await;
        sleep(longer_than_a_call(Server::Jobs)).await;
        server.start_again().await;
    })
    .await;
}
