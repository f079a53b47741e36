//! What tests stand on: the addresses of the servers and a name that nobody else uses.

pub mod certificate;
pub mod clients;
pub mod collector;
pub mod errors;
pub mod exported;
pub mod exposition;
pub mod faulty;
pub mod key_server;
pub mod member;
pub mod memory_outputs;
pub mod mischief;
pub mod paused_clock;
pub mod payer;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod servers;
pub mod signal;
pub mod site;
pub mod store;
pub mod system;
pub mod trace;
pub mod tripwire;
pub mod unstamped;

use std::env;

/// A namespace that no other test has, for keys, queues, schemas and objects: `t` and 32 hexadecimal digits.
pub fn namespace() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}

/// The URL of the Redis that the tests use.
pub fn redis_url() -> String {
    address("TEST_REDIS_URL", "redis://127.0.0.1:6379")
}

/// The URL of the RabbitMQ that the tests use.
pub fn amqp_url() -> String {
    address("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
}

/// The URL of the PostgreSQL that the tests use.
pub fn postgres_url() -> String {
    address("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/test")
}

fn address(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}
