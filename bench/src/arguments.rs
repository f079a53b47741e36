//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures an export of a generated attribution list against the limit of the machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Arguments {
    /// A part that this program plays for itself
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Members of the list
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub members: u64,
    /// Workers that export it
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub workers: u16,
    /// Tasks that a worker works on at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub permits: u16,
    /// How often export and pipe are run, in turn; the best of each counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rounds: u32,
    /// Where to write all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the generated data is kept for the next run
    #[arg(long, value_name = "DIR", default_value = "bench-data")]
    pub data: PathBuf,
    /// PostgreSQL, in which the schema `bench_N` is made and kept for the next run
    #[arg(long, value_name = "URL", default_value = "postgres://postgres@127.0.0.1:5432/test")]
    pub postgres: String,
    /// Generate and load anew, into a schema of its own, and leave nothing in PostgreSQL and the folder of the data
    #[arg(long)]
    pub fresh: bool,
    /// Redis
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    pub redis: String,
    /// RabbitMQ
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub amqp: String,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plays a part of the system; its settings are in variables, as those of the part are
    #[command(hide = true)]
    Role {
        /// The part
        #[arg(value_enum)]
        role: Role,
    },
}

/// A part of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The API
    Api,
    /// A worker
    Worker,
    /// The object store
    Store,
}
