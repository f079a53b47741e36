//! Tokens in Redis, for all replicas of the API. Each verb is one command, and every key has an expiry.

use std::time::Duration;

use ::redis::{ExistenceCheck, SetExpiry, SetOptions};
use async_trait::async_trait;

use super::{Fingerprint, Grant, TokenStore};
use crate::fault::{Fault, FaultKind};
use crate::redis_connection::RedisConnection;

/// The store.
pub struct RedisTokens(RedisConnection);

impl RedisTokens {
    /// Tokens on this connection.
    #[must_use]
    pub fn new(connection: RedisConnection) -> Self {
        Self(connection)
    }

    fn key(&self, kind: &str, name: Fingerprint) -> String {
        format!("{}:{kind}:{name}", self.0.namespace())
    }
}

/// At least a millisecond: Redis refuses less.
fn expiry(life: Duration) -> SetExpiry {
    SetExpiry::PX(u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[async_trait]
impl TokenStore for RedisTokens {
    async fn use_once(&self, what: Fingerprint, life: Duration) -> Result<bool, Fault> {
        let options = SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(expiry(life));
        let mut commands = ::redis::pipe();
        commands.set_options(self.key("used", what), 1, options);
        let (set,): (Option<String>,) = self.0.send(&commands, "note the use of", "an assertion").await?;
        Ok(set.is_some())
    }

    async fn remember(&self, token: Fingerprint, grant: &Grant, life: Duration) -> Result<(), Fault> {
        let grant = serde_json::to_string(grant).expect("a grant is made of strings and a number");
        let options = SetOptions::default().with_expiration(expiry(life));
        let mut commands = ::redis::pipe();
        commands.set_options(self.key("token", token), grant, options).ignore();
        self.0.send(&commands, "remember", "an access token").await
    }

    async fn find(&self, token: Fingerprint) -> Result<Option<Grant>, Fault> {
        let mut commands = ::redis::pipe();
        commands.get(self.key("token", token));
        let (grant,): (Option<String>,) = self.0.send(&commands, "look up", "an access token").await?;
        let read = |grant: String| {
            serde_json::from_str(&grant)
                .map_err(|_| Fault::new(FaultKind::Corrupt, "failed to read what an access token stands for"))
        };
        grant.map(read).transpose()
    }
}
