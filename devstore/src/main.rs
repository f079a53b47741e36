//! The command line: an S3 store on this machine, until Ctrl-C or SIGTERM.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Parser};
use devstore::{Devstore, Settings, Storage};
use tracing_subscriber::EnvFilter;

/// An S3 store for laptops, tests and benchmarks.
#[derive(Parser)]
#[command(version, group(ArgGroup::new("storage").required(true)))]
struct Arguments {
    /// Where to listen; port 0 is any that is free.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Keep the objects in this folder.
    #[arg(long, group = "storage")]
    dir: Option<PathBuf>,
    /// Keep the objects in memory, until the program ends.
    #[arg(long, group = "storage")]
    memory: bool,
    /// The access key [default: `AWS_ACCESS_KEY_ID`, else devkey].
    #[arg(long)]
    access_key: Option<String>,
    /// Its secret [default: `AWS_SECRET_ACCESS_KEY`, else devsecret123].
    #[arg(long)]
    secret_key: Option<String>,
    /// A bucket to make; may be repeated.
    #[arg(long = "bucket", value_name = "NAME", default_value = "exports")]
    buckets: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // s3s logs each 404 and 412 as an error, which they are not here: clients ask on purpose.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,s3s=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let store = Devstore::start(Settings {
        listen: arguments.listen,
        storage: arguments.dir.map_or(Storage::Memory, Storage::Folder),
        access_key: chosen(arguments.access_key, "AWS_ACCESS_KEY_ID", "devkey"),
        secret_key: chosen(arguments.secret_key, "AWS_SECRET_ACCESS_KEY", "devsecret123"),
        buckets: arguments.buckets,
    })
    .await?;
    println!("{}", store.endpoint());
    asked_to_stop().await?;
    store.stop().await;
    Ok(())
}

/// The argument, else the variable, else the default.
fn chosen(argument: Option<String>, variable: &str, default: &str) -> String {
    argument.or_else(|| env::var(variable).ok()).unwrap_or_else(|| default.to_owned())
}

/// Returns on Ctrl-C or SIGTERM.
async fn asked_to_stop() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to listen for Ctrl-C"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.context("failed to listen for Ctrl-C")
    }
}
