//! Faults that nobody thought of: what happens, to whom, and at which piece of which wire, is drawn from a seed.
//!
//! A failing seed is printed with what was drawn. `FAULTS_SEED=n` draws the same again; how the programs share the work is
//! up to them, so that it need not end the same. `FAULTS_SEEDS=n` tries so many.

use std::time::Duration;

use devstore::{Failure, Requests};
use tokio::time::{sleep, timeout};

use super::redelivery::messages_about_all_tasks_of;
use crate::harness::member::{Member, Server};
use crate::harness::proxy::Wire;
use crate::harness::random::{Random, list};
use crate::harness::site::{Blueprint, Site, with};
use crate::harness::tripwire::{Place, Side};

/// How long a drawn place is waited for: most exports are over by then, and the fault hits what is there.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn whatever_happens_an_export_ends_as_if_nothing_had() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let seeds = match number("FAULTS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAULTS_SEEDS").unwrap_or(8),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let blueprint = Blueprint { lines: list(random.next()), ..Blueprint::default() };
        with(blueprint, async |site| {
            let (mut what, mut jobs) = (format!("FAULTS_SEED={seed}"), Vec::new());
            for _ in 0..=random.below(4) {
                let fault = Fault::draw(&mut random);
                what = format!("{what}, {fault:?}");
                // Each fault finds an export that has just begun, and what the ones before have left.
                jobs.push(site.kick_off().await);
                fault.strikes(site).await;
            }
            site.heals();
            for job in jobs {
                site.proves(&what, &job).await;
            }
        })
        .await;
    }
}

/// A fault, and where it strikes.
#[derive(Debug)]
struct Fault {
    /// The number of a worker, or of the API.
    victim: usize,
    /// The wire on which the place is, and which breaks if it is a wire that does.
    server: Server,
    /// The piece of what the victim sends or is sent.
    piece: usize,
    side: Side,
    arrives: bool,
    happens: Happens,
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Kill,
    Pause(Duration),
    Terminate,
    Cut,
    Silence,
    Breaks(Wire, Duration),
    StoreFails(Failure, usize),
    EveryMessageComesAgain,
}

impl Fault {
    fn draw(random: &mut Random) -> Self {
        let time = Duration::from_millis(random.below(6_000));
        let failures = [
            Failure::SlowDown,
            Failure::InternalError,
            Failure::Delay(time),
            Failure::BreakRequest,
            Failure::BreakAnswer,
        ];
        let happens = match random.below(10) {
            0..3 => Happens::Kill,
            3 => Happens::Pause(time),
            4 => Happens::Terminate,
            5 => Happens::Cut,
            6 => Happens::Silence,
            7 => Happens::Breaks(*random.pick(&[Wire::BlackHole, Wire::Down, Wire::Delay(time / 50)]), time),
            8 => {
                let count = 1 + usize::try_from(random.below(6)).expect("it is small");
                Happens::StoreFails(*random.pick(&failures), count)
            }
            _ => Happens::EveryMessageComesAgain,
        };
        Self {
            victim: usize::try_from(random.below(3)).expect("it is small"),
            server: *random.pick(&Server::ALL),
            piece: 1 + usize::try_from(random.below(40)).expect("it is small"),
            side: *random.pick(&[Side::Client, Side::Server]),
            arrives: random.once_in(2),
            happens,
        }
    }

    async fn strikes(&self, site: &mut Site) {
        let place = Place { side: self.side, pattern: Vec::new(), count: self.piece, arrives: self.arrives };
        let tripped = victim(site, self.victim).wire(self.server).arm(place);
        // Whether it came to the place or not: something happens now.
        let _ = timeout(A_WHILE, tripped).await;
        match self.happens {
            Happens::EveryMessageComesAgain => {
                for job in site.jobs().await {
                    messages_about_all_tasks_of(site, job).await;
                }
            }
            Happens::StoreFails(failure, count) => site.store.faults().fail_next(count, Requests::any(), failure),
            _ => {}
        }
        let victim = victim(site, self.victim);
        let wire = victim.wire(self.server);
        match self.happens {
            Happens::Kill => {
                victim.kill().await;
                victim.start_again().await;
            }
            Happens::Terminate => {
                wire.release();
                assert!(victim.terminate().await, "SIGTERM ends a program well");
                victim.start_again().await;
            }
            Happens::Pause(time) => {
                victim.signal("STOP");
                sleep(time).await;
                victim.signal("CONT");
                wire.release();
            }
            Happens::Cut => wire.disarm(),
            Happens::Silence => wire.silence(),
            Happens::Breaks(how, time) => {
                wire.release();
                wire.set(how);
                sleep(time).await;
                wire.set(Wire::Pass);
            }
            Happens::StoreFails(..) | Happens::EveryMessageComesAgain => wire.release(),
        }
    }
}

/// The first two are the workers.
fn victim(site: &mut Site, number: usize) -> &mut Member {
    if number < site.workers.len() { &mut site.workers[number] } else { &mut site.api }
}
