//! What became of a resource, or of all of a type, the newest change first.

use std::sync::Arc;

use crate::answer::Answer;
use crate::clock::Span;
use crate::pages::{Cursor, Found};
use crate::store::{Kind, Store, Version};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct History {
    pub kind: String,
    /// The resource; all of the type if there is none.
    pub id: Option<String>,
    pub count: Option<usize>,
    /// Not the changes before this, in nanoseconds since 1970.
    since: Option<i128>,
}

impl History {
    /// Reads the parameters; the unknown ones are ignored.
    pub fn read(kind: &str, id: Option<&str>, parameters: &[(String, String)]) -> Result<Self, Answer> {
        let mut history = Self { kind: kind.to_owned(), id: id.map(str::to_owned), count: None, since: None };
        for (name, value) in parameters {
            let wrong = || Answer::refusal(400, "invalid", &format!("failed to read the value of {name}"));
            match name.as_str() {
                "_count" => history.count = Some(value.parse().map_err(|_| wrong())?),
                "_since" => history.since = Some(Span::parse(value).ok_or_else(wrong)?.from),
                _ => {}
            }
        }
        Ok(history)
    }

    /// The changes before `from`, at most `count` of them. None if the resource never was there.
    pub fn find(&self, store: &Store, from: Option<&Cursor>, count: usize) -> Option<Found> {
        let versions: &[Arc<Version>] = match &self.id {
            Some(id) => store.record(&self.kind, id)?.history(),
            None => store.kind(&self.kind).map(Kind::changes).unwrap_or_default(),
        };
        // Changes are in the order of their writes, and so of their stamps.
        let start = versions.partition_point(|version| self.since.is_some_and(|since| version.stamp.nanos() < since));
        let end = versions.partition_point(|version| from.is_none_or(|from| version.write < from.write));
        let asked = versions.get(start..end).unwrap_or_default();
        Some(Found {
            versions: asked.iter().rev().take(count).cloned().collect(),
            total: from.map_or(asked.len(), |from| from.total),
            has_more: asked.len() > count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::resource::Resource;

    fn changed() -> Store {
        let mut store = Store::default();
        for text in [
            r#"{"resourceType":"Patient","id":"a"}"#,
            r#"{"resourceType":"Patient","id":"b"}"#,
            r#"{"resourceType":"Patient","id":"a","active":true}"#,
        ] {
            store.load(vec![Resource::read(text, "")], false, Moment::now());
        }
        store.delete(&[("Patient", "b")], Moment::now());
        store
    }

    fn found(store: &Store, id: Option<&str>, parameters: &[(String, String)]) -> Vec<(String, Option<String>)> {
        let Ok(history) = History::read("Patient", id, parameters) else {
            panic!("{parameters:?} are good parameters")
        };
        let found = history.find(store, None, 100).expect("it is there");
        let row = |version: &Arc<Version>| (version.id.to_string(), version.version().map(str::to_owned));
        found.versions.iter().map(row).collect()
    }

    fn row(id: &str, version: Option<&str>) -> (String, Option<String>) {
        (id.to_owned(), version.map(str::to_owned))
    }

    #[test]
    fn the_newest_change_comes_first() {
        let store = changed();
        let all = [row("b", None), row("a", Some("2")), row("b", Some("1")), row("a", Some("1"))];
        assert_eq!(found(&store, None, &[]), all);
        assert_eq!(found(&store, Some("a"), &[]), [row("a", Some("2")), row("a", Some("1"))]);
    }

    #[test]
    fn since_is_at_or_after() {
        let store = changed();
        let stamp = store.record("Patient", "a").expect("it was loaded").newest().stamp.instant();
        let since = [("_since".to_owned(), stamp)];
        assert_eq!(found(&store, None, &since), [row("b", None), row("a", Some("2"))]);
    }

    #[test]
    fn what_never_was_has_no_history_and_a_type_that_never_was_an_empty_one() {
        let store = changed();
        let find = |kind: &str, id| {
            History::read(kind, id, &[])
                .ok()
                .and_then(|history| history.find(&store, None, 100))
                .map(|found| found.total)
        };
        assert_eq!(find("Patient", Some("never")), None);
        assert_eq!(find("Basic", None), Some(0));
    }
}
