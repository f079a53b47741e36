//! The contract of the port `queue`: a test for each sentence of its text, for both adapters; then, in `rabbitmq.rs`, what
//! only a queue at the other end of a wire can get wrong.

mod rabbitmq;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shared::export::{JobId, TaskMessage, TaskNo, TaskRef};
use shared::fault::FaultKind;
use shared::queue::{Deliveries, Delivery, Depth, TaskQueue};
use tokio::time::{sleep, timeout};

/// Makes each test a test of both adapters.
macro_rules! contract {
    ($($test:ident)*) => {
        mod in_memory {
            use std::sync::Arc;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(Arc::new(shared::queue::memory::MemoryQueue::new())).await;
                }
            )*
        }

        mod in_rabbitmq {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::rabbitmq::with_queue(|queue| super::$test(queue)).await;
                }
            )*
        }
    };
}

contract! {
    what_is_published_is_delivered
    at_most_permits_deliveries_are_unsettled_at_a_time
    work_is_not_taken_up_without_a_permit
    a_message_is_with_one_worker_at_a_time
    the_next_delivery_is_waited_for
    dropping_the_wait_for_the_next_delivery_loses_nothing
    dropping_the_deliveries_hands_back_what_is_unsettled
    whoever_stops_takes_no_more_and_settles_what_is_in_hand
    a_message_that_cannot_be_read_becomes_a_dead_letter_and_is_not_delivered
    a_delivery_that_is_dropped_unsettled_is_handed_back
    an_unsettled_delivery_comes_back_when_its_worker_is_gone
    an_acknowledged_message_is_forgotten
    an_acknowledgement_fails_when_the_queue_has_taken_the_message_back
    a_message_that_is_handed_back_is_delivered_again_at_once
    a_buried_message_becomes_a_dead_letter
    the_depth_counts_what_no_worker_has_and_the_dead_letters
    a_queue_that_takes_messages_is_ready
}

async fn what_is_published_is_delivered(queue: Arc<dyn TaskQueue>) {
    let mut message = message(7);
    message.trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    queue.publish(&message).await.unwrap();
    let mut deliveries = queue.deliveries(1).await.unwrap();
    assert_eq!(next(&mut *deliveries).await.message(), &message);
}

async fn at_most_permits_deliveries_are_unsettled_at_a_time(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..3).await;
    let mut deliveries = queue.deliveries(2).await.unwrap();
    let first = next(&mut *deliveries).await;
    let _second = next(&mut *deliveries).await;
    none(&mut *deliveries).await;
    first.ack().await.unwrap();
    next(&mut *deliveries).await;
}

async fn work_is_not_taken_up_without_a_permit(queue: Arc<dyn TaskQueue>) {
    let fault = queue.deliveries(0).await.err().expect("no permit");
    assert_eq!(fault.kind(), FaultKind::Invalid);
}

async fn a_message_is_with_one_worker_at_a_time(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..20).await;
    let mut one = queue.deliveries(10).await.unwrap();
    let mut other = queue.deliveries(10).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        let delivery = soon(async {
            tokio::select! { it = one.next() => it, it = other.next() => it }
        })
        .await;
        held.push(delivery);
    }
    let tasks: HashSet<_> = held.iter().map(|delivery| delivery.message().task()).collect();
    assert_eq!(tasks.len(), 20);
}

async fn the_next_delivery_is_waited_for(queue: Arc<dyn TaskQueue>) {
    let mut deliveries = queue.deliveries(1).await.unwrap();
    none(&mut *deliveries).await;
    let waiting = tokio::spawn(async move { next(&mut *deliveries).await.message().task });
    sleep(Duration::from_millis(100)).await;
    publish(&*queue, 5..6).await;
    assert_eq!(waiting.await.unwrap(), TaskNo(5));
}

async fn dropping_the_wait_for_the_next_delivery_loses_nothing(queue: Arc<dyn TaskQueue>) {
    let mut deliveries = queue.deliveries(3).await.unwrap();
    let publishing = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { publish(&*queue, 0..50).await })
    };
    let mut tasks = HashSet::new();
    soon(async {
        while tasks.len() < 50 {
            // Far shorter than it takes to open a connection or to hand a message over.
            if let Ok(delivery) = timeout(Duration::from_micros(300), deliveries.next()).await {
                assert!(tasks.insert(delivery.message().task), "delivered twice");
                delivery.ack().await.unwrap();
            }
        }
    })
    .await;
    publishing.await.unwrap();
    until_depth(&*queue, 0, 0).await;
}

async fn dropping_the_deliveries_hands_back_what_is_unsettled(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..3).await;
    let mut deliveries = queue.deliveries(2).await.unwrap();
    let _held = next(&mut *deliveries).await;
    drop(deliveries);
    until_depth(&*queue, 3, 0).await;
    let mut others = queue.deliveries(3).await.unwrap();
    assert_eq!(tasks(&mut *others, 3).await, HashSet::from([TaskNo(0), TaskNo(1), TaskNo(2)]));
}

async fn whoever_stops_takes_no_more_and_settles_what_is_in_hand(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..4).await;
    // It has a permit for two, has asked for one, and the queue may have sent it the other.
    let mut stopping = queue.deliveries(2).await.unwrap();
    let in_hand = next(&mut *stopping).await;
    stopping.stop().await;
    in_hand.ack().await.unwrap();
    none(&mut *stopping).await;
    let mut others = queue.deliveries(4).await.unwrap();
    let mut tasks = HashSet::new();
    for _ in 0..3 {
        let delivery = next(&mut *others).await;
        tasks.insert(delivery.message().task);
        delivery.ack().await.unwrap();
    }
    assert_eq!(tasks, HashSet::from([1, 2, 3].map(TaskNo)));
    none(&mut *others).await;
}

async fn a_message_that_cannot_be_read_becomes_a_dead_letter_and_is_not_delivered(queue: Arc<dyn TaskQueue>) {
    let unreadable = TaskMessage { version: TaskMessage::VERSION + 1, ..message(0) };
    queue.publish(&unreadable).await.unwrap();
    publish(&*queue, 1..2).await;
    // With one permit, so that the unreadable one must have been settled before the other can come.
    let mut deliveries = queue.deliveries(1).await.unwrap();
    let delivery = next(&mut *deliveries).await;
    assert_eq!(delivery.message().task, TaskNo(1));
    delivery.ack().await.unwrap();
    until_depth(&*queue, 0, 1).await;
}

async fn a_delivery_that_is_dropped_unsettled_is_handed_back(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 4..5).await;
    let mut deliveries = queue.deliveries(1).await.unwrap();
    drop(next(&mut *deliveries).await);
    assert_eq!(next(&mut *deliveries).await.message().task, TaskNo(4));
}

async fn an_unsettled_delivery_comes_back_when_its_worker_is_gone(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 4..5).await;
    let mut deliveries = queue.deliveries(1).await.unwrap();
    let worker = tokio::spawn(async move {
        let _held = next(&mut *deliveries).await;
        panic!("the worker dies with a delivery in its hands");
    });
    assert!(worker.await.is_err());
    let mut others = queue.deliveries(1).await.unwrap();
    assert_eq!(next(&mut *others).await.message().task, TaskNo(4));
}

async fn an_acknowledged_message_is_forgotten(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..1).await;
    let mut deliveries = queue.deliveries(1).await.unwrap();
    next(&mut *deliveries).await.ack().await.unwrap();
    drop(deliveries);
    until_depth(&*queue, 0, 0).await;
    none(&mut *queue.deliveries(1).await.unwrap()).await;
}

async fn an_acknowledgement_fails_when_the_queue_has_taken_the_message_back(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..3).await;
    let mut deliveries = queue.deliveries(3).await.unwrap();
    let (one, two, three) = (next(&mut *deliveries).await, next(&mut *deliveries).await, next(&mut *deliveries).await);
    drop(deliveries);
    until_depth(&*queue, 3, 0).await;
    assert_eq!(one.ack().await.unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(two.hand_back().await.unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(three.bury().await.unwrap_err().kind(), FaultKind::Conflict);
    until_depth(&*queue, 3, 0).await;
}

async fn a_message_that_is_handed_back_is_delivered_again_at_once(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..1).await;
    let mut one = queue.deliveries(1).await.unwrap();
    let delivery = next(&mut *one).await;
    let mut other = queue.deliveries(1).await.unwrap();
    none(&mut *other).await;
    delivery.hand_back().await.unwrap();
    soon(async {
        tokio::select! { it = one.next() => it, it = other.next() => it }
    })
    .await;
}

async fn a_buried_message_becomes_a_dead_letter(queue: Arc<dyn TaskQueue>) {
    publish(&*queue, 0..1).await;
    let mut deliveries = queue.deliveries(1).await.unwrap();
    next(&mut *deliveries).await.bury().await.unwrap();
    until_depth(&*queue, 0, 1).await;
    none(&mut *deliveries).await;
}

async fn the_depth_counts_what_no_worker_has_and_the_dead_letters(queue: Arc<dyn TaskQueue>) {
    assert_eq!(queue.depth().await.unwrap(), Depth { waiting: 0, dead: 0 });
    publish(&*queue, 0..5).await;
    assert_eq!(queue.depth().await.unwrap(), Depth { waiting: 5, dead: 0 });
    let mut deliveries = queue.deliveries(2).await.unwrap();
    let buried = next(&mut *deliveries).await;
    let _held = next(&mut *deliveries).await;
    until_depth(&*queue, 3, 0).await;
    drop(deliveries);
    until_depth(&*queue, 5, 0).await;
    drop(buried);

    let mut deliveries = queue.deliveries(1).await.unwrap();
    next(&mut *deliveries).await.bury().await.unwrap();
    drop(deliveries);
    until_depth(&*queue, 4, 1).await;
}

async fn a_queue_that_takes_messages_is_ready(queue: Arc<dyn TaskQueue>) {
    queue.ready().await.unwrap();
    publish(&*queue, 0..1).await;
    queue.ready().await.unwrap();
}

fn message(task: u32) -> TaskMessage {
    TaskMessage::new(TaskRef { job: JobId::random(), task: TaskNo(task) }, None)
}

async fn publish(queue: &dyn TaskQueue, tasks: std::ops::Range<u32>) {
    for task in tasks {
        queue.publish(&message(task)).await.unwrap();
    }
}

async fn next(deliveries: &mut dyn Deliveries) -> Box<dyn Delivery> {
    soon(deliveries.next()).await
}

/// Takes deliveries, holds them all until there are `count`, and says which tasks they are about.
async fn tasks(deliveries: &mut dyn Deliveries, count: usize) -> HashSet<TaskNo> {
    let mut held = Vec::new();
    while held.len() < count {
        held.push(next(deliveries).await);
    }
    held.iter().map(|delivery| delivery.message().task).collect()
}

/// Sees that there is no delivery now. It cannot see that there will never be one.
async fn none(deliveries: &mut dyn Deliveries) {
    let delivery = timeout(Duration::from_millis(300), deliveries.next()).await.ok();
    assert_eq!(delivery.map(|delivery| delivery.message().clone()), None);
}

/// Waits for what must happen; how long it takes says nothing on a busy machine.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

async fn until_depth(queue: &dyn TaskQueue, waiting: u64, dead: u64) {
    let expected = Depth { waiting, dead };
    let mut last = None;
    let reached = timeout(Duration::from_secs(30), async {
        loop {
            last = queue.depth().await.ok();
            if last == Some(expected) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(reached.is_ok(), "expected {expected:?}, the last was {last:?}");
}
