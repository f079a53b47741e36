//! The port to the authorizer: who is calling.

pub mod open;

use async_trait::async_trait;
use thiserror::Error;

use crate::export::ClientId;
use crate::fault::Fault;

/// The one who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client; its jobs are its own.
    pub client: ClientId,
}

/// Why a call is not let in.
#[derive(Debug, Error)]
pub enum Refusal {
    /// No token, or one that is not valid: 401. The text says what to send.
    #[error("{0}")]
    Unauthenticated(String),
    /// The authorizer could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Tells who is calling from the `Authorization` header.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The caller of a request with this `Authorization` header (`None` when there is none).
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal>;
}
