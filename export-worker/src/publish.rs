//! Publishing tasks, and how many of a job may be open (decision 0018).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::dispatch;
use shared::export::{JobId, Lane, OpenTask};
use tokio::time::Instant;

use crate::Worker;

/// How long a lane's word about its room holds: many small tasks that end one after the other are one question.
const ROOM_HOLDS: Duration = Duration::from_millis(100);

/// How many tasks of a job may be open while others wait: one at work and one to follow it.
const FAIR_WINDOW: u32 = 2;

/// How many tasks a plan opens: not all that its window allows, because of plans that are made at the same moment each sees
/// an empty queue. The job grows with each task that it completes.
const FIRST_WINDOW: u32 = 8;

/// What each lane said last about its room, and when.
#[derive(Default)]
pub(crate) struct Room {
    express: Mutex<Option<(Instant, bool)>>,
    bulk: Mutex<Option<(Instant, bool)>>,
}

impl Room {
    fn of(&self, lane: Lane) -> &Mutex<Option<(Instant, bool)>> {
        match lane {
            Lane::Express => &self.express,
            Lane::Bulk => &self.bulk,
        }
    }

    fn said(&self, lane: Lane) -> Option<bool> {
        let said = self.of(lane).lock().unwrap_or_else(PoisonError::into_inner);
        said.filter(|(at, _)| at.elapsed() < ROOM_HOLDS).map(|(_, has_room)| has_room)
    }

    fn says(&self, lane: Lane, has_room: bool) {
        *self.of(lane).lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), has_room));
    }
}

/// Lanes that took no message, so that no more is sent to them for now.
#[derive(Debug, Default)]
pub(crate) struct Silent(Vec<Lane>);

impl Worker {
    /// How many tasks of a job may be open after one that came on this lane: as long as tasks wait for a permit, all workers
    /// are busy and the jobs take turns.
    pub(crate) async fn window(&self, lane: Lane) -> u32 {
        let is_free = match lane {
            Lane::Bulk => self.has_room(Lane::Bulk).await,
            Lane::Express => self.has_room(Lane::Express).await && self.has_room(Lane::Bulk).await,
        };
        if is_free { self.limits.window } else { FAIR_WINDOW.min(self.limits.window) }
    }

    /// How many tasks of a job may be open after its plan.
    pub(crate) async fn first_window(&self) -> u32 {
        self.window(Lane::Bulk).await.min(FIRST_WINDOW)
    }

    /// Whether fewer tasks wait on a lane than this worker could take; what waits for a moment between two tasks is no crowd.
    /// A queue that does not say is treated as a full one.
    async fn has_room(&self, lane: Lane) -> bool {
        if let Some(said) = self.room.said(lane) {
            return said;
        }
        let depth = self.platform.lanes.of(lane).depth().await;
        let has_room = depth.is_ok_and(|depth| depth.waiting <= u64::from(self.permits(lane)));
        self.room.says(lane, has_room);
        has_room
    }

    /// How many tasks of a lane this worker works on at a time.
    pub(crate) fn permits(&self, lane: Lane) -> u16 {
        match lane {
            Lane::Express => self.limits.express_permits,
            Lane::Bulk => self.limits.permits,
        }
    }

    /// Publishes tasks of a job, but none on a lane that is silent: one that has not answered in time would not answer the
    /// next one either. What is not published stays due. `trace` is that of the job.
    pub(crate) async fn publish(&self, job: JobId, tasks: &[OpenTask], trace: Option<String>, silent: &mut Silent) {
        for task in tasks {
            if silent.0.contains(&task.lane) {
                continue;
            }
            let due = self.limits.published_due;
            if !dispatch::publish(&self.platform, job, *task, trace.clone(), due).await {
                silent.0.push(task.lane);
            }
        }
    }
}
