//! What becomes of each call of a port, as a seed decides: it dawdles, hangs, fails before it is done or after, or its
//! process dies there or stands still.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shared::fault::{Fault, FaultKind};
use shared::shutdown::Shutdown;
use tokio::time::{Instant, sleep, sleep_until};

use super::random::Random;
use super::trace::{About, DONE, REFUSED, Trace, UNANSWERED, Who};

/// How often something happens: once in so many times; never, when it is zero.
pub type OneIn = u64;

/// What happens, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// Each call takes up to this.
    pub dawdle: Duration,
    /// A call fails, half of the time after it was done.
    pub fails: OneIn,
    /// A call takes up to `hang`, while its process goes on.
    pub hangs: OneIn,
    /// How long that is.
    pub hang: Duration,
    /// A process stands still for up to `stop`, as by SIGSTOP, and goes on.
    pub stops: OneIn,
    /// How long that is.
    pub stop: Duration,
    /// A message is confirmed and lost.
    pub loses: OneIn,
    /// A message comes twice.
    pub doubles: OneIn,
    /// A message is confirmed and comes up to `delay` later, after others that were published after it.
    pub delays: OneIn,
    /// How late that is.
    pub delay: Duration,
    /// A worker's connection to the queue is cut when it asks for the next delivery: all that it has in hand goes back.
    pub cuts: OneIn,
    /// An object is finished up to `delay` after its writer was told that it could not be.
    pub late_objects: OneIn,
}

/// The mischief in a whole system. Clones are the same.
#[derive(Clone)]
pub struct Mischief(Arc<Inner>);

struct Inner {
    random: Mutex<Random>,
    mix: Mix,
    is_over: AtomicBool,
    calls: AtomicU64,
    /// What has been confirmed, or told to have failed, and is still to come.
    in_flight: AtomicU64,
    began: Instant,
    trace: Mutex<Trace>,
}

impl fmt::Debug for Mischief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mischief").field("mix", &self.0.mix).finish_non_exhaustive()
    }
}

impl Mischief {
    /// This mix, as the seed decides. The time of the trace begins now.
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self(Arc::new(Inner {
            random: Mutex::new(Random::new(seed)),
            mix,
            is_over: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            began: Instant::now(),
            trace: Mutex::default(),
        }))
    }

    /// From now on every call is done at once and no message is lost.
    pub fn end(&self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// How many messages and objects are still to come.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// What has happened so far.
    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        self.0.trace.lock().expect("no test panics while it holds the lock")
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Takes note of something that is no call of a port.
    pub fn note(&self, who: Who, what: &'static str, about: impl Into<About>, ended: &'static str) {
        self.trace().note(self.elapsed(), who, what, about.into(), ended);
    }

    pub(super) fn mix(&self) -> &Mix {
        &self.0.mix
    }

    fn draw(&self, bound: u64) -> u64 {
        self.0.random.lock().expect("no test panics while it holds the lock").below(bound)
    }

    /// Whether something happens now.
    pub(super) fn happens(&self, one_in: OneIn) -> bool {
        one_in != 0 && !self.0.is_over.load(Ordering::SeqCst) && self.draw(one_in) == 0
    }

    /// A time up to `longest`, in whole milliseconds.
    pub(super) fn up_to(&self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).expect("it is short");
        if millis == 0 || self.0.is_over.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.draw(millis))
    }

    /// Has something done later, on its own.
    pub(super) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.in_flight.fetch_add(1, Ordering::SeqCst);
        let (wait, mischief) = (self.up_to(self.0.mix.delay), self.clone());
        tokio::spawn(async move {
            sleep(wait).await;
            work.await;
            mischief.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One life of a process whose ports have mischief in front of them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Process {
    /// Who it is.
    pub who: Who,
    /// What it has to suffer.
    pub mischief: Mischief,
    life: Arc<Life>,
}

#[derive(Debug)]
struct Life {
    /// The calls that are left to it.
    calls_left: AtomicU64,
    death: Shutdown,
    /// Until when it stands still.
    still: Mutex<Instant>,
}

impl Process {
    /// A process that lives for so many calls of ports at most: the last of them it begins and never comes back from.
    pub fn new(who: Who, mischief: &Mischief, calls: u64) -> Self {
        let life =
            Life { calls_left: AtomicU64::new(calls), death: Shutdown::new(), still: Mutex::new(Instant::now()) };
        Self { who, mischief: mischief.clone(), life: Arc::new(life) }
    }

    /// One that lives for ever.
    pub fn immortal(who: Who, mischief: &Mischief) -> Self {
        Self::new(who, mischief, u64::MAX)
    }

    /// Kills it: no call of it is done from now on, and none comes back.
    pub fn kill(&self) {
        self.life.death.stop();
    }

    /// Waits for its death.
    pub async fn died(&self) {
        self.life.death.wished().await;
    }

    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        self.life.death.is_wished()
    }

    pub(super) fn note(&self, call: &'static str, about: About, ended: &'static str) {
        self.mischief.note(self.who, call, about, ended);
    }

    /// Waits until the process goes on; for ever, when it is dead.
    pub(super) async fn awake(&self) {
        loop {
            let still = *self.life.still.lock().expect("no test panics while it holds the lock");
            if self.is_dead() {
                pending::<()>().await;
            }
            if still <= Instant::now() {
                return;
            }
            sleep_until(still).await;
        }
    }

    /// Makes a call, whatever becomes of it.
    pub(super) async fn call<T>(
        &self,
        call: &'static str,
        about: impl Into<About>,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.rarely(1, call, about, work).await
    }

    /// The same, but it fails so many times less often.
    pub(super) async fn rarely<T>(
        &self,
        times: u64,
        call: &'static str,
        about: impl Into<About>,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let (world, about) = (&self.mischief, about.into());
        let mix = world.mix();
        world.0.calls.fetch_add(1, Ordering::SeqCst);
        let is_last = self.life.calls_left.fetch_sub(1, Ordering::SeqCst) == 1;
        let dies_before = is_last && world.draw(2) == 0;
        if world.happens(mix.stops) {
            self.note(call, about, "its process stands still");
            *self.life.still.lock().expect("no test panics while it holds the lock") =
                Instant::now() + world.up_to(mix.stop);
        }
        let longest = if world.happens(mix.hangs) { mix.hang } else { mix.dawdle };
        let takes = world.up_to(longest);
        if !takes.is_zero() {
            sleep(takes).await;
        }
        self.awake().await;
        if dies_before {
            self.note(call, about, "its process dies before it");
            self.kill();
            pending::<()>().await;
        }
        let fault = |when: &str| Fault::new(FaultKind::Unavailable, format!("mischief {when} the call"));
        let fails = world.happens(mix.fails * times);
        let is_done = !fails || world.draw(2) == 0;
        if !is_done {
            self.note(call, about, REFUSED);
            return Err(fault("before"));
        }
        let answer = work.await;
        let ended = match &answer {
            _ if is_last => "done, and its process dies",
            _ if fails => UNANSWERED,
            Ok(_) => DONE,
            Err(_) => "failed",
        };
        // When it is done, not when its caller hears of it, which a standstill may put off.
        self.note(call, about, ended);
        self.awake().await;
        if is_last {
            self.kill();
            pending::<()>().await;
        }
        if fails {
            return Err(fault("after"));
        }
        answer
    }
}
