//! The port to the task queue: it says "go and look at this task", at least once, to one worker at a time.
//!
//! A message that is lost is published again by the janitor, and one that comes twice does no harm (design §4.1), so the
//! queue owes only this: what it confirmed it keeps, and what is not acknowledged comes back.

pub mod memory;
pub mod rabbitmq;

use std::sync::Arc;

use async_trait::async_trait;

use crate::export::{Lane, TaskMessage};
use crate::fault::Fault;

/// A queue for each lane, with workers of its own, so that what is soon done waits for nothing else (decision 0018).
#[derive(Clone)]
pub struct Lanes {
    /// For tasks of a moment.
    pub express: Arc<dyn TaskQueue>,
    /// For the rest.
    pub bulk: Arc<dyn TaskQueue>,
}

impl Lanes {
    /// The queue of a lane.
    #[must_use]
    pub fn of(&self, lane: Lane) -> &dyn TaskQueue {
        match lane {
            Lane::Express => &*self.express,
            Lane::Bulk => &*self.bulk,
        }
    }
}

/// A queue of tasks and its dead letters.
#[async_trait]
pub trait TaskQueue: Send + Sync + 'static {
    /// Publishes a message. When it succeeds the queue keeps the message through a restart of its own.
    ///
    /// Fails with `Unavailable` when the queue did not confirm in time (it may have the message all the same), with `Busy`
    /// when it is full.
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault>;

    /// Takes up work: at most `permits` deliveries are unsettled at a time, 1 or more.
    ///
    /// The deliveries go on over restarts of the queue and end only when they are dropped, which hands back what is
    /// unsettled.
    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault>;

    /// How many messages wait for a worker, and how many are dead letters.
    async fn depth(&self) -> Result<Depth, Fault>;

    /// Succeeds when messages can be published.
    async fn ready(&self) -> Result<(), Fault>;
}

/// A worker's share of a queue.
#[async_trait]
pub trait Deliveries: Send {
    /// The next delivery, when there is one: waits without end. Dropping the future loses nothing.
    ///
    /// A message that cannot be read becomes a dead letter, is logged, and is not delivered.
    async fn next(&mut self) -> Box<dyn Delivery>;

    /// Takes no more: what is not in hand yet is for others, at once, and [`Deliveries::next`] delivers nothing from now on.
    /// What is in hand can be settled as before.
    async fn stop(&mut self);
}

/// One message in the hands of one worker; dropping it unsettled hands it back.
#[async_trait]
pub trait Delivery: Send {
    /// What it says.
    fn message(&self) -> &TaskMessage;

    /// The task is dealt with: the queue forgets the message. Fails when the queue has taken the message back meanwhile;
    /// then somebody else has it or will get it, which does no harm.
    async fn ack(self: Box<Self>) -> Result<(), Fault>;

    /// The task is to be dealt with by somebody else, at once.
    async fn hand_back(self: Box<Self>) -> Result<(), Fault>;

    /// The task cannot be done: the message goes to the dead letters, for an operator to see.
    async fn bury(self: Box<Self>) -> Result<(), Fault>;
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that no worker has.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}
