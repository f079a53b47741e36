//! The tests of the system: contract suites that every adapter of a port passes, stories over real HTTP, faults of programs
//! and servers, snapshots beside writers, and a simulation of it all under a paused clock.
//!
//! `tests/run` is the command. Redis, RabbitMQ and PostgreSQL are real; each test has a namespace of its own in them and
//! leaves nothing behind.

mod contract;
mod deploy;
mod docs;
mod faults;
mod harness;
mod house;
mod oracle;
mod simulation;
mod snapshot;
mod stories;
