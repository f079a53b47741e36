//! Consuming: a link of its own, opened again for as long as somebody waits for deliveries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::link::{Broker, LONGEST_PAUSE, Link, no_answer, pause, within};
use crate::export::TaskMessage;
use crate::fault::{Fault, FaultKind};
use crate::queue::{Deliveries, Delivery};

/// A worker's share of the queue.
pub(super) struct RabbitDeliveries {
    broker: Arc<Broker>,
    permits: u16,
    state: State,
    /// Sessions in a row that were lost soon after they were opened.
    failures: u32,
}

enum State {
    /// Kept here and not in `next`, so that a caller who drops `next` again and again does not begin again each time.
    Opening(BoxFuture<'static, Box<Session>>),
    Open(Box<Session>),
    /// Nothing is taken any more. The session is kept, because what is in hand is settled on its link.
    Stopped {
        _session: Option<Box<Session>>,
    },
}

/// A consumer and the link that it lives on. Dropping it hands back what is unsettled.
struct Session {
    consumer: Consumer,
    link: Link,
    since: Instant,
}

impl RabbitDeliveries {
    pub(super) fn new(broker: Arc<Broker>, permits: u16) -> Self {
        let state = State::Opening(open_at_last(Arc::clone(&broker), permits, 0).boxed());
        Self { broker, permits, state, failures: 0 }
    }

    fn delivery(&self, channel: &Channel, message: TaskMessage, acker: Acker) -> RabbitDelivery {
        let limit = self.broker.confirm_timeout;
        RabbitDelivery { message, acker, channel: channel.clone(), permits: self.permits, limit }
    }
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self) -> Box<dyn Delivery> {
        loop {
            let session = match &mut self.state {
                State::Opening(opening) => {
                    self.state = State::Open(opening.await);
                    continue;
                }
                State::Open(session) => session,
                State::Stopped { .. } => std::future::pending().await,
            };
            // lapin takes a message off its list when it is ready, so that dropping this future loses none.
            let reason = match session.consumer.next().await {
                Some(Ok(Message { data, acker, .. })) => match read(&data) {
                    Ok(message) => {
                        let channel = session.link.channel.clone();
                        return Box::new(self.delivery(&channel, message, acker));
                    }
                    Err(reason) => {
                        error!(bytes = data.len(), "buried a message that cannot be read: {reason}");
                        begin(acker.nack(BasicNackOptions { requeue: false, multiple: false }));
                        continue;
                    }
                },
                Some(Err(error)) => error.to_string(),
                None => "the broker cancelled the consumer".to_owned(),
            };
            if session.since.elapsed() >= LONGEST_PAUSE {
                self.failures = 0;
            }
            if self.failures == 0 {
                warn!("lost the queue, will connect again: {reason}");
            } else {
                debug!("lost the queue again: {reason}");
            }
            self.failures = self.failures.saturating_add(1);
            self.state = State::Opening(open_at_last(Arc::clone(&self.broker), self.permits, self.failures).boxed());
        }
    }

    async fn stop(&mut self) {
        let State::Open(mut session) = std::mem::replace(&mut self.state, State::Stopped { _session: None }) else {
            return;
        };
        let cancel = session.link.channel.basic_cancel(session.consumer.tag(), BasicCancelOptions::default());
        match tokio::time::timeout(self.broker.confirm_timeout, cancel).await {
            // What had come and was not asked for goes back now, not when the last task in hand is done.
            Ok(Ok(())) => {
                while let Some(Some(Ok(Message { acker, .. }))) = session.consumer.next().now_or_never() {
                    begin(acker.nack(BasicNackOptions { requeue: true, multiple: false }));
                }
            }
            Ok(Err(error)) => info!("lost the queue while it was left: {error}"),
            Err(_) => warn!("the queue did not answer that it was left; what it has sent comes back in a while"),
        }
        self.state = State::Stopped { _session: Some(session) };
    }
}

/// Opens a session, however long it takes: a session that was lost is one failure to begin with.
async fn open_at_last(broker: Arc<Broker>, permits: u16, mut failures: u32) -> Box<Session> {
    loop {
        if failures > 0 {
            sleep(pause(failures)).await;
        }
        match open(&broker, permits).await {
            Ok(session) => {
                if failures > 0 {
                    info!("takes deliveries again");
                }
                return session;
            }
            // Once for an outage: a loss was a warning already.
            Err(fault) if failures == 0 => warn!("waits for the queue: {fault}"),
            Err(fault) => debug!("still waits for the queue: {fault}"),
        }
        failures = failures.saturating_add(1);
    }
}

async fn open(broker: &Broker, permits: u16) -> Result<Box<Session>, Fault> {
    within(broker.connect_timeout, "failed to take up work", async {
        let link = broker.link("consume").await?;
        link.channel.basic_qos(permits, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            link.channel.basic_consume(broker.tasks.clone(), "".into(), options, FieldTable::default()).await?;
        Ok(Box::new(Session { consumer, link, since: Instant::now() }))
    })
    .await
}

/// Reads a message; the reason of a failure holds nothing of its content.
fn read(data: &[u8]) -> Result<TaskMessage, String> {
    let message: TaskMessage = serde_json::from_slice(data)
        .map_err(|error| format!("{:?} error at column {}", error.classify(), error.column()))?;
    if message.version != TaskMessage::VERSION {
        return Err(format!("its version is {}", message.version));
    }
    Ok(message)
}

/// Lets lapin send what the future is about without waiting: it does so when the future is first polled.
fn begin<T>(sending: impl Future<Output = T>) {
    let _ = sending.now_or_never();
}

struct RabbitDelivery {
    message: TaskMessage,
    acker: Acker,
    channel: Channel,
    permits: u16,
    limit: Duration,
}

impl RabbitDelivery {
    /// Waits until the broker has seen the settlement `sent`.
    ///
    /// AMQP has no answer to an acknowledgement, and lapin is content when it is in the socket, even if the broker has
    /// long since given the message to somebody else. A channel is served in order, so an answer to a question behind
    /// the acknowledgement is one to both; the prefetch that is set already is the cheapest question there is.
    async fn settled(&self, sent: impl Future<Output = lapin::Result<bool>>) -> Result<(), Fault> {
        let doing = || format!("failed to settle the message of task {}", self.message.task());
        let settled = async {
            if !sent.await? {
                return Ok(false);
            }
            self.channel.basic_qos(self.permits, BasicQosOptions::default()).await?;
            Ok::<_, lapin::Error>(true)
        };
        let taken_back = || Err(Fault::new(FaultKind::Conflict, doing()).because("the queue has taken it back"));
        match tokio::time::timeout(self.limit, settled).await {
            Ok(Ok(true)) => Ok(()),
            // The channel is gone, and with it the right to settle: the broker has the message back.
            Ok(Ok(false)) => taken_back(),
            Ok(Err(error)) => Err(Fault::new(FaultKind::Conflict, doing()).because(error.to_string())),
            // A question that was put while the channel went is never answered, not even with an error.
            Err(_) if !self.channel.status().connected() => taken_back(),
            Err(_) => Err(no_answer(&doing(), self.limit)),
        }
    }
}

#[async_trait]
impl Delivery for RabbitDelivery {
    fn message(&self) -> &TaskMessage {
        &self.message
    }

    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        self.settled(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn hand_back(self: Box<Self>) -> Result<(), Fault> {
        self.settled(self.acker.nack(BasicNackOptions { requeue: true, multiple: false })).await
    }

    async fn bury(self: Box<Self>) -> Result<(), Fault> {
        self.settled(self.acker.nack(BasicNackOptions { requeue: false, multiple: false })).await
    }
}

impl Drop for RabbitDelivery {
    /// Does nothing when it is settled: lapin sends one settlement for each delivery.
    fn drop(&mut self) {
        begin(self.acker.nack(BasicNackOptions { requeue: true, multiple: false }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{JobId, TaskNo, TaskRef};

    #[test]
    fn a_message_that_cannot_be_read_is_described_without_its_content() {
        let good = TaskMessage::new(TaskRef { job: JobId::random(), task: TaskNo(3) }, None);
        let json = serde_json::to_string(&good).expect("a message is plain data");
        assert_eq!(read(json.as_bytes()), Ok(good));
        for bad in ["", "secret", "{\"version\":\"secret\"}", &json.replace("\"version\":1", "\"version\":2")] {
            let reason = read(bad.as_bytes()).expect_err("not a message");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
