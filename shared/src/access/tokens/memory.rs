//! Tokens in this process: the readable form of the contract, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Fingerprint, Grant, TokenStore};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::fhir::Instant;

/// The store.
pub struct MemoryTokens {
    clock: Arc<dyn Clock>,
    /// Each with the time at which it is forgotten.
    used: Mutex<HashMap<Fingerprint, Instant>>,
    grants: Mutex<HashMap<Fingerprint, (Instant, Grant)>>,
}

impl MemoryTokens {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, used: Mutex::default(), grants: Mutex::default() }
    }
}

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn use_once(&self, what: Fingerprint, life: Duration) -> Result<bool, Fault> {
        let now = self.clock.now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| now < *until);
        let is_new = !used.contains_key(&what);
        if is_new {
            used.insert(what, now + life);
        }
        Ok(is_new)
    }

    async fn remember(&self, token: Fingerprint, grant: &Grant, life: Duration) -> Result<(), Fault> {
        let now = self.clock.now();
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        grants.retain(|_, (until, _)| now < *until);
        grants.insert(token, (now + life, grant.clone()));
        Ok(())
    }

    async fn find(&self, token: Fingerprint) -> Result<Option<Grant>, Fault> {
        let now = self.clock.now();
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(grants.get(&token).filter(|(until, _)| now < *until).map(|(_, grant)| grant.clone()))
    }
}
