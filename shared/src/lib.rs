//! What the two services share: the vocabulary, the ports, and the adapters behind them.
//!
//! Read [`fhir`] and [`export`] for the words, then the ports [`jobs`], [`queue`], [`outputs`], [`source`] and [`access`];
//! [`platform`] is the only file that chooses adapters. Arrows: adapters → ports → `export`, `fhir`.

pub mod access;
pub mod admin;
pub mod clock;
pub mod dispatch;
pub mod export;
pub mod fault;
pub mod fhir;
pub mod gauges;
pub mod jobs;
pub mod measured;
pub mod metrics;
pub mod outputs;
pub mod platform;
pub mod probe;
pub mod queue;
pub mod redis_connection;
pub mod settings;
pub mod shutdown;
pub mod source;
pub mod telemetry;
pub mod token_client;
pub mod watched;
pub mod wire;
