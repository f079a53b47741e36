//! The parts that a system is made of, behind their ports.

use std::sync::Arc;

use crate::access::Authorizer;
use crate::clock::Clock;
use crate::jobs::JobStore;
use crate::outputs::OutputStore;
use crate::queue::TaskQueue;
use crate::source::ResourceSource;

/// One of each port.
#[derive(Clone)]
pub struct Platform {
    /// What there is to do and what is done.
    pub jobs: Arc<dyn JobStore>,
    /// Who is told to look.
    pub queue: Arc<dyn TaskQueue>,
    /// Where the payer's data is.
    pub source: Arc<dyn ResourceSource>,
    /// Where files go.
    pub outputs: Arc<dyn OutputStore>,
    /// Who may call.
    pub access: Arc<dyn Authorizer>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}
