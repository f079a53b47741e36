//! The files that one attempt writes: one open file a type, and what is finished already.

use std::collections::BTreeMap;

use shared::export::{Output, OutputKey, OutputKind};
use shared::fhir::{Issue, ResourceType};
use shared::outputs::OutputWriter;

use crate::execute::{Frame, TaskError};

/// The files of an attempt. Call [`Parts::close`] whatever became of the walk: it finishes the files or gives them up.
pub struct Parts<'a> {
    frame: &'a Frame<'a>,
    open: BTreeMap<(ResourceType, bool), Open>,
    finished: Vec<Output>,
}

struct Open {
    key: OutputKey,
    kind: OutputKind,
    writer: Box<dyn OutputWriter>,
    lines: u64,
    bytes: u64,
}

impl<'a> Parts<'a> {
    pub fn new(frame: &'a Frame<'a>) -> Self {
        Self { frame, open: BTreeMap::new(), finished: Vec::new() }
    }

    /// Writes one resource.
    pub async fn line(&mut self, resource_type: ResourceType, body: &[u8]) -> Result<(), TaskError> {
        self.write(OutputKind::Output, resource_type, body).await?;
        self.end_line(OutputKind::Output, resource_type).await
    }

    /// Writes one line of an error file.
    pub async fn problem(&mut self, issue: &Issue) -> Result<(), TaskError> {
        let kind = OutputKind::Error;
        self.write(kind, ResourceType::OPERATION_OUTCOME, issue.outcome().as_bytes()).await?;
        self.end_line(kind, ResourceType::OPERATION_OUTCOME).await
    }

    /// Writes a piece of a line.
    pub async fn write(
        &mut self,
        kind: OutputKind,
        resource_type: ResourceType,
        bytes: &[u8],
    ) -> Result<(), TaskError> {
        let open = self.open(kind, resource_type).await?;
        open.bytes += bytes.len() as u64;
        Ok(open.writer.write(bytes).await?)
    }

    /// Ends a line, and the file with it when it has grown large enough.
    pub async fn end_line(&mut self, kind: OutputKind, resource_type: ResourceType) -> Result<(), TaskError> {
        let file_bytes = self.frame.worker.limits.file_bytes;
        let open = self.open(kind, resource_type).await?;
        open.writer.write(b"\n").await?;
        open.bytes += 1;
        open.lines += 1;
        if open.bytes >= file_bytes
            && let Some(full) = self.open.remove(&(resource_type, kind == OutputKind::Error))
        {
            self.finish(full).await?;
        }
        Ok(())
    }

    async fn open(&mut self, kind: OutputKind, resource_type: ResourceType) -> Result<&mut Open, TaskError> {
        // A resource may itself be an OperationOutcome; it does not belong among the errors.
        let slot = (resource_type, kind == OutputKind::Error);
        if !self.open.contains_key(&slot) {
            let key = self.next_key(resource_type);
            let writer = self.frame.worker.platform.outputs.create(&key).await?;
            self.open.insert(slot, Open { key, kind, writer, lines: 0, bytes: 0 });
        }
        Ok(self.open.get_mut(&slot).expect("it was put there a moment ago, if it was not there"))
    }

    fn next_key(&self, resource_type: ResourceType) -> OutputKey {
        let names = self.finished.iter().map(|output| &output.key).chain(self.open.values().map(|open| &open.key));
        let before = names.filter(|key| key.resource_type == resource_type).count();
        let number = u32::try_from(before).expect("a store takes no four billion files");
        let Frame { task, attempt, .. } = *self.frame;
        OutputKey { job: task.job, resource_type, task: task.task, attempt, number }
    }

    async fn finish(&mut self, Open { key, kind, writer, lines, .. }: Open) -> Result<(), TaskError> {
        let bytes = writer.finish().await?;
        self.finished.push(Output { key, kind, lines, bytes });
        Ok(())
    }

    /// Finishes all files when the walk went well, and answers them; else gives them all up and answers the error.
    pub async fn close(mut self, walked: Result<(), TaskError>) -> Result<Vec<Output>, TaskError> {
        let mut result = walked;
        while let Some((_, open)) = self.open.pop_first() {
            match result {
                Ok(()) => result = self.finish(open).await,
                Err(_) => {
                    if let Err(fault) = open.writer.abort().await {
                        tracing::info!(job.id = %open.key.job, task.no = %open.key.task, %fault, "an upload was not given up; the janitor removes it");
                    }
                }
            }
        }
        match result {
            Ok(()) => Ok(self.finished),
            Err(error) => {
                let names: Vec<OutputKey> = self.finished.into_iter().map(|output| output.key).collect();
                if let Err(fault) = self.frame.worker.platform.outputs.remove(&names).await {
                    tracing::info!(job.id = %self.frame.task.job, task.no = %self.frame.task.task, %fault, "files of a failed attempt stay; the janitor removes them");
                }
                Err(error)
            }
        }
    }
}
