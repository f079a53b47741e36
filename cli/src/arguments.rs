//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Register clients: who may come, how they prove it, which lists they may see
    #[command(subcommand)]
    Client(ClientCommand),
}

/// What to do with the register of clients.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Register a client, and print what it needs
    Add(Box<AddClientArguments>),
    /// List the registered clients
    List(RegisterArguments),
    /// Take a client out: its tokens are refused as soon as the services have read the file again
    Remove(RemoveClientArguments),
}

/// The register.
#[derive(Debug, Args)]
pub struct RegisterArguments {
    /// The register of clients, which ATR_CLIENTS_FILE names for the services
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `atr client remove`.
#[derive(Debug, Args)]
pub struct RemoveClientArguments {
    /// The client's id
    #[arg(value_name = "ID")]
    pub client_id: String,
    /// The issuer of its tokens, when that is not this server
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    #[command(flatten)]
    pub register: RegisterArguments,
}

/// Arguments of `atr client add`.
#[derive(Debug, Args)]
pub struct AddClientArguments {
    /// The client's id, which is `iss` and `sub` of its assertions
    #[arg(value_name = "ID")]
    pub client_id: String,
    #[command(flatten)]
    pub register: RegisterArguments,
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// The most that it may be granted
    #[arg(long, value_name = "SCOPES", default_value = "system/*.read")]
    pub scope: String,
    /// Register it anew when it is registered already
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub lists: ListsArguments,
    #[command(flatten)]
    pub proof: ProofArguments,
    /// The FHIR base of the server, to print it for the client
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// The lists of a client.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ListsArguments {
    /// All lists, and exports that begin at none
    #[arg(long, conflicts_with_all = ["list", "npi", "tin", "identifier"])]
    pub all_lists: bool,
    /// The list of this id; may be repeated
    #[arg(long, value_name = "ID")]
    pub list: Vec<String>,
    /// The lists with this National Provider Identifier; may be repeated
    #[arg(long, value_name = "NUMBER")]
    pub npi: Vec<String>,
    /// The lists with this Tax Identification Number; may be repeated
    #[arg(long, value_name = "NUMBER")]
    pub tin: Vec<String>,
    /// The lists with this identifier; may be repeated
    #[arg(long, value_name = "SYSTEM|VALUE")]
    pub identifier: Vec<String>,
}

/// How a client proves who it is.
#[derive(Debug, Args)]
pub struct ProofArguments {
    /// Its public keys are at this https URL
    #[arg(long, value_name = "URL", group = "proof")]
    pub jwks_uri: Option<String>,
    /// Its public keys are in this file, a JSON Web Key Set
    #[arg(long, value_name = "FILE", group = "proof")]
    pub jwks: Option<PathBuf>,
    /// Make a key pair for it: the private key goes into this new file, for the client alone
    #[arg(long, value_name = "FILE", group = "proof")]
    pub new_key: Option<PathBuf>,
    /// What kind of key pair to make
    #[arg(long, value_enum, default_value_t = Algorithm::Es384, requires = "new_key")]
    pub algorithm: Algorithm,
    /// Its tokens are issued there, and not by this server
    #[arg(long, value_name = "URL", group = "proof")]
    pub issuer: Option<String>,
    /// Where the issuer's public keys are; needed when the issuer is not in the register yet
    #[arg(long, value_name = "URL", requires = "issuer")]
    pub issuer_jwks_uri: Option<String>,
    /// What the issuer's tokens say in aud; the FHIR base if not said
    #[arg(long, value_name = "TEXT", requires = "issuer_jwks_uri")]
    pub audience: Vec<String>,
    /// The claim of the issuer's tokens that names the client; client_id if not said
    #[arg(long, value_name = "NAME", requires = "issuer_jwks_uri")]
    pub client_claim: Option<String>,
}

/// A kind of key pair.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Algorithm {
    /// The curve P-384
    Es384,
    /// RSA of 3,072 bits
    Rs384,
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
    /// Serve to other machines too, if --listen says so, without asking anybody who they are
    #[arg(long)]
    pub open_to_everybody: bool,
    /// Data to serve instead of a generated sample: file:DIR, postgres://… or the base of a FHIR server, https://…
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
    /// The database: postgres://user:password@host:port/database. As a variable, others on the machine cannot see the password
    #[arg(long, value_name = "URL", env = "ATR_SOURCE_URL", hide_env_values = true)]
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
    /// Only these types, separated by commas; Group, Patient and Coverage have to be among them
    #[arg(long = "type", value_name = "TYPES")]
    pub types: Option<String>,
    /// Only what changed after this instant, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
    #[command(flatten)]
    pub access: AccessArguments,
}

/// Who asks for an export; nobody when the server asks for no token.
#[derive(Debug, Default, Args)]
pub struct AccessArguments {
    /// Ask as this registered client
    #[arg(long, value_name = "ID", requires = "key")]
    pub client: Option<String>,
    /// The private key of the client, in PEM
    #[arg(long, value_name = "FILE", requires = "client")]
    pub key: Option<PathBuf>,
    /// What to ask for
    #[arg(long, value_name = "SCOPES", default_value = "system/*.read", requires = "client")]
    pub scope: String,
    /// Certificates (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    pub authorities: Option<PathBuf>,
}
