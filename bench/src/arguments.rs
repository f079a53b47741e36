//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures exports of a generated attribution list. Without a command: one export against the limit of the machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What is measured instead
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What is exported, and where.
    #[command(flatten)]
    pub common: Common,
    /// Of the export against the limit.
    #[command(flatten)]
    pub limit: LimitArguments,
}

/// Of the export against the limit.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// How often export and pipe are run, in turn; the best of each counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Only export: the pipe would need as much room for its files once more
    #[arg(long)]
    pub without_pipe: bool,
    /// Who exports it.
    #[command(flatten)]
    pub workers: Workers,
}

/// Who exports.
#[derive(Clone, Copy, Debug, Args)]
pub struct Workers {
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Tasks that a worker works on at a time on the bulk lane
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub permits: u16,
}

/// What is exported, and where.
#[derive(Debug, Args)]
pub struct Common {
    /// Members of the list
    #[arg(long, global = true, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub members: u64,
    /// Where to write all figures as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the generated data is kept for the next run
    #[arg(long, global = true, value_name = "DIR", default_value = "bench-data")]
    pub data: PathBuf,
    /// PostgreSQL, in which the schema `bench_N` is made and kept for the next run
    #[arg(long, global = true, value_name = "URL", default_value = "postgres://postgres@127.0.0.1:5432/test")]
    pub postgres: String,
    /// Generate and load anew, into a schema of its own, and leave nothing in PostgreSQL and the folder of the data
    #[arg(long, global = true)]
    pub fresh: bool,
    /// Where the store keeps the files, on the disk instead of in memory; emptied by whoever does not want them any more
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// A setting of the system, without its `ATR_`; may be given several times
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// What the parts of the system log, to standard error
    #[arg(long, global = true, value_name = "FILTER", default_value = "error")]
    pub log: String,
    /// Redis
    #[arg(long, global = true, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    pub redis: String,
    /// RabbitMQ
    #[arg(long, global = true, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub amqp: String,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE, PAGE_IDS=500 for example")?;
    Ok((format!("ATR_{}", name.to_uppercase()), value.to_owned()))
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// More and more workers of one permit on each lane, with a source that is slow to answer: what scaling out gains where
    /// the machine is not the limit
    ScaleOut(ScaleOutArguments),
    /// Exports of ten members while a large one runs
    Fairness(FairnessArguments),
    /// Many jobs at the same moment
    Crowd(CrowdArguments),
    /// Clients that poll once a second
    Polling(PollingArguments),
    /// Exports from a FHIR server that takes a while for each request
    Fhir(FhirArguments),
    /// Plays a part of the system; its settings are in variables, as those of the part are
    #[command(hide = true)]
    Role {
        /// The part
        #[arg(value_enum)]
        role: Role,
    },
}

/// Of `scale-out`.
#[derive(Debug, Args)]
pub struct ScaleOutArguments {
    /// How many workers, one after the other; beyond ten the one line of the Group is the limit
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        default_value = "1,2,4,8",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub counts: Vec<u16>,
    /// By how much each answer of the source is late
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub delay_ms: u64,
    /// Resources that a worker reads at a time: few, so that the machine has little to do
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub page_ids: u32,
    /// Ids that a task takes
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub slice_ids: u64,
}

/// Of `fhir`.
#[derive(Debug, Args)]
pub struct FhirArguments {
    /// How many ids a request has, one after the other
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        default_value = "20,100,200,500",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub ids: Vec<u32>,
    /// How many requests are made at once, one after the other
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        default_value = "1,4,8,16",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub connections: Vec<u32>,
    /// How long the server takes for each request, besides its work
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub delay_ms: u64,
}

/// Of `fairness`.
#[derive(Debug, Args)]
pub struct FairnessArguments {
    /// Who exports them.
    #[command(flatten)]
    pub workers: Workers,
    /// How many large exports run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub large: u32,
    /// How many small exports are measured at most, one after the other
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub small: u32,
}

/// Of `crowd`.
#[derive(Debug, Args)]
pub struct CrowdArguments {
    /// Who exports them.
    #[command(flatten)]
    pub workers: Workers,
    /// How many jobs; the store holds their files in memory, about 5 kB for each member of each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,
}

/// Of `polling`.
#[derive(Debug, Args)]
pub struct PollingArguments {
    /// How many clients, each with a job
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
    /// How often each polls, and so for how many seconds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub polls: u32,
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
