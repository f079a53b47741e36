//! What a task is about to claim, where the source may tell the next attempt something else than this one.
//!
//! A claim says that a resource belongs to a task, by a digest from which no name can be read again. An attempt that is
//! interrupted behind its claims leaves them behind; if the next one does not meet the same references, because a resource
//! has changed meanwhile, nobody would write what the first one claimed. So it is noted beside the job's files before it is
//! claimed, and what earlier attempts have noted is wanted by the next one from the start.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use shared::export::TaskNo;
use shared::fault::{Fault, FaultKind};
use shared::fhir::ResourceKey;

use crate::frame::Frame;

/// A resource that is about to be claimed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// By which path it was reached.
    pub path: String,
    /// Which it is.
    pub key: ResourceKey,
    /// Whether it hangs on something that has joined.
    pub joined: bool,
}

/// The notes of one attempt.
#[derive(Debug, Default)]
pub struct Notes {
    written: u32,
}

impl Notes {
    /// Adds some.
    pub async fn write(&mut self, frame: &Frame<'_>, notes: &[Note]) -> Result<(), Fault> {
        if notes.is_empty() {
            return Ok(());
        }
        let name = format!("{}{}.{}", prefix(frame.task.task), frame.attempt, self.written);
        self.written += 1;
        let unwritable = |error| Fault::new(FaultKind::Invalid, "failed to write down claims").because(error);
        let text = serde_json::to_vec(notes).map_err(unwritable)?;
        let mut writer = frame.worker.platform.outputs.keep(frame.task.job, &name).await?;
        match writer.write(&text).await {
            Ok(()) => writer.finish().await.map(drop),
            Err(fault) => {
                // What stays of it goes with the job.
                writer.abort().await.ok();
                Err(fault)
            }
        }
    }
}

/// What earlier attempts at the task have noted.
pub async fn read(frame: &Frame<'_>) -> Result<Vec<Note>, Fault> {
    let mut noted = Vec::new();
    if frame.attempt.0 <= 1 {
        return Ok(noted);
    }
    let outputs = &frame.worker.platform.outputs;
    let prefix = prefix(frame.task.task);
    for name in outputs.kept_names(frame.task.job).await?.iter().filter(|name| name.starts_with(&prefix)) {
        let Some(pieces) = outputs.kept(frame.task.job, name).await? else { continue };
        let pieces: Vec<_> = pieces.try_collect().await?;
        let unreadable =
            |error| Fault::new(FaultKind::Corrupt, format!("failed to read the claims {name}")).because(error);
        noted.extend(serde_json::from_slice::<Vec<Note>>(&pieces.concat()).map_err(unreadable)?);
    }
    Ok(noted)
}

/// What the names of all notes of a task begin with.
fn prefix(task: TaskNo) -> String {
    format!("claims-{task}.")
}
