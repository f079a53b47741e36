//! Redis, as the adapters on it use it: one connection for all calls of an adapter, made anew when it is lost, and what an
//! error means to a caller of a port.

mod faults;

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, RedisResult, ScriptInvocation};

use self::faults::{fault, fault_of_call, is_refused_at_the_door};
use crate::fault::{Fault, FaultKind};

/// How long to wait for Redis.
#[derive(Clone, Copy, Debug)]
pub struct RedisSettings {
    /// For the answer to a command. A command that was not answered in time may still have been done.
    pub command_timeout: Duration,
    /// For a connection. A call that finds the connection lost waits for two tries at a new one.
    pub connect_timeout: Duration,
}

impl Default for RedisSettings {
    /// Two seconds each: longer than a fork for a snapshot holds the server up, shorter than a client's patience.
    fn default() -> Self {
        Self { command_timeout: Duration::from_secs(2), connect_timeout: Duration::from_secs(2) }
    }
}

/// A connection to Redis 6.2 or later, and the namespace that every key begins with.
#[derive(Clone)]
pub struct RedisConnection {
    client: Client,
    config: ConnectionManagerConfig,
    current: Arc<Mutex<Current>>,
    namespace: String,
}

/// The connection that is in use; the manager makes a new one by itself when it notices that this one is lost.
#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    /// How many there were before.
    number: u64,
}

impl RedisConnection {
    /// Connects to `redis://` or, over TLS, `rediss://`. Every key begins with the namespace and a colon.
    ///
    /// Fails with `Invalid` when the URL, the namespace or the password is wrong, with `Unavailable` when there is no
    /// server.
    pub async fn connect(url: &str, namespace: &str, settings: RedisSettings) -> Result<Self, Fault> {
        if namespace.contains(['{', '}']) {
            return Err(Fault::new(
                FaultKind::Invalid,
                "a namespace in Redis has no braces: they mark the slot of a key",
            ));
        }
        let doing = "failed to connect to redis";
        let address = url.into_connection_info().map_err(|error| fault(doing, &error))?;
        let client =
            Client::open(address.set_tcp_settings(tcp_settings(settings))).map_err(|error| fault(doing, &error))?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(settings.command_timeout))
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_number_of_retries(1);
        let connecting = ConnectionManager::new_with_config(client.clone(), config.clone());
        let manager = connecting.await.map_err(|error| fault(doing, &error))?;
        let current = Arc::new(Mutex::new(Current { manager, number: 0 }));
        Ok(Self { client, config, current, namespace: namespace.to_owned() })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Calls a script to `doing` something to `what`.
    pub async fn call<T>(&self, script: &ScriptInvocation<'_>, doing: &str, what: impl Display) -> Result<T, Fault>
    where
        T: FromRedisValue,
    {
        self.on_connection(async |manager| script.invoke_async(manager).await)
            .await
            .map_err(|error| fault_of_call(format!("failed to {doing} {what}"), &error))
    }

    /// Sends commands to `doing` something to `what`, all in one go.
    pub async fn send<T>(&self, commands: &Pipeline, doing: &str, what: impl Display) -> Result<T, Fault>
    where
        T: FromRedisValue,
    {
        self.on_connection(async |manager| commands.query_async(manager).await)
            .await
            .map_err(|error| fault_of_call(format!("failed to {doing} {what}"), &error))
    }

    /// Asks on the connection that is in use, and leaves it when there is no answer in time: it may have fallen silent for
    /// ever while the kernel at the other end, or something on the way, goes on to say that all is well.
    async fn on_connection<T>(
        &self,
        ask: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let Current { mut manager, number } = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = ask(&mut manager).await;
        if answer.as_ref().is_err_and(is_of_no_use_any_more) {
            self.replace(number)?;
        }
        answer
    }

    /// Puts a new connection in the place of the one with this number; of all who ask for it, the first does it.
    fn replace(&self, number: u64) -> RedisResult<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?;
            *current = Current { manager, number: number + 1 };
        }
        Ok(())
    }
}

/// Whether the manager would stay with a connection that nothing will come of: one that has not answered in time, or that could
/// not be made because the server refused the password, or what is said first on a connection. It tries again only after an
/// error of the network, and the password may be the right one again.
fn is_of_no_use_any_more(error: &RedisError) -> bool {
    error.is_timeout() || is_refused_at_the_door(error)
}

fn tcp_settings(settings: RedisSettings) -> TcpSettings {
    let tcp = TcpSettings::default().set_nodelay(true);
    // A server that goes without a word (its machine died) leaves a connection on which nothing ever arrives; the kernel
    // gives it up after this time, and a new one is made. Other systems wait for their own, longer time.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(settings.command_timeout + settings.connect_timeout);
    tcp
}
