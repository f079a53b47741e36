//! When the server asks for patience (429, or 503 with `Retry-After`; RFC 9110 §10.2.3), everybody has it: the pause is
//! kept where all processes of the system look before they ask, and lasts by one clock.

pub mod redis;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, sleep_until};

use crate::fault::Fault;

/// How long what was learned from the others holds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Those who waited together do not come back together, but within this time, or a tenth of the pause if that is longer.
const SPREAD: Duration = Duration::from_millis(200);

/// The pause of all processes.
#[async_trait]
pub trait SharedPause: Send + Sync + 'static {
    /// How much longer it lasts; zero when there is none.
    async fn rest(&self) -> Result<Duration, Fault>;

    /// Has it last for so long from now on, if it does not last longer already.
    async fn extend(&self, pause: Duration) -> Result<(), Fault>;
}

/// The pause, as this process knows it.
pub struct Pace {
    shared: Option<Arc<dyn SharedPause>>,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    until: Option<Instant>,
    looked: Option<Instant>,
}

impl Pace {
    /// Shared with other processes, or this one's own.
    #[must_use]
    pub fn new(shared: Option<Arc<dyn SharedPause>>) -> Self {
        Self { shared, known: Mutex::default() }
    }

    /// Waits until a request may be made, but not longer than `patience`: then answers how long the pause still is.
    pub async fn wait(&self, patience: Duration) -> Result<(), Duration> {
        let give_up = Instant::now() + patience;
        loop {
            let Some(until) = self.until().await else { return Ok(()) };
            let now = Instant::now();
            if until <= now {
                return Ok(());
            }
            if until > give_up {
                return Err(until - now);
            }
            sleep_until(until + jitter(SPREAD.max((until - now) / 10))).await;
        }
    }

    /// The server has asked for patience.
    pub async fn pause(&self, pause: Duration) {
        self.learn(pause);
        if let Some(shared) = &self.shared
            && let Err(fault) = shared.extend(pause).await
        {
            tracing::warn!(%fault, "the other processes do not learn that the payer's FHIR server asks for patience");
        }
    }

    async fn until(&self) -> Option<Instant> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN);
        if let (Some(shared), false) = (&self.shared, is_fresh) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).looked = Some(Instant::now());
            // Without the others' word this process goes by its own: the server will say it again.
            if let Ok(rest) = shared.rest().await {
                self.learn(rest);
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    fn learn(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.until = Some(known.until.map_or(until, |before| before.max(until)));
    }
}

/// Something between nothing and this.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3), which is compared with the server's own.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let wish = text(RETRY_AFTER)?;
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let [at, now] = [wish, text(DATE)?].map(|text| httpdate::parse_http_date(text).ok());
    Some(at?.duration_since(now?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What several processes share, without Redis.
    #[derive(Default)]
    struct Board(Mutex<Option<Instant>>);

    #[async_trait]
    impl SharedPause for Board {
        async fn rest(&self) -> Result<Duration, Fault> {
            let until = *self.0.lock().expect("nobody panicked");
            Ok(until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now())))
        }
        async fn extend(&self, pause: Duration) -> Result<(), Fault> {
            let mut until = self.0.lock().expect("nobody panicked");
            *until = (*until).max(Some(Instant::now() + pause));
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_one_was_told_is_kept_by_all() {
        let board = Arc::new(Board::default());
        let (one, other) = (Pace::new(Some(board.clone())), Pace::new(Some(board)));
        let began = Instant::now();
        one.pause(Duration::from_secs(5)).await;
        assert_eq!(other.wait(Duration::from_secs(10)).await, Ok(()));
        assert!(began.elapsed() >= Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asked_a_moment_ago_learns_of_it_a_moment_later() {
        let board = Arc::new(Board::default());
        let (one, other) = (Pace::new(Some(board.clone())), Pace::new(Some(board)));
        assert_eq!(other.wait(Duration::ZERO).await, Ok(()));
        one.pause(Duration::from_secs(5)).await;
        tokio::time::sleep(LOOK_AGAIN).await;
        assert_eq!(other.wait(Duration::ZERO).await, Err(Duration::from_millis(4_900)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_longer_than_ones_patience_is_told_at_once() {
        let pace = Pace::new(None);
        let began = Instant::now();
        pace.pause(Duration::from_mins(10)).await;
        pace.pause(Duration::from_secs(1)).await;
        assert_eq!(pace.wait(Duration::from_mins(1)).await, Err(Duration::from_mins(10)));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn the_patience_that_a_server_asks_for_is_read_in_both_forms() {
        let now = "Thu, 26 Nov 2026 08:00:00 GMT";
        for (text, expected) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("Thu, 26 Nov 2026 08:00:30 GMT", Some(30)),
            ("Thu, 26 Nov 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let header = |text: &str| text.parse().expect("it is a header");
            let headers = HeaderMap::from_iter([(RETRY_AFTER, header(text)), (DATE, header(now))]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
