//! What the harms do to the rows and links of a page.

use std::sync::Arc;

use crate::answer::{outcome, quoted};
use crate::bundle::{Bundle, Entry};
use crate::faults::Harm;

/// What of the page is of use to a harm.
pub struct Surroundings<'a> {
    pub base: &'a str,
    /// The type that was asked for, and whether by ids.
    pub kind: &'a str,
    pub has_ids: bool,
    pub is_search: bool,
    /// The first row of the page before.
    pub first_row_before: Option<Entry>,
}

/// Whether the harm can be done to this page.
pub fn can_be_done(harm: &Harm, bundle: &Bundle, around: &Surroundings<'_>) -> bool {
    let rows = bundle.entries.len();
    match harm {
        Harm::WrongTotal => bundle.total.is_some(),
        Harm::DuplicateRows => rows > 0,
        Harm::ShuffledRows | Harm::MissingRows => rows > 1,
        Harm::ForeignRows => around.is_search,
        Harm::CyclicNext => rows > 0 && bundle.next.is_none(),
        Harm::NextElsewhere(_) => bundle.next.is_some(),
        _ => false,
    }
}

/// Does it. `first_page` makes a link to the first page.
pub fn spoil(bundle: &mut Bundle, harm: &Harm, around: &Surroundings<'_>, first_page: impl FnOnce() -> String) {
    match harm {
        Harm::WrongTotal => bundle.total = bundle.total.map(|total| total + 1),
        Harm::DuplicateRows => {
            let twice = bundle.entries.iter().flat_map(|entry| [entry.clone(), entry.clone()]);
            bundle.entries = around.first_row_before.iter().cloned().chain(twice).collect();
        }
        Harm::ShuffledRows => {
            bundle.entries.reverse();
            let third = bundle.entries.len() / 3;
            bundle.entries.rotate_left(third);
        }
        Harm::MissingRows => {
            let rows = std::mem::take(&mut bundle.entries);
            bundle.entries = rows.into_iter().step_by(2).collect();
            bundle.total = None;
        }
        Harm::ForeignRows => {
            if around.has_ids {
                bundle.entries.insert(0, foreign(around.base, around.kind));
            }
            bundle.entries.push(foreign(around.base, another_type(around.kind)));
            bundle.entries.push(Entry {
                full_url: None,
                resource: Some(outcome("information", "informational", "devfhir was told to say something").into()),
                about: r#""search":{"mode":"outcome"}"#.to_owned(),
            });
        }
        Harm::CyclicNext => bundle.next = Some(first_page()),
        Harm::NextElsewhere(elsewhere) => {
            let next = bundle.next.take();
            bundle.next = next.map(|url| format!("{elsewhere}{}", url.strip_prefix(around.base).unwrap_or(&url)));
        }
        _ => {}
    }
}

/// A resource of another type than this, with this id.
pub fn of_another_type(kind: &str, id: &str) -> Arc<str> {
    made_up(another_type(kind), id)
}

fn another_type(kind: &str) -> &'static str {
    if kind == "Basic" { "Flag" } else { "Basic" }
}

fn foreign(base: &str, kind: &str) -> Entry {
    const ID: &str = "nobody-asked-for-this";
    Entry {
        full_url: Some(format!("{base}/{kind}/{ID}")),
        resource: Some(made_up(kind, ID)),
        about: r#""search":{"mode":"match"}"#.to_owned(),
    }
}

fn made_up(kind: &str, id: &str) -> Arc<str> {
    let meta = r#"{"versionId":"1","lastUpdated":"2020-01-01T00:00:00.000Z"}"#;
    format!(r#"{{"resourceType":{},"id":{},"meta":{meta}}}"#, quoted(kind), quoted(id)).into()
}
