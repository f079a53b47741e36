//! The queue in RabbitMQ (3.10 and later): a durable quorum queue and its dead letters.
//!
//! Read `link.rs` (one connection with one channel, and why its socket can be cut), then `publisher.rs` and `consumer.rs`.
//! Nothing is connected before it is needed: a broker that is down at the start, or goes away later, fails calls and
//! ends nothing. lapin's own recovery stays off: it does not bring back a channel that the broker closed, so a loop of our
//! own is needed anyway, and two that do the same thing are one too many.

mod consumer;
mod link;
mod publisher;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Deliveries, Depth, TaskQueue};
use crate::export::{Lane, TaskMessage};
use crate::fault::{Fault, FaultKind};
use consumer::RabbitDeliveries;
use link::Broker;
use publisher::Publisher;

/// Where the broker is and how long to wait for it.
#[derive(Clone)]
pub struct RabbitSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…` for TLS. Never shown: it may hold a password.
    pub url: String,
    /// What the names of the queues begin with: `{namespace}.{lane}.v1`, at most 128 bytes.
    pub namespace: String,
    /// The lane that it is for; each has a queue and dead letters of its own.
    pub lane: Lane,
    /// How long a publish may take, from the call to the broker's confirmation; and every other question to the broker.
    pub confirm_timeout: Duration,
    /// How long it may take to connect, to log in and to declare the queues.
    pub connect_timeout: Duration,
    /// A broker that is silent for twice as long counts as gone. It also sets the pace of its own check of us.
    pub heartbeat_seconds: u16,
}

/// What the queue of a lane is called in a namespace, and the queue of its dead letters.
#[must_use]
pub fn queue_names(namespace: &str, lane: Lane) -> [String; 2] {
    let lane = lane.name();
    [format!("{namespace}.{lane}.v1"), format!("{namespace}.{lane}.dead.v1")]
}

/// The queue in RabbitMQ: one connection to publish, and one for each set of deliveries.
pub struct RabbitQueue {
    broker: Arc<Broker>,
    publisher: Publisher,
}

impl RabbitQueue {
    /// A queue that connects when it is first used, so that a service starts while its broker is down.
    ///
    /// Fails with `Invalid` when the URL or the namespace cannot be used.
    pub fn connect(settings: &RabbitSettings) -> Result<Self, Fault> {
        let broker = Arc::new(Broker::new(settings)?);
        Ok(Self { publisher: Publisher::new(Arc::clone(&broker)), broker })
    }

    /// Deletes both queues with all that is in them: for tests, and for retiring a tenant.
    ///
    /// The next call of anything else makes them again.
    pub async fn delete(&self) -> Result<(), Fault> {
        self.publisher.delete().await
    }
}

#[async_trait]
impl TaskQueue for RabbitQueue {
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        self.publisher.publish(message).await
    }

    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault> {
        if permits == 0 {
            // To AMQP a prefetch of 0 means "no limit".
            return Err(Fault::new(FaultKind::Invalid, "failed to take up work: it needs at least one permit"));
        }
        Ok(Box::new(RabbitDeliveries::new(Arc::clone(&self.broker), permits)))
    }

    async fn depth(&self) -> Result<Depth, Fault> {
        self.publisher.depth().await
    }

    async fn ready(&self) -> Result<(), Fault> {
        // To declare the queues asks the broker all that a publish needs, and writes nothing.
        self.publisher.depth().await.map(|_| ())
    }
}
