//! Whether what was exported is right: every file as long as the manifest says, and no resource twice.

use std::collections::HashSet;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use reqwest::Client;
use serde::Deserialize;
use shared::fhir::ResourceKey;

use crate::export::{Exported, File};
use crate::job;

/// What the files hold.
#[derive(Debug, Default)]
pub struct Checked {
    /// The resources, each once.
    pub keys: HashSet<ResourceKey>,
    /// Resources that were there already.
    pub twice: u64,
    /// Lines of all files.
    pub lines: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Downloads all files, line by line.
pub async fn files(exported: &Exported) -> anyhow::Result<Checked> {
    let client = job::client()?;
    let mut checked = Checked::default();
    for file in &exported.files {
        let before = (checked.lines, checked.bytes);
        read(&client, file, &mut checked).await.with_context(|| format!("a file of {}", file.resource_type))?;
        let found = (checked.lines - before.0, checked.bytes - before.1);
        ensure!(
            found == (file.count, file.bytes()),
            "a file of {} has {} lines and {} bytes, and the manifest says {} and {}",
            file.resource_type,
            found.0,
            found.1,
            file.count,
            file.bytes()
        );
    }
    Ok(checked)
}

async fn read(client: &Client, file: &File, checked: &mut Checked) -> anyhow::Result<()> {
    let mut chunks = client.get(&file.url).send().await?.error_for_status()?.bytes_stream();
    let mut line = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        checked.bytes += chunk.len() as u64;
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                checked.lines += 1;
                let key = key(&line)?;
                if !checked.keys.insert(key) {
                    checked.twice += 1;
                }
                line.clear();
            }
        }
    }
    ensure!(line.is_empty(), "its last line has no end");
    Ok(())
}

fn key(line: &[u8]) -> anyhow::Result<ResourceKey> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head<'a> {
        resource_type: &'a str,
        id: &'a str,
    }
    let head: Head<'_> = serde_json::from_slice(line)?;
    Ok(ResourceKey::new(head.resource_type.parse()?, head.id.parse()?))
}
