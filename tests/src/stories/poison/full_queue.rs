//! A broker that takes no messages: its queue is full, or it is short of memory.

use reqwest::StatusCode;
use shared::export::Lane;
use shared::settings::Settings;

use crate::harness::servers::{Kind, OwnServer};
use crate::harness::system::{System, rabbit, with_settings};
use crate::stories::small_list;

const JOBS: usize = 20;

/// Settings by which a system uses this broker, and looks often for what could not be published.
fn on(url: String) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.queue_url = url;
        settings.call_seconds = 5;
        settings.janitor_seconds = 1;
        settings.unpublished_due_seconds = 1;
        // What found the queue full is looked at again after this time.
        settings.working_due_seconds = 3;
    }
}

async fn kick_off_many(system: &System) -> Vec<String> {
    let mut polling = Vec::new();
    for _ in 0..JOBS {
        polling.push(system.kick_off("/Group/g/$export").await);
    }
    polling
}

async fn all_complete(system: &System, polling: &[String]) {
    let expected = system.expected("g").await;
    for polling in polling {
        assert_eq!(system.exported(polling).await.reached, expected, "whole, and nothing twice");
    }
}

async fn waiting(broker: &OwnServer, system: &System) -> u64 {
    let mut waiting = 0;
    for lane in Lane::ALL {
        let queue = rabbit(&broker.url(), &system.settings.namespace, lane).expect("it is a URL");
        waiting += shared::queue::TaskQueue::depth(&queue).await.expect("the broker answers").waiting;
    }
    waiting
}

#[tokio::test]
async fn a_full_queue_delays_jobs_and_loses_none() {
    let broker = &OwnServer::start(Kind::RabbitMq).await;
    broker.rabbitmqctl(&["set_policy", "full", ".*", r#"{"max-length":3}"#, "--apply-to", "queues"]).await;
    with_settings(&small_list(), on(broker.url()), |system| async move {
        system.stop_workers().await;
        let polling = kick_off_many(&system).await;
        // A quorum queue may take a few more than it should.
        let taken = waiting(broker, &system).await;
        assert!((1..JOBS as u64).contains(&taken), "{taken} of {JOBS} messages were taken");
        for polling in &polling {
            assert_eq!(system.get(polling).await.status(), StatusCode::ACCEPTED, "each is on record");
        }
        system.start_worker().await;
        all_complete(&system, &polling).await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_short_of_memory_delays_jobs_and_loses_none() {
    let broker = &OwnServer::start(Kind::RabbitMq).await;
    with_settings(&small_list(), on(broker.url()), |system| async move {
        // So that the connections are there before the alarm.
        system.export("/Group/g/$export").await;
        broker.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
        system.stop_workers().await;
        let polling = kick_off_many(&system).await;
        assert_eq!(waiting(broker, &system).await, 0, "the broker takes nothing");
        broker.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]).await;
        system.start_worker().await;
        all_complete(&system, &polling).await;
    })
    .await;
}
