//! The pause in Redis: a key that lives for as long as the pause lasts, so that the clocks of the processes do not matter.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, pipe};

use super::SharedPause;
use crate::fault::Fault;
use crate::redis_connection::RedisConnection;

static EXTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("extend.lua")));

const WHAT: &str = "the pause of the payer's FHIR server";

/// The pause of one namespace.
pub struct RedisPause {
    redis: RedisConnection,
    key: String,
}

impl RedisPause {
    /// In this Redis.
    #[must_use]
    pub fn new(redis: RedisConnection) -> Self {
        let key = format!("{}:source:pause", redis.namespace());
        Self { redis, key }
    }
}

#[async_trait]
impl SharedPause for RedisPause {
    async fn rest(&self) -> Result<Duration, Fault> {
        let mut look = pipe();
        look.pttl(&self.key);
        // Negative when there is none.
        let (millis,): (i64,) = self.redis.send(&look, "look for", WHAT).await?;
        Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    async fn extend(&self, pause: Duration) -> Result<(), Fault> {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1);
        self.redis.call(EXTEND.key(&self.key).arg(millis), "extend", WHAT).await
    }
}
