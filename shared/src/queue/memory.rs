//! The queue in the memory of one process: what the port means, in the fewest words, and what `atr up` runs on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;
use tracing::error;

use super::{Deliveries, Delivery, Depth, TaskQueue};
use crate::export::TaskMessage;
use crate::fault::{Fault, FaultKind};

/// A queue that lives and dies with its process. Clones are the same queue.
#[derive(Clone, Default)]
pub struct MemoryQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told to everybody who waits, whenever a message or a permit may have become free.
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<TaskMessage>,
    dead: Vec<TaskMessage>,
    /// By the number of the delivery, so that what is handed back keeps its order.
    unsettled: BTreeMap<u64, Unsettled>,
    numbers: u64,
}

struct Unsettled {
    worker: u64,
    message: TaskMessage,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The dead letters, oldest first.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<TaskMessage> {
        self.state().dead.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Changes the state and tells everybody who waits.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.0.changed.notify_waiters();
        result
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The next readable message for `worker`, unless it has `permits` of them in hand.
    fn take(&mut self, worker: u64, permits: u16) -> Option<(u64, TaskMessage)> {
        let in_hand = self.unsettled.values().filter(|unsettled| unsettled.worker == worker).count();
        if in_hand >= usize::from(permits) {
            return None;
        }
        while let Some(message) = self.waiting.pop_front() {
            if message.version != TaskMessage::VERSION {
                error!(version = message.version, "buried a message of a version that this build cannot read");
                self.dead.push(message);
                continue;
            }
            let number = self.number();
            self.unsettled.insert(number, Unsettled { worker, message: message.clone() });
            return Some((number, message));
        }
        None
    }

    /// Puts a worker's unsettled messages back where they came from: in front, in their order.
    fn hand_back_all(&mut self, worker: u64) {
        let numbers: Vec<u64> =
            self.unsettled.iter().filter(|(_, it)| it.worker == worker).map(|(no, _)| *no).collect();
        for number in numbers.into_iter().rev() {
            self.hand_back(number);
        }
    }

    /// Whether there was anything to hand back.
    fn hand_back(&mut self, number: u64) -> bool {
        let Some(unsettled) = self.unsettled.remove(&number) else { return false };
        self.waiting.push_front(unsettled.message);
        true
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        self.change(|state| state.waiting.push_back(message.clone()));
        Ok(())
    }

    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault> {
        if permits == 0 {
            return Err(Fault::new(FaultKind::Invalid, "failed to take up work: it needs at least one permit"));
        }
        let worker = self.state().number();
        Ok(Box::new(MemoryDeliveries { queue: self.clone(), worker, permits }))
    }

    async fn depth(&self) -> Result<Depth, Fault> {
        let state = self.state();
        Ok(Depth { waiting: state.waiting.len() as u64, dead: state.dead.len() as u64 })
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

struct MemoryDeliveries {
    queue: MemoryQueue,
    worker: u64,
    permits: u16,
}

#[async_trait]
impl Deliveries for MemoryDeliveries {
    async fn next(&mut self) -> Box<dyn Delivery> {
        loop {
            // Asked for before the look, so that a change between the look and the wait still wakes this one.
            let changed = self.queue.0.changed.notified();
            let taken = self.queue.state().take(self.worker, self.permits);
            if let Some((number, message)) = taken {
                return Box::new(MemoryDelivery { queue: self.queue.clone(), number, message });
            }
            changed.await;
        }
    }

    async fn stop(&mut self) {
        self.permits = 0;
    }
}

impl Drop for MemoryDeliveries {
    fn drop(&mut self) {
        self.queue.change(|state| state.hand_back_all(self.worker));
    }
}

struct MemoryDelivery {
    queue: MemoryQueue,
    number: u64,
    message: TaskMessage,
}

impl MemoryDelivery {
    /// Settles the message in one step, if the queue has not taken it back.
    fn settle(&self, settle: impl FnOnce(&mut State, TaskMessage)) -> Result<(), Fault> {
        self.queue.change(|state| match state.unsettled.remove(&self.number) {
            Some(unsettled) => {
                settle(state, unsettled.message);
                Ok(())
            }
            None => Err(Fault::new(
                FaultKind::Conflict,
                format!("failed to settle the message of task {}: the queue has taken it back", self.message.task()),
            )),
        })
    }
}

#[async_trait]
impl Delivery for MemoryDelivery {
    fn message(&self) -> &TaskMessage {
        &self.message
    }

    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        self.settle(|_, _| {})
    }

    async fn hand_back(self: Box<Self>) -> Result<(), Fault> {
        self.settle(|state, message| state.waiting.push_front(message))
    }

    async fn bury(self: Box<Self>) -> Result<(), Fault> {
        self.settle(|state, message| state.dead.push(message))
    }
}

impl Drop for MemoryDelivery {
    fn drop(&mut self) {
        // A settled one is no longer there; only a real hand-back wakes the others.
        let came_back = self.queue.state().hand_back(self.number);
        if came_back {
            self.queue.0.changed.notify_waiters();
        }
    }
}
