//! An access token that is kept as long as it is good, and renewed before it ends.
//!
//! Those who need a token at the same time wait for one request. While the token is still good nobody waits for its renewal,
//! nor fails when that fails. A request that has begun goes on by itself: whoever waits for it may leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use reqwest::header::HeaderValue;
use tokio::task::AbortHandle;

use super::TokenClient;
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;

/// How long before its end a token is renewed, unless three quarters of its life end later.
const RENEWED_BEFORE_END: Duration = Duration::from_mins(1);
/// How long before its end a token is no longer used, or an eighth of its life if that is less: a request has to get there.
const SPARE: Duration = Duration::from_secs(10);
/// How long nobody asks again after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How long a token is kept that was got in place of a refused one, though it is refused too: a server that takes no token
/// at all is not to have one asked for with each request.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// A token that may be sent.
#[derive(Clone)]
pub struct Token {
    /// Tells it from those before and after.
    pub number: u64,
    /// The header that carries it.
    pub authorization: HeaderValue,
    renew_at: Instant,
    good_until: Instant,
}

/// The token of a client.
pub struct KeptToken(Arc<Keeper>);

struct Keeper {
    client: TokenClient,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

type Answer = Shared<BoxFuture<'static, Result<Token, Arc<Fault>>>>;

#[derive(Default)]
struct State {
    /// A request that is under way.
    asking: Option<(AbortHandle, Answer)>,
    current: Option<Token>,
    /// How many tokens there have been.
    issued: u64,
    /// Until when the last failure counts.
    failed: Option<(Instant, Arc<Fault>)>,
    /// Until when a token that is refused is not given up.
    patient: Option<Instant>,
}

impl KeptToken {
    /// None yet; it is got when it is needed.
    pub fn new(client: TokenClient, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Keeper { client, clock, state: Mutex::default() }))
    }

    /// A token to send now. Fails as [`TokenClient::issue`] does, when there is none that is still good.
    pub async fn now(&self) -> Result<Token, Fault> {
        let asking = match self.kept() {
            Kept::Good(token) => return Ok(token),
            Kept::Failed(fault) => return Err(fault.again()),
            Kept::Asking(answer) => answer,
        };
        asking.await.map_err(|fault| fault.again())
    }

    /// Notes that the server has refused the token of this number. Answers whether [`KeptToken::now`] will have another.
    #[must_use]
    pub fn refused(&self, number: u64) -> bool {
        let now = self.0.clock.now();
        let mut state = self.0.state();
        // If it is not the current one, somebody else has given it up, or its time had come.
        if state.current.as_ref().is_none_or(|token| token.number != number) {
            return true;
        }
        if state.patient.is_some_and(|until| now < until) {
            return false;
        }
        state.current = None;
        state.patient = Some(now + BETWEEN_REFUSALS);
        true
    }

    /// What there is; begins to ask where that is called for.
    fn kept(&self) -> Kept {
        let now = self.0.clock.now();
        let mut state = self.0.state();
        let good = state.current.as_ref().filter(|token| now < token.good_until).cloned();
        let failed = state.failed.as_ref().filter(|(until, _)| now < *until).map(|(_, fault)| Arc::clone(fault));
        match (good, failed) {
            (Some(token), _) if now < token.renew_at => Kept::Good(token),
            (Some(token), Some(_)) => Kept::Good(token),
            (None, Some(fault)) => Kept::Failed(fault),
            (good, None) => {
                // One that has ended and is still there has panicked: what it had to say is not for ever.
                state.asking.take_if(|(task, _)| task.is_finished());
                let (_, answer) = state.asking.get_or_insert_with(|| begin(&self.0));
                good.map_or_else(|| Kept::Asking(answer.clone()), Kept::Good)
            }
        }
    }
}

enum Kept {
    Good(Token),
    Failed(Arc<Fault>),
    Asking(Answer),
}

fn begin(keeper: &Arc<Keeper>) -> (AbortHandle, Answer) {
    let asking = tokio::spawn(Arc::clone(keeper).ask());
    let task = asking.abort_handle();
    let broken_off = |error| Fault::new(FaultKind::Unavailable, "failed to get an access token").because(error);
    let answer = async move { asking.await.unwrap_or_else(|error| Err(Arc::new(broken_off(error)))) };
    (task, answer.boxed().shared())
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a token, and notes for all what has come of it.
    async fn ask(self: Arc<Self>) -> Result<Token, Arc<Fault>> {
        let begun = self.clock.now();
        let asked = self.client.issue(begun).await.map_err(Arc::new);
        let now = self.clock.now();
        let mut state = self.state();
        state.asking = None;
        match asked {
            Ok(issued) => {
                state.issued += 1;
                let life = issued.life;
                // From when it was asked for: by the time that the answer is here, some of its life is over.
                let token = Token {
                    number: state.issued,
                    authorization: issued.authorization,
                    renew_at: begun + life.saturating_sub(life / 4).max(life.saturating_sub(RENEWED_BEFORE_END)),
                    good_until: begun + life.saturating_sub((life / 8).min(SPARE)),
                };
                state.current = Some(token.clone());
                state.failed = None;
                Ok(token)
            }
            Err(fault) => {
                if state.current.as_ref().is_some_and(|token| now < token.good_until) {
                    tracing::warn!(%fault, "cannot renew an access token; going on with the one there is");
                }
                state.failed = Some((now + AFTER_FAILURE, Arc::clone(&fault)));
                Err(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests;
