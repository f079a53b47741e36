//! What only a queue at the other end of a wire can get wrong: each is a trap that lapin or RabbitMQ sets (parts §2.1).

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use shared::export::{Lane, TaskNo};
use shared::fault::FaultKind;
use shared::queue::TaskQueue;
use shared::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use tokio::time::sleep;

use super::{message, next, publish, soon, until_depth};
use crate::harness::proxy::{Proxy, Wire};
use crate::harness::{amqp_url, namespace};

fn settings(url: String, namespace: &str) -> RabbitSettings {
    RabbitSettings {
        url,
        namespace: namespace.to_owned(),
        lane: Lane::Bulk,
        confirm_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        heartbeat_seconds: 10,
    }
}

/// Runs a test with a queue of its own, which is deleted afterwards, also when the test fails.
pub async fn with_queue<F: Future<Output = ()>>(test: impl FnOnce(Arc<dyn TaskQueue>) -> F) {
    let queue = Arc::new(RabbitQueue::connect(&settings(amqp_url(), &namespace())).unwrap());
    let result = AssertUnwindSafe(test(Arc::clone(&queue) as Arc<dyn TaskQueue>)).catch_unwind().await;
    queue.delete().await.unwrap();
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

/// A queue behind a proxy, with short limits, and what a test needs to act behind its back.
struct Bench {
    proxy: Proxy,
    queue: RabbitQueue,
    namespace: String,
}

impl Bench {
    fn tasks(&self) -> String {
        format!("{}.bulk.v1", self.namespace)
    }

    /// A connection to the broker that goes past the proxy and past the adapter.
    async fn behind_its_back(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Publishes until the broker takes it.
    async fn publish_at_last(&self, task: u32) {
        soon(async {
            while self.queue.publish(&message(task)).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

async fn with_bench(wire: Wire, test: impl AsyncFnOnce(&Bench)) {
    let proxy = Proxy::to(&amqp_url(), wire).await;
    let namespace = namespace();
    let settings = RabbitSettings {
        confirm_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(2),
        heartbeat_seconds: 2,
        ..settings(proxy.url(&amqp_url()), &namespace)
    };
    let bench = Bench { proxy, queue: RabbitQueue::connect(&settings).unwrap(), namespace };
    let result = AssertUnwindSafe(test(&bench)).catch_unwind().await;
    let (connection, channel) = bench.behind_its_back().await;
    for queue in ["bulk", "bulk.dead"] {
        let name = format!("{}.{queue}.v1", bench.namespace);
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }
    connection.close(200, "".into()).await.unwrap();
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_go_on_after_a_cut_and_the_unsettled_one_comes_back() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        let lost = next(&mut *deliveries).await;
        bench.proxy.cut();
        let again = next(&mut *deliveries).await;
        assert_eq!(again.message(), lost.message());
        assert_eq!(lost.ack().await.unwrap_err().kind(), FaultKind::Conflict);
        again.ack().await.unwrap();
        until_depth(&bench.queue, 0, 0).await;
        bench.publish_at_last(1).await;
        assert_eq!(next(&mut *deliveries).await.message().task, TaskNo(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_the_broker_did_not_see_is_not_a_success() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..2).await;
        let mut deliveries = bench.queue.deliveries(2).await.unwrap();
        let (held, cut) = (next(&mut *deliveries).await, next(&mut *deliveries).await);
        bench.proxy.set(Wire::BlackHole);
        let fault = soon(held.ack()).await.unwrap_err();
        assert!(matches!(fault.kind(), FaultKind::Unavailable | FaultKind::Conflict), "{fault}");
        // At once, before lapin can have noticed.
        bench.proxy.cut();
        let fault = soon(cut.ack()).await.unwrap_err();
        assert!(matches!(fault.kind(), FaultKind::Unavailable | FaultKind::Conflict), "{fault}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_wire_is_given_up_and_deliveries_go_on_when_it_is_back() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        let lost = next(&mut *deliveries).await;
        bench.proxy.set(Wire::BlackHole);
        // Past the heartbeat of 2 s on both sides and into the attempts to connect.
        assert!(tokio::time::timeout(Duration::from_secs(8), deliveries.next()).await.is_err());
        bench.proxy.set(Wire::Pass);
        assert_eq!(next(&mut *deliveries).await.message(), lost.message());
        assert_eq!(lost.ack().await.unwrap_err().kind(), FaultKind::Conflict);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_go_on_when_the_queue_is_deleted_under_them() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        let mut deliveries = bench.queue.deliveries(2).await.unwrap();
        next(&mut *deliveries).await.ack().await.unwrap();
        let (_connection, channel) = bench.behind_its_back().await;
        channel.queue_delete(bench.tasks().into(), QueueDeleteOptions::default()).await.unwrap();
        let consuming = tokio::spawn(async move { next(&mut *deliveries).await.message().task });
        bench.publish_at_last(1).await;
        assert_eq!(consuming.await.unwrap(), TaskNo(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_broker_closes_is_replaced() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        next(&mut *deliveries).await.ack().await.unwrap();
        // A queue of the name that has other arguments: each declaration is a channel error, until it is gone.
        let (_connection, channel) = bench.behind_its_back().await;
        channel.queue_delete(bench.tasks().into(), QueueDeleteOptions::default()).await.unwrap();
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(bench.tasks().into(), durable, FieldTable::default()).await.unwrap();
        assert_eq!(bench.queue.depth().await.unwrap_err().kind(), FaultKind::Invalid);
        channel.queue_delete(bench.tasks().into(), QueueDeleteOptions::default()).await.unwrap();
        bench.publish_at_last(5).await;
        assert_eq!(next(&mut *deliveries).await.message().task, TaskNo(5));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_not_confirmed_in_time_is_unavailable_and_the_next_one_works() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        bench.proxy.set(Wire::BlackHole);
        let publishes = (0..10).map(|task| async move { bench.queue.publish(&message(task)).await });
        for result in soon(futures_util::future::join_all(publishes)).await {
            assert_eq!(result.unwrap_err().kind(), FaultKind::Unavailable);
        }
        assert_eq!(soon(bench.queue.ready()).await.unwrap_err().kind(), FaultKind::Unavailable);
        bench.proxy.set(Wire::Pass);
        bench.publish_at_last(1).await;
        bench.queue.ready().await.unwrap();
    })
    .await;
}

/// Without waiting for the heartbeat: who is in doubt about a connection takes another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_fallen_silent_costs_one_publish() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        bench.proxy.silence();
        assert_eq!(soon(bench.queue.publish(&message(1))).await.unwrap_err().kind(), FaultKind::Unavailable);
        publish(&bench.queue, 2..3).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_wire_only_takes_longer() {
    with_bench(Wire::Delay(Duration::from_millis(20)), async |bench| {
        publish(&bench.queue, 0..3).await;
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        for task in 0..3 {
            let delivery = next(&mut *deliveries).await;
            assert_eq!(delivery.message().task, TaskNo(task));
            delivery.ack().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_the_start_is_used_when_it_is_up() {
    with_bench(Wire::Down, async |bench| {
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        let waiting = tokio::spawn(async move { next(&mut *deliveries).await.message().task });
        for _ in 0..3 {
            let fault = soon(bench.queue.publish(&message(0))).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Unavailable);
        }
        assert_eq!(soon(bench.queue.ready()).await.unwrap_err().kind(), FaultKind::Unavailable);
        bench.proxy.set(Wire::Pass);
        bench.publish_at_last(3).await;
        assert_eq!(waiting.await.unwrap(), TaskNo(3));
    })
    .await;
}

/// lapin has no deadline for the handshake and a thread for each connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_to_connect_to_a_silent_broker_leave_nothing_behind() {
    with_bench(Wire::BlackHole, async |bench| {
        for _ in 0..5 {
            let fault = soon(bench.queue.publish(&message(0))).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Unavailable);
        }
        soon(async {
            while io_threads() > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        bench.proxy.set(Wire::Pass);
        bench.publish_at_last(0).await;
        assert_eq!(io_threads(), 1);
    })
    .await;
}

/// The threads of lapin's connections in this process, which is this test's own under nextest.
fn io_threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // A thread may end while the list is read.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    });
    names.filter(|name| name.starts_with("lapin-io-loop")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_no_queue_takes_is_never_a_success() {
    with_bench(Wire::Pass, async |bench| {
        publish(&bench.queue, 0..1).await;
        let (_connection, channel) = bench.behind_its_back().await;
        channel.queue_delete(bench.tasks().into(), QueueDeleteOptions::default()).await.unwrap();
        let fault = bench.queue.publish(&message(1)).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
        publish(&bench.queue, 2..3).await;
        until_depth(&bench.queue, 1, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_even_json_becomes_a_dead_letter() {
    with_bench(Wire::Pass, async |bench| {
        bench.queue.ready().await.unwrap();
        let (_connection, channel) = bench.behind_its_back().await;
        for body in [&b"\xff\xfe"[..], b"", b"{}", b"[]"] {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            channel.basic_publish("".into(), bench.tasks().into(), options, body, properties).await.unwrap();
        }
        until_depth(&bench.queue, 4, 0).await;
        publish(&bench.queue, 1..2).await;
        let mut deliveries = bench.queue.deliveries(1).await.unwrap();
        let delivery = next(&mut *deliveries).await;
        assert_eq!(delivery.message().task, TaskNo(1));
        delivery.ack().await.unwrap();
        until_depth(&bench.queue, 0, 4).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_persistent_in_a_durable_quorum_queue() {
    with_bench(Wire::Pass, async |bench| {
        let message = message(9);
        bench.queue.publish(&message).await.unwrap();
        let (_connection, channel) = bench.behind_its_back().await;
        let got = channel.basic_get(bench.tasks().into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        assert_eq!(*got.properties.delivery_mode(), Some(2));
        assert_eq!(got.properties.content_type().as_ref().unwrap().as_str(), "application/json");
        assert_eq!(got.properties.message_id().as_ref().unwrap().as_str(), message.task().to_string());
        assert_eq!(serde_json::from_slice::<shared::export::TaskMessage>(&got.data).unwrap(), message);
        // The broker refuses a declaration that differs from the queue's own, so this pins what must not change in `v1`.
        let dead = format!("{}.bulk.dead.v1", bench.namespace);
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", "quorum"),
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", &dead),
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-overflow", "reject-publish"),
        ] {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(bench.tasks().into(), durable, arguments.clone()).await.unwrap();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        channel.queue_declare(bench.tasks().into(), durable, arguments).await.unwrap_err();
    })
    .await;
}

/// Each TLS library in this process wants a default provider, and rustls panics when it finds two (parts §2.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_speak_tls_is_unavailable() {
    let proxy = Proxy::to(&amqp_url(), Wire::Pass).await;
    let url = proxy.url(&amqp_url()).replace("amqp://", "amqps://");
    let queue = RabbitQueue::connect(&settings(url, &namespace())).unwrap();
    let fault = soon(queue.publish(&message(0))).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(fault.to_string().contains("InvalidContentType"), "{fault}");
}
