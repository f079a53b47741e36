//! The tests of the system: contract suites that every adapter of a port passes, and stories over real HTTP.
//!
//! `tests/run` is the command. Redis, RabbitMQ and PostgreSQL are real; each test has a namespace of its own in them and
//! leaves nothing behind.

mod contract;
mod faults;
mod harness;
mod house;
mod oracle;
mod simulation;
mod snapshot;
mod stories;
