//! The list that is exported: generated and loaded once for each size, and kept for the next run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use atr::generate::{self, Settings};
use atr::load;
use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;

/// A list in PostgreSQL.
#[derive(Debug)]
pub struct Loaded {
    /// Where it is.
    pub source_url: String,
    /// Its id.
    pub list: String,
    /// The schema that it is in.
    pub schema: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// How long generating took; `None` when that was done before.
    pub generating_seconds: Option<f64>,
    /// How long loading took; `None` when that was done before.
    pub loading_seconds: Option<f64>,
    /// What was generated.
    pub made: Made,
}

/// What was generated, as it is noted beside the files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Resources by type, in and out of reach of the list.
    pub resources: BTreeMap<String, u64>,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Made {
    /// All resources.
    pub fn total(&self) -> u64 {
        self.resources.values().sum()
    }
}

/// Generates and loads what is not there yet.
pub async fn prepare(arguments: &Arguments) -> anyhow::Result<Loaded> {
    let schema = if arguments.fresh {
        format!("bench_{}", uuid::Uuid::new_v4().simple())
    } else {
        format!("bench_{}", arguments.members)
    };
    let mark = if arguments.postgres.contains('?') { '&' } else { '?' };
    let source_url = format!("{}{mark}schema={schema}", arguments.postgres);
    let folder = arguments.data.join(arguments.members.to_string());
    let (made, generating_seconds) = generated(arguments, &folder).await?;
    let is_loaded = count(&arguments.postgres, &schema).await? == Some(made.total());
    let loading_seconds = if is_loaded {
        None
    } else {
        // What an interrupted run has left is compared again, resource by resource; a new start is quicker.
        drop_schema(&arguments.postgres, &schema).await?;
        eprintln!("loading {} resources into {schema}", made.total());
        let began = Instant::now();
        let counts = load::files(&source_url, &[], vec![folder.clone()]).await?;
        ensure!(counts.bad_lines == 0, "{} lines of generated data cannot be loaded", counts.bad_lines);
        Some(began.elapsed().as_secs_f64())
    };
    let list = "sample".to_owned();
    Ok(Loaded { source_url, list, schema, folder, generating_seconds, loading_seconds, made })
}

async fn generated(arguments: &Arguments, folder: &Path) -> anyhow::Result<(Made, Option<f64>)> {
    let note = arguments.data.join(format!("{}.json", arguments.members));
    if !arguments.fresh
        && let Ok(text) = tokio::fs::read_to_string(&note).await
        && folder.is_dir()
    {
        return Ok((serde_json::from_str(&text).with_context(|| note.display().to_string())?, None));
    }
    eprintln!("generating a list of {} members in {}", arguments.members, folder.display());
    let settings = Settings { members: arguments.members, seed: 1, out: folder.to_owned(), list: None };
    let began = Instant::now();
    let generated = tokio::task::spawn_blocking(move || generate::generate(&settings, |_| {})).await??;
    let seconds = began.elapsed().as_secs_f64();
    let resources = generated.resources.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let made = Made { resources, bytes: generated.bytes };
    tokio::fs::write(&note, serde_json::to_string(&made)?).await?;
    Ok((made, Some(seconds)))
}

/// How many resources a schema holds; `None` when there is no such schema.
async fn count(postgres: &str, schema: &str) -> anyhow::Result<Option<u64>> {
    let client = connect(postgres).await?;
    let table = format!("{schema}.resource");
    let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}

/// Removes a schema, if it is there.
pub async fn drop_schema(postgres: &str, schema: &str) -> anyhow::Result<()> {
    let client = connect(postgres).await?;
    Ok(client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?)
}

async fn connect(postgres: &str) -> anyhow::Result<tokio_postgres::Client> {
    let connected = tokio_postgres::connect(postgres, tokio_postgres::NoTls).await;
    let (client, connection) = connected.context("cannot reach PostgreSQL; --postgres says where it is")?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}
