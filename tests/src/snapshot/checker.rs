//! Is each export the state at its transaction time, and does a chain of them rebuild the last one? Pure: it is given what
//! happened and says what is wrong with it.
//!
//! Two kinds of rules. Those by time compare each export with the state that the database's own times give. Those by order
//! believe no clock: what was acknowledged before a kick-off is in the export, what was begun after it is not, a transaction
//! is there as a whole or not at all, and nobody sees an older version after a newer one.

mod order;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use self::order::{Order, by_order};
use super::history::{Events, Export};
use super::past::State;
use crate::harness::random::OWN_BASE;
use crate::oracle::{Reached, Resources, reached, type_of, written};

/// Those that belong to a person.
const PERSONAL: [&str; 3] = ["Patient", "Coverage", "RelatedPerson"];

/// Those that say nothing about a person.
const PROVIDERS: [&str; 4] = ["Practitioner", "PractitionerRole", "Organization", "Location"];

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// An export has a text that nobody has committed.
    Invented,
    /// A full export is not the state at its transaction time.
    State,
    /// An export with `_since` has not what was to be written.
    Written,
    /// It tells a deletion that was none, or does not tell one.
    Deletion,
    /// It does not say of the same resources as the state does that they are missing.
    Missing,
    /// A client that has applied it does not hold the state at its transaction time.
    Rebuilt,
    /// It lacks what was acknowledged before its kick-off.
    Stale,
    /// It has what was begun after it was complete.
    Future,
    /// It has a part of a transaction.
    Torn,
    /// It has something older than an export that was complete before its kick-off.
    Backwards,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What somebody knew after an export: of a full one what it says, in a chain what the client holds and misses.
pub struct Shown<'a> {
    pub export: &'a Export,
    pub reached: Reached,
}

/// All that is wrong.
pub fn check(events: &Events) -> Vec<Violation> {
    let mut wrong = Wrong::default();
    let order = Order::of(&events.past);
    let mut held: BTreeMap<&str, (i64, Resources)> = BTreeMap::new();
    let mut shown = Vec::new();
    for export in &events.exports {
        invented(events, export, &mut wrong);
        let state = events.past.at(export.transaction_time);
        let now = reached(&state.lines, "g", &[OWN_BASE]);
        let after = match export.since {
            None => said(export),
            Some(since) => {
                link(events, export, since, &state, &mut wrong);
                match held.remove(export.who.as_str()) {
                    Some((last, held)) if last == since => apply(held, export),
                    // It does not go on from what the client holds.
                    _ => continue,
                }
            }
        };
        let rule = if export.since.is_none() { Rule::State } else { Rule::Rebuilt };
        if after != now {
            wrong.add(rule, export, &difference(&after, &now));
        }
        held.insert(&export.who, (export.transaction_time, after.lines.clone()));
        shown.push(Shown { export, reached: after });
    }
    by_order(events, &order, &shown, &mut wrong);
    wrong.0
}

/// What is wrong so far.
#[derive(Default)]
pub struct Wrong(Vec<Violation>);

impl Wrong {
    pub fn add(&mut self, rule: Rule, Export { who, invoked, .. }: &Export, what: &str) {
        self.0.push(Violation { rule, what: format!("the export of {who} at {invoked}: {what}") });
    }
}

/// What a full export says.
fn said(export: &Export) -> Reached {
    Reached { lines: export.output.clone(), missing: export.missing.clone(), unresolvable: export.unresolvable.clone() }
}

/// What a client holds that applies an export with `_since`, as decision 0008 tells it to: what it was told of replaces what
/// it had, what was deleted goes, and then what its Group no longer reaches.
fn apply(mut held: Resources, export: &Export) -> Reached {
    held.extend(export.output.clone());
    for key in &export.deleted {
        held.remove(key);
    }
    reached(&held, "g", &[OWN_BASE])
}

fn invented(events: &Events, export: &Export, wrong: &mut Wrong) {
    for (key, line) in &export.output {
        let is_it = |(other, body): &(String, Option<String>)| other == key && body.as_ref() == Some(line);
        if !events.writes.iter().any(|write| write.committed && write.wrote.iter().any(is_it)) {
            wrong.add(Rule::Invented, export, line);
        }
    }
}

/// What an export with `_since` promises beside what the client makes of it.
fn link(events: &Events, export: &Export, since: i64, state: &State, wrong: &mut Wrong) {
    let is_new = |times: &BTreeMap<String, i64>, key: &str| times.get(key).is_some_and(|at| *at > since);
    let expected =
        written(&state.lines, "g", &[OWN_BASE], |key| is_new(&state.changed, key) || is_new(&state.listed, key));
    if export.output != expected.lines {
        let of = |lines: &Resources| Reached { lines: lines.clone(), ..Reached::default() };
        wrong.add(Rule::Written, export, &difference(&of(&export.output), &of(&expected.lines)));
    }
    if (&export.missing, &export.unresolvable) != (&expected.missing, &expected.unresolvable) {
        let lines = expected.lines.clone();
        let said = Reached { lines, missing: export.missing.clone(), unresolvable: export.unresolvable.clone() };
        wrong.add(Rule::Missing, export, &difference(&said, &expected));
    }
    for key in &export.deleted {
        let is_gone = !state.lines.contains_key(key);
        if !is_gone || !events.past.deleted(since, export.transaction_time).contains(key.as_str()) {
            wrong.add(Rule::Deletion, export, &format!("{key} was not deleted"));
        }
    }
    // Decision 0011: those about a person that the list has named, those that something leads to, and all that are about nobody.
    let named = events.past.named(since, export.transaction_time);
    let is_told = |key: &str| {
        PROVIDERS.contains(&type_of(key))
            || expected.missing.contains(key)
            || (PERSONAL.contains(&type_of(key)) && named.contains(key))
    };
    for key in events.past.deleted(since, export.transaction_time) {
        if is_told(key) && !state.lines.contains_key(key) && !export.deleted.contains(key) {
            wrong.add(Rule::Deletion, export, &format!("{key} was deleted"));
        }
    }
}

/// What differs between what there is and what there should be.
fn difference(is: &Reached, should: &Reached) -> String {
    let keys = is.lines.keys().chain(should.lines.keys()).collect::<std::collections::BTreeSet<_>>();
    let mut all: Vec<String> = keys
        .into_iter()
        .filter(|key| is.lines.get(*key) != should.lines.get(*key))
        .map(|key| format!("{key} is {:?} and should be {:?}", is.lines.get(key), should.lines.get(key)))
        .collect();
    all.extend(is.missing.difference(&should.missing).map(|key| format!("{key} is wrongly missing")));
    all.extend(should.missing.difference(&is.missing).map(|key| format!("{key} should be missing")));
    all.extend(
        is.unresolvable.symmetric_difference(&should.unresolvable).map(|text| format!("{text:?} leads nowhere")),
    );
    all.join("; ")
}
