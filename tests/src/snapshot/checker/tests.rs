//! Histories by hand, each with one thing wrong, so that the checker is known to see it.

use std::collections::BTreeSet;

use super::*;
use crate::oracle::by_key;
use crate::snapshot::history::Write;
use crate::snapshot::past::{Head, Member, NEVER, Version};

/// A run in which `Group/g` has had Patients a and b from time 10 on, each in version 1, and a client exported at 20.
fn run() -> Events {
    let mut events = Events::default();
    events.past.heads.push(Head { from: 10, to: NEVER, before: BEFORE.to_owned(), after: "]}".to_owned() });
    for (ordinal, id) in [(0, "a"), (1, "b")] {
        let body = member(id);
        events.past.members.push(Member { ordinal, from: 10, to: NEVER, body });
        events.past.versions.push(version(id, 1, 10));
    }
    events.writes.push(write("world", 0, &[("Group/g", Some(group(&["a", "b"]))), patient("a", 1), patient("b", 1)]));
    events.exports.push(full(2, 20, &[group(&["a", "b"]), text("a", 1), text("b", 1)]));
    events
}

const BEFORE: &str = r#"{"resourceType":"Group","id":"g","member":["#;

fn group(ids: &[&str]) -> String {
    let members: Vec<String> = ids.iter().map(|id| member(id)).collect();
    format!("{BEFORE}{}]}}", members.join(","))
}

fn member(id: &str) -> String {
    format!(r#"{{"entity":{{"reference":"Patient/{id}"}}}}"#)
}

fn text(id: &str, number: i64) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","version":{number}}}"#)
}

fn patient(id: &str, number: i64) -> (&str, Option<String>) {
    (if id == "a" { "Patient/a" } else { "Patient/b" }, Some(text(id, number)))
}

fn version(id: &str, number: i64, from: i64) -> Version {
    let key = format!("Patient/{id}");
    Version { key, number, from, to: NEVER, deleted: false, body: text(id, number) }
}

/// A transaction that took the two places from `invoked` on.
fn write(who: &str, invoked: u64, wrote: &[(&str, Option<String>)]) -> Write {
    let wrote = wrote.iter().map(|(key, body)| ((*key).to_owned(), body.clone())).collect();
    Write { who: who.to_owned(), invoked, returned: invoked + 1, committed: true, stamp: (0, NEVER), wrote }
}

/// A full export that took the two places from `invoked` on.
fn full(invoked: u64, transaction_time: i64, lines: &[String]) -> Export {
    Export {
        who: "client".to_owned(),
        invoked,
        returned: invoked + 1,
        since: None,
        transaction_time,
        output: by_key(lines.iter().cloned()),
        deleted: BTreeSet::new(),
        missing: BTreeSet::new(),
        unresolvable: BTreeSet::new(),
    }
}

fn link(invoked: u64, since: i64, transaction_time: i64, lines: &[String]) -> Export {
    Export { since: Some(since), ..full(invoked, transaction_time, lines) }
}

impl Events {
    /// Changes Patients at a time, in a transaction that took the two places from `invoked` on.
    fn change(&mut self, invoked: u64, ids: &[&str], number: i64, at: i64) {
        for id in ids {
            let current = self.past.versions.iter_mut().filter(|version| version.key == format!("Patient/{id}"));
            current.filter(|version| version.to == NEVER).for_each(|version| version.to = at);
            self.past.versions.push(version(id, number, at));
        }
        self.past.versions.sort_by(|left, right| (&left.key, left.number).cmp(&(&right.key, right.number)));
        let wrote: Vec<_> = ids.iter().map(|id| patient(id, number)).collect();
        self.writes.push(write("writer", invoked, &wrote));
    }

    /// Deletes Patients at a time.
    fn delete(&mut self, invoked: u64, ids: &[&str], at: i64) {
        for id in ids {
            let current = self.past.versions.iter_mut().filter(|version| version.key == format!("Patient/{id}"));
            for version in current.filter(|version| version.to == NEVER) {
                (version.to, version.deleted) = (at, true);
            }
        }
        let wrote: Vec<_> = ids.iter().map(|id| (patient(id, 0).0, None)).collect();
        self.writes.push(Write { stamp: (at, at), ..write("writer", invoked, &wrote) });
    }

    /// Has the list lose b at a time.
    fn lose_b(&mut self, invoked: u64, at: i64) {
        self.past.heads[0].to = at;
        self.past.heads.push(Head { from: at, to: NEVER, before: BEFORE.to_owned(), after: "]}".to_owned() });
        self.past.members[1].to = at;
        self.writes.push(write("writer", invoked, &[("Group/g", Some(group(&["a"])))]));
    }
}

/// The rules that are broken.
fn broken(events: &Events) -> BTreeSet<Rule> {
    check(events).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_run_without_fault_passes() {
    let mut events = run();
    events.change(4, &["a", "b"], 2, 30);
    events.exports.push(link(6, 20, 40, &[text("a", 2), text("b", 2)]));
    events.delete(8, &["a"], 50);
    let gone = BTreeSet::from(["Patient/a".to_owned()]);
    events.exports.push(Export { deleted: gone.clone(), missing: gone.clone(), ..link(10, 40, 60, &[]) });
    events.lose_b(12, 70);
    events.exports.push(Export { missing: gone, ..link(14, 60, 80, &[group(&["a"])]) });
    assert_eq!(check(&events), []);
}

#[test]
fn a_late_commit_below_the_transaction_time_of_an_export_without_it_is_seen() {
    let mut events = run();
    // Under way beside the first export, so that only the times tell.
    events.change(1, &["a", "b"], 2, 15);
    events.writes[1].returned = 9;
    assert_eq!(broken(&events), [Rule::State].into());
    events.exports.push(link(10, 20, 40, &[]));
    assert_eq!(broken(&events), [Rule::State, Rule::Rebuilt, Rule::Stale].into(), "and it is never told of");
}

#[test]
fn an_export_of_a_time_before_an_acknowledged_write_is_seen() {
    let mut events = run();
    events.change(4, &["a", "b"], 2, 30);
    events.exports.push(full(6, 25, &[group(&["a", "b"]), text("a", 1), text("b", 1)]));
    assert_eq!(broken(&events), [Rule::Stale].into());
}

#[test]
fn a_deletion_that_was_acknowledged_and_is_not_in_an_export_is_seen() {
    let mut events = run();
    events.delete(4, &["a"], 30);
    events.exports.push(full(6, 25, &[group(&["a", "b"]), text("a", 1), text("b", 1)]));
    assert_eq!(broken(&events), [Rule::Stale].into());
}

#[test]
fn a_part_of_a_transaction_is_seen() {
    let mut events = run();
    events.change(4, &["a"], 2, 30);
    events.change(4, &["b"], 2, 35);
    let (a, mut b) = (events.writes.remove(1), events.writes.remove(1));
    b.wrote.extend(a.wrote);
    b.returned = 9;
    events.writes.push(b);
    events.exports.push(full(6, 32, &[group(&["a", "b"]), text("a", 2), text("b", 1)]));
    assert_eq!(broken(&events), [Rule::Torn].into());
}

#[test]
fn a_member_who_is_lost_is_seen() {
    let mut events = run();
    events.exports.push(full(4, 40, &[group(&["a"]), text("a", 1)]));
    let found = broken(&events);
    assert!(found.contains(&Rule::State) && found.contains(&Rule::Invented), "{found:?}");
    events.exports.pop();
    events.exports.push(full(4, 40, &[group(&["a", "b"]), text("a", 1)]));
    assert_eq!(broken(&events), [Rule::State].into());
}

#[test]
fn a_member_who_left_and_stays_is_seen() {
    let mut events = run();
    events.lose_b(4, 30);
    events.exports.push(link(6, 20, 40, &[]));
    let found = broken(&events);
    assert!(found.is_superset(&[Rule::Written, Rule::Rebuilt, Rule::Stale].into()), "{found:?}");
}

#[test]
fn a_resource_from_after_the_transaction_time_is_seen() {
    let mut events = run();
    events.change(1, &["a", "b"], 2, 30);
    events.writes[1].returned = 9;
    events.exports[0].output.insert("Patient/a".to_owned(), text("a", 2));
    assert_eq!(broken(&events), [Rule::State, Rule::Torn].into());
}

#[test]
fn a_write_that_began_after_the_export_is_seen_in_it() {
    let mut events = run();
    events.change(4, &["a", "b"], 2, 15);
    events.exports[0].output.extend(by_key([text("a", 2), text("b", 2)]));
    assert_eq!(broken(&events), [Rule::Future].into());
}

#[test]
fn a_change_at_the_very_last_time_is_not_told_again_and_one_a_microsecond_later_is() {
    let mut events = run();
    events.change(1, &["a", "b"], 2, 20);
    events.exports[0].output.extend(by_key([text("a", 2), text("b", 2)]));
    events.exports.push(link(4, 20, 40, &[text("a", 2), text("b", 2)]));
    assert_eq!(broken(&events), [Rule::Written].into());
    let mut events = run();
    events.change(4, &["a", "b"], 2, 21);
    events.exports.push(link(6, 20, 40, &[]));
    assert_eq!(broken(&events), [Rule::Written, Rule::Rebuilt, Rule::Stale].into());
}

#[test]
fn an_export_that_goes_on_from_no_other_is_held_against_its_own_time_alone() {
    let mut events = run();
    events.change(4, &["a", "b"], 2, 31);
    events.change(6, &["b"], 3, 35);
    events.exports.push(link(8, 31, 40, &[text("b", 3)]));
    assert_eq!(check(&events), []);
    events.exports.push(link(10, 30, 40, &[text("b", 3)]));
    assert_eq!(broken(&events), [Rule::Written].into());
}

#[test]
fn a_deletion_that_a_client_is_not_told_of_is_seen_and_one_that_was_none() {
    let mut events = run();
    events.delete(4, &["a"], 30);
    events.writes[1].returned = 9;
    let gone = BTreeSet::from(["Patient/a".to_owned()]);
    events.exports.push(Export { missing: gone.clone(), ..link(6, 20, 40, &[]) });
    assert_eq!(broken(&events), [Rule::Deletion, Rule::Rebuilt].into());
    events.exports[1].deleted = gone.clone();
    assert_eq!(check(&events), []);
    events.exports[1].missing.clear();
    assert_eq!(broken(&events), [Rule::Missing].into());
    events.exports[1].missing = gone;
    events.exports[1].deleted.insert("Patient/never".to_owned());
    assert_eq!(broken(&events), [Rule::Deletion].into());
}

#[test]
fn a_deletion_of_one_who_had_left_the_list_before_is_owed() {
    let mut events = run();
    events.lose_b(3, 25);
    events.delete(4, &["b"], 30);
    events.writes[2].returned = 9;
    events.exports.push(link(6, 20, 40, &[group(&["a"])]));
    assert_eq!(broken(&events), [Rule::Deletion].into());
    events.exports[1].deleted.insert("Patient/b".to_owned());
    assert_eq!(check(&events), []);
}

#[test]
fn what_was_rolled_back_is_seen_in_an_export() {
    let mut events = run();
    events.change(1, &["a"], 2, 15);
    events.writes[1].committed = false;
    events.exports[0].output.insert("Patient/a".to_owned(), text("a", 2));
    assert_eq!(broken(&events), [Rule::Invented].into());
}

#[test]
fn a_time_that_goes_back_is_seen() {
    let mut events = run();
    events.change(1, &["a", "b"], 2, 15);
    events.writes[1].returned = 9;
    events.exports[0].output.extend(by_key([text("a", 2), text("b", 2)]));
    events.exports.push(full(4, 12, &[group(&["a", "b"]), text("a", 1), text("b", 1)]));
    assert_eq!(broken(&events), [Rule::Backwards].into());
}
