//! The files that one attempt writes: one open file a type, and what is finished already.

use std::collections::BTreeMap;

use shared::export::{Output, OutputKey, OutputKind, Tally, Written};
use shared::fhir::{Issue, IssueCode, Resource, ResourceKey, ResourceType, Unsound};

use crate::file::OpenFile;
use crate::frame::{Frame, TaskError};
use crate::problems::unsound;
use crate::select;

/// The type that stands in the name of a file of blocks, which holds several.
const BLOCKS: ResourceType = ResourceType::BUNDLE;

/// The files of an attempt. Call [`Parts::close`] whatever became of the walk: it finishes the files or gives them up.
pub struct Parts<'a> {
    frame: &'a Frame<'a>,
    open: BTreeMap<Slot, OpenFile>,
    finished: Vec<Output>,
    /// What the walk has found of the members of the list.
    pub tally: Tally,
    /// How many resources of each type cannot be read.
    unsound: BTreeMap<ResourceType, u64>,
}

/// A resource may itself be an OperationOutcome or a Bundle; it does not belong among the errors or deletions.
type Slot = (ResourceType, OutputKind);

impl<'a> Parts<'a> {
    pub fn new(frame: &'a Frame<'a>) -> Self {
        Self { frame, open: BTreeMap::new(), finished: Vec::new(), tally: Tally::default(), unsound: BTreeMap::new() }
    }

    /// Writes one resource, or what was asked for of it.
    pub async fn resource(&mut self, resource: &Resource) -> Result<(), TaskError> {
        let file = resource.key.resource_type;
        match select::line(&self.frame.request.selection, resource) {
            Some(line) => self.line(OutputKind::Output, file, &line).await,
            None => self.uncut(resource).await,
        }
    }

    /// Writes one line of a block, which stays in one file whatever its length; [`Parts::end_block`] ends it.
    pub async fn line_in_block(&mut self, line: &[u8]) -> Result<(), TaskError> {
        let open = self.open(OutputKind::Output, BLOCKS).await?;
        open.write(line).await?;
        Ok(open.end_line().await?)
    }

    /// The same for a resource, or what was asked for of it.
    pub async fn resource_in_block(&mut self, resource: &Resource) -> Result<(), TaskError> {
        match select::line(&self.frame.request.selection, resource) {
            Some(line) => self.line_in_block(&line).await,
            None => self.uncut(resource).await,
        }
    }

    /// Ends a block, and the file with it when it has grown large enough.
    pub async fn end_block(&mut self) -> Result<(), TaskError> {
        self.finish_if_full(OutputKind::Output, BLOCKS).await
    }

    /// Tells that a resource cannot be cut down to what was asked for of it.
    pub async fn uncut(&mut self, resource: &Resource) -> Result<(), TaskError> {
        let key = &resource.key;
        let text = format!(
            "{}: {key} cannot be read, so the elements that were asked for cannot be taken out of it",
            self.frame.request.anchor
        );
        self.problem(&Issue::warning(IssueCode::Structure, text).at(key.resource_type.name())).await
    }

    /// Tells that a resource is not what it should be, so that it cannot be a line of a file.
    pub async fn unsound(&mut self, key: &ResourceKey, why: &Unsound) -> Result<(), TaskError> {
        *self.unsound.entry(key.resource_type).or_default() += 1;
        self.problem(&unsound(self.frame, key, why)).await
    }

    /// Writes one line.
    pub async fn line(&mut self, kind: OutputKind, file: ResourceType, line: &[u8]) -> Result<(), TaskError> {
        self.write(kind, file, line).await?;
        self.end_line(kind, file).await
    }

    /// Writes one line of an error file.
    pub async fn problem(&mut self, issue: &Issue) -> Result<(), TaskError> {
        self.line(OutputKind::Error, ResourceType::OPERATION_OUTCOME, issue.outcome().as_bytes()).await
    }

    /// Writes one line of an error file for a reference that leads to nothing, and counts it.
    pub async fn missing(&mut self, path: &str, issue: &Issue) -> Result<(), TaskError> {
        *self.tally.missing_references.entry(path.to_owned()).or_default() += 1;
        self.problem(issue).await
    }

    /// Writes a piece of a line.
    pub async fn write(&mut self, kind: OutputKind, file: ResourceType, bytes: &[u8]) -> Result<(), TaskError> {
        Ok(self.open(kind, file).await?.write(bytes).await?)
    }

    /// Ends a line, and the file with it when it has grown large enough.
    pub async fn end_line(&mut self, kind: OutputKind, file: ResourceType) -> Result<(), TaskError> {
        self.open(kind, file).await?.end_line().await?;
        self.finish_if_full(kind, file).await
    }

    async fn finish_if_full(&mut self, kind: OutputKind, file: ResourceType) -> Result<(), TaskError> {
        let slot = (file, kind);
        let is_full = self.open.get(&slot).is_some_and(|open| open.bytes() >= self.frame.worker.limits.file_bytes);
        if is_full && let Some(full) = self.open.remove(&slot) {
            self.finished.push(full.finish().await?);
        }
        Ok(())
    }

    async fn open(&mut self, kind: OutputKind, file: ResourceType) -> Result<&mut OpenFile, TaskError> {
        let slot = (file, kind);
        if !self.open.contains_key(&slot) {
            let key = self.next_key(file);
            let encoding = self.frame.request.delivery.encoding;
            let writer = self.frame.worker.platform.outputs.create(&key, encoding).await?;
            self.open.insert(slot, OpenFile::new(key, kind, encoding, writer));
        }
        Ok(self.open.get_mut(&slot).expect("it was put there a moment ago, if it was not there"))
    }

    fn next_key(&self, resource_type: ResourceType) -> OutputKey {
        let names = self.finished.iter().map(|output| &output.key).chain(self.open.values().map(OpenFile::key));
        let before = names.filter(|key| key.resource_type == resource_type).count();
        let number = u32::try_from(before).expect("a store takes no four billion files");
        let Frame { task, attempt, .. } = *self.frame;
        OutputKey { job: task.job, resource_type, task: task.task, attempt, number }
    }

    /// Finishes all files when the walk went well, and answers them; else gives them all up and answers the error.
    pub async fn close(mut self, walked: Result<(), TaskError>) -> Result<Written, TaskError> {
        self.warn_of_the_unsound();
        let mut result = walked;
        while let Some((_, open)) = self.open.pop_first() {
            match result {
                Ok(()) => match open.finish().await {
                    Ok(output) => self.finished.push(output),
                    Err(fault) => result = Err(fault.into()),
                },
                Err(_) => open.abort().await,
            }
        }
        match result {
            Ok(()) => Ok(Written { outputs: self.finished, tally: self.tally }),
            Err(error) => {
                let names: Vec<OutputKey> = self.finished.into_iter().map(|output| output.key).collect();
                if let Err(fault) = self.frame.worker.platform.outputs.remove(&names).await {
                    tracing::info!(job.id = %self.frame.task.job, task.no = %self.frame.task.task, %fault, "files of a failed attempt stay; the janitor removes them");
                }
                Err(error)
            }
        }
    }

    /// For the operator, who has to mend them: how many, and not whose. The error files say which.
    fn warn_of_the_unsound(&self) {
        let Frame { task, worker, .. } = self.frame;
        for (resource_type, count) in &self.unsound {
            worker.metrics.unreadable_resources.with_label_values(&[resource_type.name()]).inc_by(*count);
            tracing::warn!(job.id = %task.job, task.no = %task.task, count, "{count} rows of the source are not the JSON of the {resource_type} that they should be; the job's error files name them");
        }
    }
}
