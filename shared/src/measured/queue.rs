//! The task queue, measured. How long a worker waits for a delivery says nothing of the queue and is not measured.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Calls, Measured};
use crate::export::TaskMessage;
use crate::fault::Fault;
use crate::queue::{Deliveries, Delivery, Depth, TaskQueue};

#[async_trait]
impl TaskQueue for Measured<Arc<dyn TaskQueue>> {
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        self.calls.of("publish", self.port.publish(message)).await
    }
    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault> {
        let deliveries = self.calls.of("deliveries", self.port.deliveries(permits)).await?;
        Ok(Box::new(MeasuredDeliveries { deliveries, calls: self.calls.clone() }))
    }
    async fn depth(&self) -> Result<Depth, Fault> {
        self.calls.of("depth", self.port.depth()).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.calls.of("ready", self.port.ready()).await
    }
}

struct MeasuredDeliveries {
    deliveries: Box<dyn Deliveries>,
    calls: Calls,
}

#[async_trait]
impl Deliveries for MeasuredDeliveries {
    async fn next(&mut self) -> Box<dyn Delivery> {
        let delivery = self.deliveries.next().await;
        Box::new(MeasuredDelivery { delivery, calls: self.calls.clone() })
    }
    async fn stop(&mut self) {
        self.deliveries.stop().await;
    }
}

struct MeasuredDelivery {
    delivery: Box<dyn Delivery>,
    calls: Calls,
}

#[async_trait]
impl Delivery for MeasuredDelivery {
    fn message(&self) -> &TaskMessage {
        self.delivery.message()
    }
    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        self.calls.of("ack", self.delivery.ack()).await
    }
    async fn hand_back(self: Box<Self>) -> Result<(), Fault> {
        self.calls.of("hand_back", self.delivery.hand_back()).await
    }
    async fn bury(self: Box<Self>) -> Result<(), Fault> {
        self.calls.of("bury", self.delivery.bury()).await
    }
}
