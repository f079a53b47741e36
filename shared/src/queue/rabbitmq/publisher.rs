//! Publishing, and the other questions to the broker: one link, one question at a time.
//!
//! One at a time because lapin takes the number of a publish and sends its frames in two steps, so that two threads can swap
//! the confirmations of their messages, and because a returned message says only that one of those before it was not routed.
//! A publish takes a few milliseconds, a worker asks once and publishes twice at most for each task that it ends, and the
//! limit counts from the call, so that a silent broker holds all callers up for the same time and not one after the other.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Confirmation};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::link::{APP, Broker, Link, fault, no_answer, pause, within};
use crate::export::TaskMessage;
use crate::fault::{Fault, FaultKind};
use crate::queue::Depth;

pub(super) struct Publisher {
    broker: Arc<Broker>,
    current: Mutex<Current>,
}

/// The link that is used for the next question.
#[derive(Default)]
struct Current {
    link: Option<Link>,
    /// A question was put and its answer has not been read: no confirmation on this link means anything any more.
    in_doubt: bool,
    failures: u32,
    not_before: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, current: Mutex::default() }
    }

    pub(super) async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        let doing = format!("failed to publish task {}", message.task());
        let body = serde_json::to_vec(message)
            .map_err(|error| Fault::new(FaultKind::Invalid, doing.as_str()).because(error))?;
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(message.task().to_string().into())
            .with_app_id(APP.into());
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };

        let attempt = async {
            let mut current = self.current.lock().await;
            let link = current.link(&self.broker).await?;
            let tasks = self.broker.tasks.clone();
            let published = link.channel.basic_publish("".into(), tasks, mandatory, &body, properties).await;
            let confirmation = match published {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            let confirmation = confirmation.map_err(|error| fault(&doing, &error))?;
            // A message that was not routed leaves the doubt: the next link declares the queues again.
            current.in_doubt = matches!(confirmation, Confirmation::Ack(Some(_)));
            outcome(&confirmation).map_err(|(kind, reason)| Fault::new(kind, doing.as_str()).because(reason))
        };
        self.in_time(&doing, attempt).await
    }

    pub(super) async fn depth(&self) -> Result<Depth, Fault> {
        let doing = "failed to look at the queues";
        let attempt = async {
            let mut current = self.current.lock().await;
            let link = current.link(&self.broker).await?;
            let depth = self.broker.declare(&link.channel).await.map_err(|error| fault(doing, &error))?;
            current.in_doubt = false;
            Ok(depth)
        };
        self.in_time(doing, attempt).await
    }

    pub(super) async fn delete(&self) -> Result<(), Fault> {
        let doing = "failed to delete the queues";
        let attempt = async {
            let mut current = self.current.lock().await;
            let link = current.link(&self.broker).await?;
            // The doubt stays, so that the next link makes the queues again.
            for queue in [&self.broker.tasks, &self.broker.dead] {
                let deleted = link.channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await;
                deleted.map_err(|error| fault(doing, &error))?;
            }
            Ok(())
        };
        self.in_time(doing, attempt).await
    }

    /// Waits for an attempt, and for those before it, not longer than the limit.
    async fn in_time<T>(&self, doing: &str, attempt: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = self.broker.confirm_timeout;
        timeout(limit, attempt).await.unwrap_or_else(|_| Err(no_answer(doing, limit)))
    }
}

impl Current {
    /// A link that is open as far as this side knows, in doubt until the caller has read its answer.
    async fn link(&mut self, broker: &Broker) -> Result<&Link, Fault> {
        if self.link.as_ref().is_some_and(|link| link.is_open() && link.is_blocked()) {
            let doing = "failed to use the queue: the broker is short of memory or disk and takes no messages";
            return Err(Fault::new(FaultKind::Busy, doing));
        }
        if self.in_doubt || !self.link.as_ref().is_some_and(Link::is_open) {
            self.link = None;
            self.link = Some(self.open(broker).await?);
        }
        self.in_doubt = true;
        Ok(self.link.as_ref().expect("it was there or has just been opened"))
    }

    /// Opens a link, unless the last attempt failed a moment ago.
    async fn open(&mut self, broker: &Broker) -> Result<Link, Fault> {
        let doing = "failed to connect to the queue";
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Err(Fault::new(FaultKind::Unavailable, doing).because("it failed a moment ago"));
        }
        let opened = within(broker.connect_timeout, doing, async {
            let link = broker.link("publish").await?;
            link.channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(link)
        });
        match opened.await {
            Ok(link) => {
                self.failures = 0;
                Ok(link)
            }
            Err(fault) => {
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(Instant::now() + pause(self.failures));
                Err(fault)
            }
        }
    }
}

/// What the broker's answer to a mandatory publish means.
fn outcome(confirmation: &Confirmation) -> Result<(), (FaultKind, &'static str)> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err((FaultKind::Unavailable, "the task queue was gone")),
        Confirmation::Nack(_) => Err((FaultKind::Busy, "the queue is full")),
        Confirmation::NotRequested => Err((FaultKind::Invalid, "the channel is not in confirm mode")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_ack_is_a_success() {
        assert_eq!(outcome(&Confirmation::Ack(None)), Ok(()));
        assert_eq!(outcome(&Confirmation::Nack(None)).map_err(|(kind, _)| kind), Err(FaultKind::Busy));
        assert_eq!(outcome(&Confirmation::NotRequested).map_err(|(kind, _)| kind), Err(FaultKind::Invalid));
    }
}
