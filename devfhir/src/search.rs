//! Searches in one type: what was asked, and which resources answer it.

use std::collections::{BTreeMap, HashSet};

use crate::Abilities;
use crate::answer::Answer;
use crate::clock::Span;
use crate::pages::{Cursor, Found};
use crate::resource::{Identifier, reference};
use crate::store::{Record, Store};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Search {
    pub kind: String,
    /// The ids that may be found; all if there are none.
    pub ids: Option<Vec<String>>,
    pub count: Option<usize>,
    pub elements: Option<Vec<String>>,
    /// Only the total is wanted.
    pub is_summary: bool,
    /// The parameters that are not ignored, for the link to this search itself.
    pub used: Vec<(String, String)>,
    order: Order,
    updated: Vec<(Comparison, Span)>,
    /// One of each must fit.
    identifiers: Vec<Vec<Token>>,
    /// The Group must have one of each.
    members: Vec<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Id,
    Updated,
    NewestFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Within,
    After,
    From,
    Before,
    Until,
}

/// An identifier that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    /// Any; or this one, where "" is none.
    system: Option<String>,
    /// Any; or this one.
    value: Option<String>,
}

/// What of the asking server matters to a search.
pub struct Terms<'a> {
    pub abilities: &'a Abilities,
    pub base: &'a str,
    /// An unknown parameter is refused, instead of ignored.
    pub is_strict: bool,
}

impl Search {
    /// Reads the parameters. Those without a value are ignored, as FHIR has it.
    pub fn read(kind: &str, parameters: &[(String, String)], terms: &Terms<'_>) -> Result<Self, Answer> {
        let mut search = Self {
            kind: kind.to_owned(),
            ids: None,
            count: None,
            elements: None,
            is_summary: false,
            used: Vec::new(),
            order: Order::Updated,
            updated: Vec::new(),
            identifiers: Vec::new(),
            members: Vec::new(),
        };
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            if search.read_one(name, value, terms)? {
                search.used.push((name.clone(), value.clone()));
            } else if terms.is_strict {
                return Err(Answer::refusal(400, "not-supported", &format!("unknown search parameter {name}")));
            }
        }
        Ok(search)
    }

    /// Whether the parameter is known.
    fn read_one(&mut self, name: &str, value: &str, terms: &Terms<'_>) -> Result<bool, Answer> {
        let wrong = || Answer::refusal(400, "invalid", &format!("failed to read the value of {name}"));
        match name {
            "_id" if !terms.abilities.id_search => {
                return Err(Answer::refusal(400, "not-supported", "this server cannot search by _id"));
            }
            "_id" => {
                let mut seen = HashSet::new();
                let ids = split(value, ',').into_iter().map(|id| unescaped(&id));
                let mut ids: Vec<_> = ids.filter(|id| !id.is_empty() && seen.insert(id.clone())).collect();
                if let Some(before) = &self.ids {
                    let before: HashSet<_> = before.iter().collect();
                    ids.retain(|id| before.contains(id));
                }
                self.ids = Some(ids);
            }
            "_lastUpdated" if terms.abilities.last_updated => {
                let (comparison, date) = match value.split_at_checked(2) {
                    Some(("gt", date)) => (Comparison::After, date),
                    Some(("ge", date)) => (Comparison::From, date),
                    Some(("lt", date)) => (Comparison::Before, date),
                    Some(("le", date)) => (Comparison::Until, date),
                    Some(("eq", date)) => (Comparison::Within, date),
                    _ => (Comparison::Within, value),
                };
                self.updated.push((comparison, Span::parse(date).ok_or_else(wrong)?));
            }
            "identifier" => self.identifiers.push(split(value, ',').iter().map(|text| Token::read(text)).collect()),
            "member" if self.kind == "Group" => {
                let members = split(value, ',').into_iter().map(|text| unescaped(&text));
                self.members.push(members.map(|text| reference(&text, terms.base).to_owned()).collect());
            }
            "_count" => self.count = Some(value.parse().map_err(|_| wrong())?),
            "_elements" if terms.abilities.elements => {
                self.elements = Some(value.split(',').map(|name| name.trim().to_owned()).collect());
            }
            "_sort" => {
                self.order = match value {
                    "_id" => Order::Id,
                    "_lastUpdated" => Order::Updated,
                    "-_lastUpdated" => Order::NewestFirst,
                    _ => return Err(wrong()),
                }
            }
            "_summary" if value == "count" => self.is_summary = true,
            "_format" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The rows behind `from`, at most `count` of them.
    pub fn find(&self, store: &Store, from: Option<&Cursor>, count: usize) -> Found {
        let mut found = Found::default();
        let candidates = self.candidates(store, from);
        for record in candidates.filter(|record| self.fits(record)) {
            found.total += 1;
            if found.versions.len() < count {
                found.versions.push(record.newest().clone());
            } else {
                found.has_more = true;
                // The total was counted for the first page, and is told with the others as it was then.
                if from.is_some() {
                    break;
                }
            }
        }
        if let Some(from) = from {
            found.total = from.total;
        }
        found
    }

    /// Those behind `from` that may fit, in the order that was asked for. Not all of the type, if there are ids.
    fn candidates<'a>(
        &'a self,
        store: &'a Store,
        from: Option<&'a Cursor>,
    ) -> Box<dyn Iterator<Item = &'a Record> + 'a> {
        let Some(kind) = store.kind(&self.kind) else { return Box::new(std::iter::empty()) };
        let write = from.map(|from| from.write);
        let Some(ids) = &self.ids else {
            return match self.order {
                Order::Updated => Box::new(kind.by_write(write)),
                Order::NewestFirst => Box::new(kind.by_write_backwards(write)),
                Order::Id => Box::new(kind.by_id(from.map(|from| &*from.id))),
            };
        };
        let records = ids.iter().filter_map(|id| kind.record(id)).filter(|record| record.is_there());
        if self.order == Order::Id {
            let sorted: BTreeMap<_, _> = records.map(|record| (&*record.newest().id, record)).collect();
            let behind = move |id: &str| from.is_none_or(|from| id > &*from.id);
            return Box::new(sorted.into_iter().filter(move |(id, _)| behind(id)).map(|(_, record)| record));
        }
        let sorted: BTreeMap<_, _> = records.map(|record| (record.newest().write, record)).collect();
        if self.order == Order::Updated {
            let behind = move |at: u64| write.is_none_or(|write| at > write);
            Box::new(sorted.into_iter().filter(move |(at, _)| behind(*at)).map(|(_, record)| record))
        } else {
            let behind = move |at: u64| write.is_none_or(|write| at < write);
            Box::new(sorted.into_iter().rev().filter(move |(at, _)| behind(*at)).map(|(_, record)| record))
        }
    }

    fn fits(&self, record: &Record) -> bool {
        let stamp = record.newest().stamp.nanos();
        let known = record.known();
        self.updated.iter().all(|(comparison, span)| comparison.holds(stamp, *span))
            && self
                .identifiers
                .iter()
                .all(|tokens| tokens.iter().any(|token| known.identifiers.iter().any(|one| token.fits(one))))
            && self.members.iter().all(|members| members.iter().any(|member| known.members.contains(member.as_str())))
    }
}

impl Comparison {
    fn holds(self, stamp: i128, span: Span) -> bool {
        match self {
            Self::Within => span.from <= stamp && stamp < span.to,
            Self::After => stamp >= span.to,
            Self::From => stamp >= span.from,
            Self::Before => stamp < span.from,
            Self::Until => stamp < span.to,
        }
    }
}

impl Token {
    /// `value`, `system|value`, `system|` or `|value`.
    fn read(text: &str) -> Self {
        match &split(text, '|')[..] {
            [system, value] => Self {
                system: Some(unescaped(system)),
                value: Some(unescaped(value)).filter(|value| !value.is_empty()),
            },
            _ => Self { system: None, value: Some(unescaped(text)) },
        }
    }

    fn fits(&self, identifier: &Identifier) -> bool {
        let system = identifier.system.as_deref().unwrap_or_default();
        self.system.as_ref().is_none_or(|wanted| wanted == system)
            && self.value.as_ref().is_none_or(|wanted| identifier.value.as_ref() == Some(wanted))
    }
}

/// Splits where the separator is not behind a backslash; what is escaped stays so.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for letter in text.chars() {
        if letter == separator && !is_escaped {
            parts.push(String::new());
            continue;
        }
        is_escaped = letter == '\\' && !is_escaped;
        parts.last_mut().expect("there is one from the start").push(letter);
    }
    parts
}

/// Without the backslashes that escape.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::resource::Resource;

    fn store(resources: &[&str]) -> Store {
        let mut store = Store::default();
        for text in resources {
            store.load(vec![Resource::read(text, "http://here/fhir")], false, Moment::now());
        }
        store
    }

    fn read(kind: &str, parameters: &[(&str, &str)], is_strict: bool) -> Result<Search, Answer> {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let terms = Terms { abilities: &Abilities::default(), base: "http://here/fhir", is_strict };
        Search::read(kind, &parameters, &terms)
    }

    fn ids(store: &Store, kind: &str, parameters: &[(&str, &str)]) -> Vec<String> {
        let Ok(search) = read(kind, parameters, false) else { panic!("{parameters:?} are good parameters") };
        let found = search.find(store, None, 100);
        assert_eq!(found.total, found.versions.len());
        found.versions.iter().map(|version| version.id.to_string()).collect()
    }

    #[test]
    fn identifiers_are_found_with_or_without_their_system() {
        let group = |id: &str, identifier: &str| {
            format!(r#"{{"resourceType":"Group","id":"{id}","identifier":[{identifier}]}}"#)
        };
        let groups = [
            group("both", r#"{"system":"s","value":"1"},{"system":"s","value":"2"}"#),
            group("other", r#"{"system":"t","value":"1"}"#),
            group("none", r#"{"value":"1"}"#),
            group("odd", r#"{"system":"s","value":"a,b|c"}"#),
        ];
        let store = store(&groups.each_ref().map(String::as_str));
        for (value, expected) in [
            ("1", &["both", "other", "none"][..]),
            ("s|1", &["both"]),
            ("|1", &["none"]),
            ("s|", &["both", "odd"]),
            ("t|1,s|2", &["both", "other"]),
            (r"s|a\,b\|c", &["odd"]),
            (r"a\,b\|c", &["odd"]),
            ("s|3", &[]),
        ] {
            assert_eq!(ids(&store, "Group", &[("identifier", value)]), expected, "{value}");
        }
        assert_eq!(ids(&store, "Group", &[("identifier", "1"), ("identifier", "2")]), ["both"]);
    }

    #[test]
    fn groups_are_found_by_a_member() {
        let store = store(&[
            r#"{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient/a"}}]}"#,
            r#"{"resourceType":"Group","id":"h","member":[{"entity":{"reference":"http://here/fhir/Patient/b"}}]}"#,
        ]);
        for (value, expected) in [
            ("Patient/a", &["g"][..]),
            ("http://here/fhir/Patient/a", &["g"]),
            ("Patient/b", &["h"]),
            ("Patient/a,Patient/b", &["g", "h"]),
            ("Patient/c", &[]),
        ] {
            assert_eq!(ids(&store, "Group", &[("member", value)]), expected, "{value}");
        }
    }

    #[test]
    fn times_are_compared_as_their_prefix_says() {
        let store = store(&[r#"{"resourceType":"Patient","id":"a"}"#, r#"{"resourceType":"Patient","id":"b"}"#]);
        let stamp = store.record("Patient", "b").expect("it was loaded").newest().stamp.instant();
        for (prefix, expected) in
            [("gt", &[][..]), ("ge", &["b"]), ("lt", &["a"]), ("le", &["a", "b"]), ("eq", &["b"]), ("", &["b"])]
        {
            assert_eq!(ids(&store, "Patient", &[("_lastUpdated", &format!("{prefix}{stamp}"))]), expected, "{prefix}");
        }
        let both = [("_lastUpdated", format!("ge{stamp}")), ("_lastUpdated", format!("lt{stamp}"))];
        assert_eq!(ids(&store, "Patient", &both.each_ref().map(|(name, value)| (*name, value.as_str()))).len(), 0);
    }

    #[test]
    fn ids_are_found_in_the_order_of_their_last_write_unless_another_is_asked_for() {
        let patients = ["c", "a", "b"].map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#));
        let store = store(&patients.each_ref().map(String::as_str));
        let asked = ("_id", "a,b,c,a,never");
        assert_eq!(ids(&store, "Patient", &[asked]), ["c", "a", "b"]);
        assert_eq!(ids(&store, "Patient", &[asked, ("_sort", "_id")]), ["a", "b", "c"]);
        assert_eq!(ids(&store, "Patient", &[asked, ("_sort", "-_lastUpdated")]), ["b", "a", "c"]);
        assert_eq!(ids(&store, "Patient", &[("_sort", "_id")]), ["a", "b", "c"]);
        assert_eq!(ids(&store, "Patient", &[("_sort", "-_lastUpdated")]), ["b", "a", "c"]);
        assert_eq!(ids(&store, "Patient", &[asked, ("_id", "b,x")]), ["b"]);
        assert_eq!(ids(&store, "Patient", &[("_id", "")]), ["c", "a", "b"]);
    }

    #[test]
    fn an_unknown_parameter_is_ignored_unless_the_client_is_strict() {
        let asked = [("_id", "a"), ("shoe-size", "42")];
        assert!(read("Patient", &asked, false).is_ok_and(|search| search.used == [("_id".to_owned(), "a".to_owned())]));
        assert!(read("Patient", &asked, true).is_err_and(|refusal| refusal.status == 400));
        assert!(read("Patient", &[("member", "Patient/a")], true).is_err());
        assert!(read("Patient", &[("_lastUpdated", "gtnever")], false).is_err_and(|refusal| refusal.status == 400));
    }
}
