//! Misbehaving on demand: what may go wrong with an answer, for which requests and how often.

use std::time::Duration;

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Any request is answered with this status and an OperationOutcome, and with this value of `Retry-After` if there is one.
    Status(u16, Option<String>),
    /// Any request is answered by a page of HTML, with 200.
    NotJson,
    /// Any request is answered by a page of HTML, with 404: by a gateway that finds no server behind it.
    NoServer,
    /// Any request is redirected. `to` is a path on this server (`/moved`), under which it is answered, or another base
    /// (`https://elsewhere/fhir`), behind which the rest of the path comes.
    Redirect {
        /// 302 or 307, for example.
        status: u16,
        /// Where `/fhir` is now.
        to: String,
    },
    /// Any request: nothing is looked up or answered for so long.
    SlowHead(Duration),
    /// Any request: the body comes in so many pieces, with this pause before each but the first.
    SlowBody(Duration, usize),
    /// Any request: half of the body, as if that were all of it.
    TruncatedJson,
    /// Any request: the connection is closed after half of the body that the head announces.
    BrokenBody,
    /// A read, or a read of a version, that finds something: it is answered with a resource of another type and the same id.
    WrongType,
    /// A search whose `_id` has more than so many ids is answered with 413.
    TooManyIds(usize),
    /// A search for more than so many ids is answered only after this time.
    SlowAboveIds(usize, Duration),
    /// A search with `_id` finds everything of the type, on this page and on those behind it.
    IgnoresId,
    /// A page of a search or a history has no more than so many rows, however many were asked for.
    SmallPages(usize),
    /// A page of a search or a history says that there is one row more than there is.
    WrongTotal,
    /// A page of a search or a history has each row twice, and before them once more the first row of the page before.
    DuplicateRows,
    /// A page of a search or a history has its rows in another order, if there are two or more.
    ShuffledRows,
    /// A page of a search or a history lacks every other row, if there are two or more, and tells no total that would show it.
    MissingRows,
    /// A page of a search has rows that nobody asked for: a resource of the same type if there was `_id`, one of another type,
    /// and an OperationOutcome.
    ForeignRows,
    /// The last page of a search or a history links to the first page as the next one.
    CyclicNext,
    /// The next link of a page of a search or a history leads to this base instead of this server's own.
    NextElsewhere(String),
}

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// All.
    Any,
    /// Pages of searches, the first and those that a link leads to.
    Search,
    /// Reads and reads of a version.
    Read,
    /// Pages of histories, the first and those that a link leads to.
    History,
    /// Batches.
    Batch,
    /// The CapabilityStatement.
    Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Always,
    First(usize),
    Every(usize),
}

/// A harm, the requests that it is for, and how often it is done to them.
///
/// Only those answers count that the harm can spoil at all: [`Harm::CyclicNext`] passes over pages that are not the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    harm: Harm,
    requests: Requests,
    part: String,
    often: Often,
}

impl Fault {
    /// Always, for all requests that the harm can be done to.
    #[must_use]
    pub fn new(harm: Harm) -> Self {
        Self { harm, requests: Requests::Any, part: String::new(), often: Often::Always }
    }

    /// Only for these requests.
    #[must_use]
    pub fn on(mut self, requests: Requests) -> Self {
        self.requests = requests;
        self
    }

    /// Only for requests with this in their path, query and form (`/fhir/Patient?_id=a,b`, with the escapes undone). A page that
    /// a link leads to has in it what was asked for the first page.
    #[must_use]
    pub fn containing(mut self, part: &str) -> Self {
        part.clone_into(&mut self.part);
        self
    }

    /// Only the first `count` times.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.often = Often::First(count);
        self
    }

    /// Only each `nth` time: for 3 the third, the sixth and so on.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn every(mut self, nth: usize) -> Self {
        assert!(nth > 0, "the harm is done every first time, or every second");
        self.often = Often::Every(nth);
        self
    }
}

impl Harm {
    /// Whether it is an answer of its own, after which nothing is looked up.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Status(..) | Self::NotJson | Self::NoServer | Self::Redirect { .. } | Self::TooManyIds(_))
    }
}

/// The faults of one server, and how often they have met a request.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

struct Rule {
    fault: Fault,
    met: usize,
}

impl Rules {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        self.rules.push(Rule { fault, met: 0 });
    }

    /// None any more.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The harms to do to a request of this kind that was told so, the oldest first, of those that can be done to it. This
    /// counts. Of those that are answers of their own, the oldest is done, and the others are not counted.
    pub fn due(&mut self, requests: Requests, told: &str, can_be_done: impl Fn(&Harm) -> bool) -> Vec<Harm> {
        let mut due: Vec<Harm> = Vec::new();
        for Rule { fault, met } in &mut self.rules {
            let is_meant = [Requests::Any, requests].contains(&fault.requests) && told.contains(&fault.part);
            let is_answered = fault.harm.is_answer() && due.iter().any(Harm::is_answer);
            if !is_meant || is_answered || !can_be_done(&fault.harm) {
                continue;
            }
            *met += 1;
            let is_due = match fault.often {
                Often::Always => true,
                Often::First(count) => *met <= count,
                Often::Every(nth) => met.is_multiple_of(nth),
            };
            if is_due {
                due.push(fault.harm.clone());
            }
        }
        due
    }

    /// The paths of this server that redirects lead to.
    pub fn moved(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.fault.harm {
            Harm::Redirect { to, .. } if to.starts_with('/') => Some(to.as_str()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(fault: Fault, asked: &[(Requests, &str)]) -> Vec<usize> {
        let mut rules = Rules::default();
        rules.add(fault);
        asked.iter().map(|(requests, told)| rules.due(*requests, told, |_| true).len()).collect()
    }

    #[test]
    fn a_fault_is_as_often_as_it_says() {
        let asked = [(Requests::Read, "/fhir/Patient/a"); 5];
        let fault = Fault::new(Harm::NotJson);
        assert_eq!(times(fault.clone(), &asked), [1, 1, 1, 1, 1]);
        assert_eq!(times(fault.clone().first(2), &asked), [1, 1, 0, 0, 0]);
        assert_eq!(times(fault.every(2), &asked), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_fault_is_for_the_requests_that_it_says() {
        let asked = [
            (Requests::Read, "/fhir/Patient/a"),
            (Requests::Search, "/fhir/Patient?_id=a"),
            (Requests::Search, "/fhir/Group?_id=a"),
        ];
        let fault = Fault::new(Harm::NotJson);
        assert_eq!(times(fault.clone().on(Requests::Search), &asked), [0, 1, 1]);
        assert_eq!(times(fault.clone().containing("Patient"), &asked), [1, 1, 0]);
        assert_eq!(times(fault.on(Requests::Search).containing("Patient").first(1), &asked), [0, 1, 0]);
    }

    #[test]
    fn what_cannot_be_spoiled_is_not_counted_and_one_answer_is_enough() {
        let mut rules = Rules::default();
        rules.add(Fault::new(Harm::Status(503, None)).first(1));
        rules.add(Fault::new(Harm::NotJson).first(1));
        assert_eq!(rules.due(Requests::Read, "", |_| false), []);
        assert_eq!(rules.due(Requests::Read, "", |_| true), [Harm::Status(503, None)]);
        assert_eq!(rules.due(Requests::Read, "", |_| true), [Harm::NotJson]);
        assert_eq!(rules.due(Requests::Read, "", |_| true), []);
    }
}
