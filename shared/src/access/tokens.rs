//! The port to what the token server remembers, for all replicas of the API together: the access tokens that live, and
//! the assertions that were used.
//!
//! Read [`TokenStore`] for the contract and [`memory`] for its readable form.

pub mod memory;
pub mod redis;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::fhir::Instant;

/// What an access token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The client that it was given to.
    pub client_id: String,
    /// What was granted.
    pub scope: String,
    /// The keys that its client had then.
    pub keys_fingerprint: String,
    /// When it ends, in microseconds since 1970: the store may keep it a little longer.
    expires_at_micros: i64,
}

impl Grant {
    /// A grant until a time.
    #[must_use]
    pub fn new(client_id: &str, keys_fingerprint: &str, scope: String, expires_at: Instant) -> Self {
        Self {
            client_id: client_id.to_owned(),
            scope,
            keys_fingerprint: keys_fingerprint.to_owned(),
            expires_at_micros: expires_at.unix_micros(),
        }
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        Instant::from_unix_micros(self.expires_at_micros)
    }
}

/// The SHA-256 of texts that must not be stored themselves: whoever reads the store cannot use the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of some texts, in order.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of texts run together into the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Fingerprint {
    /// As 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the token server remembers.
///
/// Fails with `Unavailable` or `Busy` when it cannot be asked now, with `Corrupt` when what it holds cannot be read.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Notes the use of something that may be used once, for as long as `life`. Answers whether this was the first use;
    /// of any number of callers at the same time, one is told so.
    async fn use_once(&self, what: Fingerprint, life: Duration) -> Result<bool, Fault>;

    /// Remembers a token for as long as `life`.
    async fn remember(&self, token: Fingerprint, grant: &Grant, life: Duration) -> Result<(), Fault>;

    /// What a token stands for; `None` when it was never given, or is forgotten.
    async fn find(&self, token: Fingerprint) -> Result<Option<Grant>, Fault>;
}
