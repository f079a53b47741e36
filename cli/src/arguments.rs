//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Export of Da Vinci ATR attribution lists. Without a command: `up`.
#[derive(Debug, Parser)]
#[command(name = "atr", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; `up` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The arguments of `up`.
    #[command(flatten)]
    pub up: UpArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole system in this process and export a list from it
    Up(UpArguments),
    /// Load FHIR resources into PostgreSQL
    Load(LoadArguments),
    /// Write sample attribution lists as NDJSON
    Generate(GenerateArguments),
    /// Export a list from a running server and download its files
    Export(ExportArguments),
}

/// Arguments of `atr up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    /// Leave after the export instead of serving until Ctrl-C
    #[arg(long)]
    pub once: bool,
    /// Address of the API; by default 127.0.0.1:8080, or a free port when that one is taken
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Data to serve instead of a generated sample: file:DIR or postgres://…
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// The list to export; by default the sample, or the largest one of the source
    #[arg(long, value_name = "ID")]
    pub list: Option<String>,
    /// Folder for the sample, the store and the downloaded files
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Members of the generated sample
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub members: u64,
}

/// Arguments of `atr load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// The database: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    pub source: String,
    /// A base URL with which the data refers to its own resources; may be repeated
    #[arg(long = "own-url", value_name = "URL")]
    pub own_urls: Vec<String>,
    /// Folders, and files of NDJSON, of single JSON resources or of Bundles
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Arguments of `atr generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// Members of the list
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub members: u64,
    /// What everything is drawn from; the same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The folder to write: new, empty, or from an earlier run
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Id of the list's Group
    #[arg(long, value_name = "ID")]
    pub list: Option<String>,
}

/// Arguments of `atr export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The FHIR base of the server
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Id of the list's Group
    #[arg(long, value_name = "ID")]
    pub list: String,
    /// The folder for the files; it is made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these types, separated by commas
    #[arg(long = "type", value_name = "TYPES")]
    pub types: Option<String>,
    /// Only what changed after this instant
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
}
