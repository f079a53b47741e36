//! A circuit breaker: a server that fails again and again is left alone for a while, so that it can come back, and so that
//! those who need it learn at once that it is away. Pure: the caller says what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures one after the other open it.
const FAILURES: u32 = 8;
/// For so long at first; twice as long after each trial that fails.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_mins(1);
/// Of one server, as this process sees it.
#[derive(Clone, Copy, Debug)]
pub enum Circuit {
    /// Requests go through.
    Closed {
        /// How many have failed since one succeeded.
        failures: u32,
    },
    /// None goes through before this time, and then one.
    Open {
        /// When the next one may be made.
        until: Instant,
        /// How long it was left alone.
        rest: Duration,
        /// Whether one has been made, of which nothing has been heard yet.
        on_trial: bool,
    },
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// Leave to make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Whether it is the one request that is made of a server that is left alone.
    pub is_trial: bool,
}

impl Circuit {
    /// Whether a request may be made; else when one may be, as far as that is known.
    pub fn ask(&mut self, now: Instant) -> Result<Leave, Instant> {
        match self {
            Self::Closed { .. } => Ok(Leave { is_trial: false }),
            Self::Open { until, on_trial, .. } if now < *until || *on_trial => Err(*until),
            // The next one has to wait for what becomes of it.
            Self::Open { on_trial, .. } => {
                *on_trial = true;
                Ok(Leave { is_trial: true })
            }
        }
    }

    /// The server has answered, whatever it said.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The server could not be reached, fell silent, or says that it is broken.
    pub fn failed(&mut self, leave: Leave, now: Instant) {
        match self {
            Self::Closed { failures } if *failures + 1 < FAILURES => *failures += 1,
            Self::Closed { .. } => *self = Self::open(now, FIRST_REST),
            Self::Open { rest, .. } if leave.is_trial => *self = Self::open(now, (*rest * 2).min(LONGEST_REST)),
            // What was under way when it was opened fails as well, and is no trial.
            Self::Open { .. } => {}
        }
    }

    /// Nothing will be heard of a request any more, or what was heard says nothing: another one may be the trial.
    pub fn abandoned(&mut self, leave: Leave) {
        if let (Self::Open { on_trial, .. }, true) = (self, leave.is_trial) {
            *on_trial = false;
        }
    }

    fn open(now: Instant, rest: Duration) -> Self {
        Self::Open { until: now + rest, rest, on_trial: false }
    }

    /// Whether the server is left alone.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Leave = Leave { is_trial: false };
    const TRIAL: Leave = Leave { is_trial: true };

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES {
            assert_eq!(circuit.ask(now), Ok(USUAL));
            circuit.failed(USUAL, now);
        }
        circuit
    }

    #[test]
    fn failures_that_are_not_one_after_the_other_open_nothing() {
        let (now, mut circuit) = (Instant::now(), Circuit::default());
        for _ in 0..10 {
            for _ in 1..FAILURES {
                circuit.failed(USUAL, now);
            }
            circuit.succeeded();
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn one_trial_is_made_after_the_rest_and_a_success_closes_it() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + FIRST_REST;
        assert_eq!(circuit.ask(now), Err(later));
        assert_eq!(circuit.ask(later), Ok(TRIAL));
        assert_eq!(circuit.ask(later), Err(later), "a second one waits for the first");
        circuit.succeeded();
        assert_eq!(circuit.ask(later), Ok(USUAL));
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_trial_that_fails_makes_the_rest_longer_up_to_a_minute() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        let mut rests = Vec::new();
        for _ in 0..8 {
            let until = circuit.ask(now).expect_err("it rests");
            rests.push((until - now).as_secs());
            now = until;
            assert_eq!(circuit.ask(now), Ok(TRIAL));
            circuit.failed(TRIAL, now);
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn what_was_under_way_when_it_opened_makes_the_rest_no_longer() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + FIRST_REST;
        circuit.failed(USUAL, now);
        assert_eq!(circuit.ask(later), Ok(TRIAL));
        circuit.failed(USUAL, later);
        circuit.succeeded();
        assert!(!circuit.is_open(), "the trial went well");
    }

    #[test]
    fn a_trial_that_was_broken_off_leaves_its_place_to_another() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + FIRST_REST;
        assert_eq!(circuit.ask(later), Ok(TRIAL));
        circuit.abandoned(TRIAL);
        assert_eq!(circuit.ask(later), Ok(TRIAL));
    }
}
