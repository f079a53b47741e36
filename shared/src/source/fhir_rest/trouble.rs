//! Why a request to the payer's FHIR server has no answer of use, and when it is made again.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::sleep;

use super::pace::jitter;
use super::upstream::Ask;
use crate::fault::{Fault, FaultKind};

/// How often a request is made that fails for a reason that may pass; after that its task is tried again, later.
const TRIES: u32 = 4;
/// How long to wait before the second time; twice as long before each further one.
const FIRST_BACK_OFF: Duration = Duration::from_millis(200);

/// How often a request is put off because the server asks for patience.
const PUT_OFF: u32 = 20;

/// Why there is no answer of use.
#[derive(Debug)]
pub enum Trouble {
    /// There is no such thing: 404 or 410.
    Missing,
    /// The server does not do what it was asked to.
    Refused(StatusCode),
    /// It took too long, or is more than the server or this program takes at a time.
    TooMuch(&'static str),
    /// The server asks for patience, and everybody has been told.
    Patience,
    /// The credentials were no longer good, and there are new ones.
    Renewed,
    /// Its pages go on and on, and bring nothing new.
    Endless,
    /// Trying again may help.
    Passing(Fault),
    /// Trying again now will not.
    Lasting(Fault),
}

impl Trouble {
    /// As callers of the port take it.
    pub fn into_fault(self, what: &str) -> Fault {
        let fault = |kind, why: String| Fault::new(kind, doing(what)).because(why);
        match self {
            Self::Missing => fault(FaultKind::NotFound, "it has none".to_owned()),
            Self::Refused(status) => fault(FaultKind::Invalid, format!("it answers {status}")),
            Self::TooMuch(why) => fault(FaultKind::Unavailable, why.to_owned()),
            Self::Patience => fault(FaultKind::Busy, "it asks for patience".to_owned()),
            Self::Renewed => {
                fault(FaultKind::Unavailable, "it takes one access token after the other no longer".to_owned())
            }
            Self::Endless => fault(FaultKind::Corrupt, "its pages lead in a circle".to_owned()),
            Self::Passing(fault) | Self::Lasting(fault) => fault,
        }
    }

    /// For the metric.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused(_) | Self::Lasting(_) | Self::Endless => "refused",
            Self::TooMuch(_) => "too_much",
            Self::Patience => "patience",
            Self::Renewed => "refused",
            Self::Passing(_) => "failed",
        }
    }
}

/// What is wrong with an answer that is about something else.
pub const ANOTHER: &str = "its answer is another resource than was asked for";

/// Words for what fails.
pub fn doing(what: &str) -> String {
    format!("failed to ask the payer's FHIR server for {what}")
}

/// How often a request has been made.
#[derive(Debug, Default)]
pub struct Tries {
    failures: u32,
    put_off: u32,
}

impl Tries {
    /// Whether to make it again after this, once it has been waited for; else the trouble is what is left to say.
    pub async fn again(&mut self, ask: &Ask, trouble: Trouble) -> Result<(), Trouble> {
        match trouble {
            Trouble::Patience if self.put_off < PUT_OFF => {
                // Beside the pause: a server that wants none all the same says so again at once.
                let most = FIRST_BACK_OFF * 2_u32.pow(self.put_off.min(4));
                self.put_off += 1;
                sleep(jitter(most)).await;
            }
            Trouble::Renewed if self.failures + 1 < TRIES => self.failures += 1,
            Trouble::Passing(_) if self.failures + 1 < TRIES => self.back_off().await,
            Trouble::TooMuch(_) if !ask.divisible && self.failures + 1 < TRIES => self.back_off().await,
            other => return Err(other),
        }
        Ok(())
    }

    async fn back_off(&mut self) {
        let most = FIRST_BACK_OFF * 2_u32.pow(self.failures);
        self.failures += 1;
        sleep(most / 2 + jitter(most / 2)).await;
    }
}

/// An answer that is not what it should be.
pub fn unfit(what: &str, why: impl Into<String>) -> Trouble {
    Trouble::Passing(Fault::new(FaultKind::Corrupt, doing(what)).because(why.into()))
}

/// A page that the server has named and does not have any more: it may forget where the pages of a search are. That is not
/// their end; whoever needs them begins anew.
pub fn page_gone(what: &str) -> Trouble {
    let why = "a page is gone that it has named";
    Trouble::Lasting(Fault::new(FaultKind::Unavailable, doing(what)).because(why))
}

/// An answer that does not come in time.
pub fn too_slow() -> Trouble {
    Trouble::TooMuch("the server does not answer in time")
}

/// A request without an answer, or an answer that breaks off. The text of the error names the URL, and so what was looked for.
pub fn broken(what: &str, error: &reqwest::Error) -> Trouble {
    if error.is_timeout() && !error.is_connect() {
        return too_slow();
    }
    let why = if error.is_connect() {
        "it cannot be reached"
    } else if error.is_decode() {
        "its answer cannot be decompressed, or breaks off"
    } else {
        "the connection breaks off"
    };
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let cause = causes.last().map_or_else(String::new, |error| format!(": {error}"));
    Trouble::Passing(Fault::new(FaultKind::Unavailable, doing(what)).because(format!("{why}{cause}")))
}
