//! What may happen to the parts of a system that runs, and what must come of it: nothing that a client could tell.
//!
//! Programs are processes, servers are real. After each fault the job completes, its files are those of an undisturbed
//! export, and nothing is left: no object, no upload, no message, no due entry (`harness/site.rs` looks).

mod named;
mod pauses;
mod random;
mod redelivery;
mod restarts;
mod steps;
mod stops;
mod store;
mod upgrade;
mod wires;
