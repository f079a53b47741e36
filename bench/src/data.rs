//! The list that is exported: generated and loaded once for each size, and kept for the next run.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use atr::generate::{self, Settings};
use atr::load;
use serde::{Deserialize, Serialize};
use shared::source::postgres::migrate;

use crate::arguments::Common;

/// A list in PostgreSQL.
#[derive(Debug)]
pub struct Loaded {
    /// Where it is.
    pub source_url: String,
    /// Its id.
    pub list: String,
    /// The id of a list of ten members beside it.
    pub small_list: String,
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

/// Where the list of a run is.
pub struct Place {
    postgres: String,
    schema: String,
    folder: PathBuf,
    /// The file beside the folder that says what was generated into it.
    note: PathBuf,
}

impl Place {
    /// One for each size, kept for the next run; or one of this run only.
    pub fn of(common: &Common) -> Self {
        let name = if common.fresh { uuid::Uuid::new_v4().simple().to_string() } else { common.members.to_string() };
        Self {
            postgres: common.postgres.clone(),
            schema: format!("bench_{name}"),
            folder: common.data.join(&name),
            note: common.data.join(format!("{name}.json")),
        }
    }

    /// Where the generated files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn source_url(&self) -> String {
        let mark = if self.postgres.contains('?') { '&' } else { '?' };
        format!("{}{mark}schema={}", self.postgres, self.schema)
    }

    /// Removes what is there.
    pub async fn discard(&self) -> anyhow::Result<()> {
        drop_schema(&self.postgres, &self.schema).await?;
        for removed in [tokio::fs::remove_file(&self.note).await, tokio::fs::remove_dir_all(&self.folder).await] {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Generates and loads what is not there yet.
pub async fn prepare(common: &Common, place: &Place) -> anyhow::Result<Loaded> {
    let (made, generating_seconds) = generated(common, place).await?;
    let source_url = place.source_url();
    // What an earlier version of this program has left is brought up to date.
    migrate(&source_url).await.context("failed to make the tables; --postgres says where PostgreSQL is")?;
    let loading_seconds = if count(place).await? == made.total() {
        None
    } else {
        // What an interrupted run has left is compared again, resource by resource; a new start is quicker.
        drop_schema(&place.postgres, &place.schema).await?;
        eprintln!("loading {} resources into {}", made.total(), place.schema);
        let began = Instant::now();
        let counts = load::files(&source_url, &[], vec![place.folder.clone()]).await?;
        ensure!(counts.bad_lines == 0, "{} lines of generated data cannot be loaded", counts.bad_lines);
        Some(began.elapsed().as_secs_f64())
    };
    let (list, small_list) = ("sample".to_owned(), "sample-small".to_owned());
    Ok(Loaded { source_url, list, small_list, generating_seconds, loading_seconds, made })
}

async fn generated(common: &Common, place: &Place) -> anyhow::Result<(Made, Option<f64>)> {
    let Place { folder, note, .. } = place;
    if let Ok(text) = tokio::fs::read_to_string(note).await
        && folder.is_dir()
    {
        return Ok((serde_json::from_str(&text).with_context(|| note.display().to_string())?, None));
    }
    eprintln!("generating a list of {} members in {}", common.members, folder.display());
    let settings = Settings { members: common.members, seed: 1, out: folder.clone(), list: None };
    let began = Instant::now();
    let generated = tokio::task::spawn_blocking(move || generate::generate(&settings, |_| {})).await??;
    let seconds = began.elapsed().as_secs_f64();
    let resources = generated.resources.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let made = Made { resources, bytes: generated.bytes };
    tokio::fs::write(note, serde_json::to_string(&made)?).await?;
    Ok((made, Some(seconds)))
}

/// How many resources there are.
async fn count(place: &Place) -> anyhow::Result<u64> {
    let client = connect(&place.postgres).await?;
    let row = client.query_one(&format!("SELECT count(*) FROM {}.resource", place.schema), &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0))?)
}

/// Removes a schema, if it is there.
async fn drop_schema(postgres: &str, schema: &str) -> anyhow::Result<()> {
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
