//! Time for tests that run minutes and hours in a moment, under `tokio`'s paused clock.

use std::sync::Arc;

use shared::clock::Clock;
use shared::fhir::Instant;

/// What the clock shows at the beginning.
pub const BEGINNING: Instant = Instant::from_unix_millis(1_800_000_000_000);

/// The clock that `tokio::time` moves, so that due times and sleeps agree.
pub struct PausedClock(tokio::time::Instant);

impl PausedClock {
    /// Begins now.
    pub fn start() -> Arc<dyn Clock> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Instant {
        BEGINNING + self.0.elapsed()
    }
}
