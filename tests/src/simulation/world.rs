//! The whole system in memory: a source, a store for jobs, two queues, a store for objects, workers and an API that come
//! and go, and mischief between all of them.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use export_worker::Worker;
use shared::fhir::{Instant, OwnBases};
use shared::jobs::JobStore;
use shared::jobs::memory::MemoryJobs;
use shared::metrics::Metrics;
use shared::outputs::OutputStore;
use shared::platform::Platform;
use shared::queue::memory::MemoryQueue;
use shared::queue::{Lanes, TaskQueue};
use shared::settings::Settings;
use shared::shutdown::Shutdown;
use shared::source::ResourceSource;
use shared::source::folder::FolderSource;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::front::Front;
use super::trouble::Trouble;
use crate::harness::faulty::Faulty;
use crate::harness::memory_outputs::MemoryOutputs;
use crate::harness::mischief::{Mischief, Process};
use crate::harness::paused_clock::PausedClock;
use crate::harness::random::{OWN_BASE, Random};
use crate::harness::trace::{About, Who};

/// How often processes are killed or stopped at most, so that every seed comes to its end.
const MOST_ENDS: u64 = 24;

/// The system of one seed.
pub struct World {
    /// The ports themselves, without mischief.
    pub platform: Platform,
    /// The object store, as its own type.
    pub store: MemoryOutputs,
    /// What happens to the calls.
    pub mischief: Mischief,
    /// What the processes work by.
    pub settings: Settings,
    trouble: Trouble,
    metrics: Metrics,
    random: RefCell<Random>,
    /// How many processes may still be killed or stopped.
    ends: Cell<u64>,
    /// The API that answers now.
    front: RefCell<Rc<Front>>,
    /// Workers that have been told to stop and may not have done so yet.
    stopping: RefCell<Vec<JoinHandle<()>>>,
}

/// A worker in one of its lives.
struct Running {
    process: Process,
    shutdown: Shutdown,
    handle: JoinHandle<()>,
}

impl World {
    /// A system with these resources.
    pub fn new(random: &mut Random, trouble: Trouble, lines: &[String], metrics: &Metrics) -> Self {
        let clock = PausedClock::start();
        let own = OwnBases::new([OWN_BASE]);
        let source = FolderSource::holding(lines, &own, Arc::clone(&clock)).expect("the data is made of resources");
        let store = MemoryOutputs::new(Arc::clone(&clock), usize::try_from(random.below(1_000)).expect("it is small"));
        let platform = Platform {
            jobs: Arc::new(MemoryJobs::new()),
            lanes: Lanes { express: Arc::new(MemoryQueue::new()), bulk: Arc::new(MemoryQueue::new()) },
            source: Arc::new(source),
            outputs: Arc::new(store.clone()),
            clock,
        };
        let small = |random: &mut Random, most| u32::try_from(1 + random.below(most)).expect("it is small");
        let settings = Settings {
            own_urls: OWN_BASE.to_owned(),
            slice_ids: 1 + random.below(6),
            page_ids: small(random, 4),
            file_bytes: 100 + random.below(2_000),
            window: small(random, 4),
            permits: 2,
            task_attempts: trouble.attempts(random),
            janitor_seconds: 1 + random.below(5),
            published_due_seconds: *random.pick(&[20, 60, 300]),
            retention_seconds: 100_000,
            audit: "none".to_owned(),
            polls_per_minute: 1_000_000,
            poll_burst: 1_000_000,
            ..Settings::default()
        };
        let mischief = Mischief::new(random.next(), trouble.mix().clone());
        let front = Front::closed(&mischief);
        Self {
            platform,
            store,
            mischief,
            settings,
            trouble,
            metrics: metrics.clone(),
            random: RefCell::new(random.clone()),
            ends: Cell::new(MOST_ENDS),
            front: RefCell::new(Rc::new(front)),
            stopping: RefCell::default(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.platform.clock.now()
    }

    /// A number below `bound` from the seed.
    pub fn draw(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    /// The ports as a process sees them.
    pub fn seen_by(&self, process: &Process) -> Platform {
        let Platform { jobs, lanes, source, outputs, clock } = self.platform.clone();
        let queue = |queue| -> Arc<dyn TaskQueue> { Arc::new(Faulty::new(queue, process)) };
        let (jobs, source): (Arc<dyn JobStore>, Arc<dyn ResourceSource>) = (jobs, source);
        let outputs: Arc<dyn OutputStore> = outputs;
        Platform {
            jobs: Arc::new(Faulty::new(jobs, process)),
            lanes: Lanes { express: queue(lanes.express), bulk: queue(lanes.bulk) },
            source: Arc::new(Faulty::new(source, process)),
            outputs: Arc::new(Faulty::new(outputs, process)),
            clock,
        }
    }

    /// No trouble from now on; waits until all processes go on.
    pub async fn troubles_end(&self) {
        self.mischief.end();
        self.ends.set(0);
        let mix = self.trouble.mix();
        for (_, longest) in [(mix.stops, mix.stop), (mix.hangs, mix.hang)].into_iter().filter(|(rate, _)| *rate > 0) {
            sleep(longest).await;
        }
    }

    /// One end less; `false` when there have been enough.
    fn takes_an_end(&self) -> bool {
        let left = self.ends.get();
        self.ends.set(left.saturating_sub(1));
        left > 0
    }

    /// A new life of a process: half of those that may be killed die at one of the next calls of a port.
    fn born(&self, who: Who) -> Process {
        match self.trouble {
            Trouble::Kills(_) if self.draw(2) == 0 && self.takes_an_end() => {
                Process::new(who, &self.mischief, 1 + self.draw(if who.kind == "api" { 20 } else { 150 }))
            }
            Trouble::Kills(_) | Trouble::StopsAndFaults(_) => Process::immortal(who, &self.mischief),
        }
    }

    /// The API that answers now: a new one, when the one before has been dead for a while; a dead one until then.
    pub async fn front(&self) -> Rc<Front> {
        let front = Rc::clone(&self.front.borrow());
        if !front.is_dead_for(Duration::from_secs(1)) {
            return front;
        }
        let process = self.born(Who { life: front.process.who.life + 1, ..front.process.who });
        let front = Rc::new(Front::open(self, process, &self.metrics).await);
        *self.front.borrow_mut() = Rc::clone(&front);
        front
    }

    fn start(&self, who: Who) -> Running {
        let process = self.born(who);
        let shutdown = Shutdown::new();
        let worker = Worker::new(self.seen_by(&process), self.metrics.clone(), &self.settings);
        let worker = worker.expect("the settings are valid");
        let (wish, life) = (shutdown.clone(), process.clone());
        let handle = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = life.died() => {}
                () = worker.run(wish) => {}
            }
        });
        Running { process, shutdown, handle }
    }

    /// Lets a worker live, die or stop, and live again, until it is told that all is over; then it stops in good order.
    pub async fn worker(&self, number: u32, over: &Shutdown) -> Result<(), String> {
        let mut who = Who { kind: "worker", number, life: 1 };
        loop {
            let Running { process, shutdown, handle } = self.start(who);
            self.lives(&process, over).await;
            match self.trouble {
                _ if over.is_wished() => {
                    shutdown.stop();
                    for handle in self.stopping.take().into_iter().chain([handle]) {
                        ended(handle).await?;
                    }
                    return Ok(());
                }
                Trouble::Kills(_) => {
                    process.kill();
                    self.mischief.note(who, "ended", About::All, "killed");
                    ended(handle).await?;
                }
                Trouble::StopsAndFaults(_) => {
                    shutdown.stop();
                    self.mischief.note(who, "ended", About::All, "told to stop");
                    self.stopping.borrow_mut().push(handle);
                }
            }
            who.life += 1;
        }
    }

    /// Waits for the end of a worker's life: at one of its calls, after a while, or when all is over.
    async fn lives(&self, process: &Process, over: &Shutdown) {
        let life = Duration::from_millis(self.draw(8_000));
        let long_enough = async {
            sleep(life).await;
            if !self.takes_an_end() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = over.wished() => {}
            () = process.died() => {}
            () = long_enough => {}
        }
    }

    /// Runs a worker that nothing happens to for as long as something takes.
    pub async fn with_a_calm_worker<T>(&self, work: impl Future<Output = T>) -> T {
        let worker = Worker::new(self.platform.clone(), self.metrics.clone(), &self.settings);
        let shutdown = Shutdown::new();
        let running = tokio::spawn(worker.expect("the settings are valid").run(shutdown.clone()));
        let answer = work.await;
        shutdown.stop();
        running.await.expect("no worker panics");
        answer
    }
}

async fn ended(worker: JoinHandle<()>) -> Result<(), String> {
    worker.await.map_err(|error| format!("a worker panicked: {error}"))
}
