//! Where lists are held: on the disk of each process that needs them, and for the tasks of a job in the object store, from
//! where every worker gets the same one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::held::Held;
use super::shelf::Shelf;
use crate::export::JobId;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Instant as Time, ResourceId, ResourceType};
use crate::source::ListHead;

/// How many lists a process holds on its disk at most,
const MOST: usize = 32;
/// how much, unless one is larger by itself,
const MOST_BYTES: u64 = 4 << 30;
/// and for how long after they were used last.
const IDLE: Duration = Duration::from_mins(10);

/// How many heads it remembers, each as small as any resource.
const HEADS: usize = 1_000;

/// How much is read from the disk at a time.
const PIECE: usize = 1 << 20;

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A list.
    List(ResourceId),
    /// The ids of all that there was of a type.
    Ids(ResourceType),
}

/// Which of those that are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// For the tasks of this job; of nobody, if it is for the moment.
    pub job: Option<JobId>,
    /// What.
    pub what: What,
    /// As of when.
    pub as_of: Time,
}

impl Name {
    /// Its name among the things that a job keeps.
    fn kept(&self) -> String {
        let at = self.as_of.unix_millis();
        match &self.what {
            What::List(list) => format!("list-{list}-{at}"),
            What::Ids(resource_type) => format!("ids-{resource_type}-{at}"),
        }
    }
}

type Cell = Arc<OnceCell<Arc<Held>>>;

/// Something that is held or on its way.
struct Local {
    name: Name,
    cell: Cell,
    used: Instant,
}

/// What a process holds.
pub struct Keeper {
    shelf: Arc<dyn Shelf>,
    /// The one that was used last is the last.
    local: Mutex<Vec<Local>>,
    /// The newest of each list that it knows, with its `ETag`, as long as it is held.
    newest: Mutex<Vec<(ResourceId, String, Weak<Held>)>>,
    /// The newest heads that were asked for without their members.
    heads: Mutex<Vec<(ResourceId, String, ListHead)>>,
}

/// Why something cannot be held.
pub enum NotHeld {
    /// There is no such list.
    Gone,
    /// It cannot be got.
    Fault(Fault),
}

impl From<Fault> for NotHeld {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Keeper {
    /// Holds nothing yet.
    pub fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf, local: Mutex::default(), newest: Mutex::default(), heads: Mutex::default() }
    }

    /// What is held under a name: here, or by the job; else it is made. Whoever asks meanwhile waits for that.
    pub async fn get(
        &self,
        name: &Name,
        make: BoxFuture<'_, Result<Arc<Held>, NotHeld>>,
    ) -> Result<Arc<Held>, NotHeld> {
        let cell = self.cell(name);
        let got = cell.get_or_try_init(|| async {
            if let Some(job) = name.job
                && let Some(held) = self.download(job, &name.kept()).await?
            {
                return Ok(Arc::new(held));
            }
            make.await
        });
        got.await.map(Arc::clone)
    }

    /// Makes something and has all tasks of the job find it, if none was made under this name before.
    pub async fn hold(
        &self,
        job: JobId,
        name: &Name,
        make: BoxFuture<'_, Result<Arc<Held>, NotHeld>>,
    ) -> Result<Arc<Held>, NotHeld> {
        let first = async {
            let held = make.await?;
            self.upload(job, &name.kept(), &held).await?;
            Ok(held)
        };
        self.get(name, first.boxed()).await
    }

    /// The newest version of a list that is known here.
    pub fn newest(&self, list: &ResourceId) -> Option<(String, Arc<Held>)> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.iter().find(|(id, ..)| id == list).and_then(|(_, etag, held)| Some((etag.clone(), held.upgrade()?)))
    }

    /// Tells of a version of a list.
    pub fn learn(&self, list: &ResourceId, etag: String, held: &Arc<Held>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.retain(|(id, _, held)| id != list && held.strong_count() > 0);
        newest.push((list.clone(), etag, Arc::downgrade(held)));
    }

    /// The newest head of a list that is known here.
    pub fn head(&self, list: &ResourceId) -> Option<(String, ListHead)> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.iter().find(|(id, ..)| id == list).map(|(_, etag, head)| (etag.clone(), head.clone()))
    }

    /// Tells of the head of a list.
    pub fn learn_head(&self, list: &ResourceId, etag: String, head: ListHead) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|(id, ..)| id != list);
        heads.push((list.clone(), etag, head));
        if heads.len() > HEADS {
            heads.remove(0);
        }
    }

    fn cell(&self, name: &Name) -> Cell {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let at = local.iter().position(|held| held.name == *name);
        let cell = at.map_or_else(Cell::default, |at| local.remove(at).cell);
        local.retain(|held| now - held.used < IDLE);
        local.push(Local { name: name.clone(), cell: Arc::clone(&cell), used: now });
        let bytes =
            |local: &[Local]| local.iter().filter_map(|held| held.cell.get()).map(|held| held.bytes()).sum::<u64>();
        while local.len() > 1 && (local.len() > MOST || bytes(&local) > MOST_BYTES) {
            local.remove(0);
        }
        cell
    }

    async fn download(&self, job: JobId, name: &str) -> Result<Option<Held>, Fault> {
        let Some(mut pieces) = self.shelf.get(job, name).await? else { return Ok(None) };
        let named = NamedTempFile::with_prefix("atr-held-").map_err(on_disk)?;
        let mut file = File::from_std(named.reopen().map_err(on_disk)?);
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?).await.map_err(on_disk)?;
        }
        file.flush().await.map_err(on_disk)?;
        Held::open(named).map(Some)
    }

    async fn upload(&self, job: JobId, name: &str, held: &Arc<Held>) -> Result<(), Fault> {
        let pieces = stream::try_unfold((Arc::clone(held), 0), |(held, from)| async move {
            let piece = held.piece(from, PIECE).await?;
            let next = from + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, (held, next))))
        });
        self.shelf.put(job, name, pieces.boxed()).await
    }
}

fn on_disk(error: io::Error) -> Fault {
    let kind = if error.kind() == io::ErrorKind::StorageFull { FaultKind::Busy } else { FaultKind::Unavailable };
    Fault::new(kind, "failed to hold a list on the disk").because(error)
}
