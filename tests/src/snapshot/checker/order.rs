//! The rules that believe no clock: only which call returned before which other one was made, and in which order the
//! versions of one resource came to be.

use std::collections::BTreeMap;

use super::{Rule, Shown, Wrong};
use crate::snapshot::history::{Events, Write};
use crate::snapshot::past::Past;

/// What each resource was, one thing after the other, from its not being there on.
pub struct Order(BTreeMap<String, Vec<Was>>);

struct Was {
    /// `None` when it was not there.
    body: Option<String>,
    /// When that began.
    from: i64,
}

impl Order {
    pub fn of(past: &Past) -> Self {
        let mut all: BTreeMap<String, Vec<Was>> = BTreeMap::new();
        let mut began = |key: &str, body: Option<String>, from: i64| {
            let nothing = || vec![Was { body: None, from: i64::MIN }];
            all.entry(key.to_owned()).or_insert_with(nothing).push(Was { body, from });
        };
        for version in &past.versions {
            began(&version.key, Some(version.body.clone()), version.from);
            if version.deleted {
                began(&version.key, None, version.to);
            }
        }
        for head in &past.heads {
            began("Group/g", Some(past.group(head)), head.from);
        }
        Self(all)
    }

    /// The places in the order at which it was so: one for a text, any of those at which it was not there.
    fn places(&self, key: &str, body: Option<&String>) -> Option<(usize, usize)> {
        let Some(all) = self.0.get(key) else { return body.is_none().then_some((0, 0)) };
        let is_so = |was: &Was| was.body.as_ref() == body;
        Some((all.iter().position(is_so)?, all.iter().rposition(is_so)?))
    }

    /// Where a transaction put it. A deletion that did nothing, or that cannot be told from another one, has no place.
    fn put(&self, write: &Write, key: &str, body: Option<&String>) -> Option<usize> {
        if body.is_some() {
            return self.places(key, body).map(|(first, _)| first);
        }
        let is_it = |was: &Was| was.body.is_none() && write.stamp.0 <= was.from && was.from <= write.stamp.1;
        let all = self.0.get(key)?;
        let first = all.iter().position(is_it)?;
        (all.iter().rposition(is_it) == Some(first)).then_some(first)
    }
}

/// What is wrong by order.
pub fn by_order(events: &Events, order: &Order, shown: &[Shown<'_>], wrong: &mut Wrong) {
    let writes: Vec<(&Write, Vec<(&str, usize)>)> = events
        .writes
        .iter()
        .filter(|write| write.committed)
        .map(|write| {
            let put = |(key, body): &'_ (String, Option<String>)| order.put(write, key, body.as_ref());
            (write, write.wrote.iter().filter_map(|wrote| Some((wrote.0.as_str(), put(wrote)?))).collect())
        })
        .collect();
    let all: Vec<BTreeMap<&str, (usize, usize)>> = shown.iter().map(|shown| places(order, shown)).collect();
    for (Shown { export, .. }, places) in shown.iter().zip(&all) {
        for (write, put) in &writes {
            let there: Vec<bool> = put
                .iter()
                .filter_map(|(key, place)| {
                    let (first, last) = places.get(key)?;
                    if first >= place { Some(true) } else { (last < place).then_some(false) }
                })
                .collect();
            let (has, lacks) = (there.contains(&true), there.contains(&false));
            if has && lacks {
                wrong.add(Rule::Torn, export, &told(write));
            }
            if lacks && write.returned < export.invoked {
                wrong.add(Rule::Stale, export, &told(write));
            }
            if has && export.returned < write.invoked {
                wrong.add(Rule::Future, export, &told(write));
            }
        }
    }
    for (earlier, before) in shown.iter().zip(&all) {
        for (later, after) in shown.iter().zip(&all) {
            if earlier.export.returned >= later.export.invoked {
                continue;
            }
            for (key, (first, _)) in before {
                if after.get(key).is_some_and(|(_, last)| last < first) {
                    wrong.add(Rule::Backwards, later.export, key);
                }
            }
            if later.export.transaction_time < earlier.export.transaction_time {
                wrong.add(Rule::Backwards, later.export, "the transaction time");
            }
        }
    }
}

/// Where in its order each resource is that somebody knew of.
fn places<'a>(order: &Order, shown: &'a Shown<'_>) -> BTreeMap<&'a str, (usize, usize)> {
    let there = shown.reached.lines.iter().map(|(key, line)| (key, Some(line)));
    let missing = shown.reached.missing.iter().map(|key| (key, None));
    there.chain(missing).filter_map(|(key, line)| Some((key.as_str(), order.places(key, line)?))).collect()
}

fn told(Write { who, invoked, wrote, .. }: &Write) -> String {
    let keys: Vec<&str> = wrote.iter().map(|(key, _)| key.as_str()).collect();
    format!("the transaction of {who} at {invoked}, of {}", keys.join(", "))
}
