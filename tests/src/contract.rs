//! One suite for each port, run against every adapter: a test for each sentence of the port's text.

mod jobs;
mod outputs;
mod queue;
mod source;
mod tokens;
