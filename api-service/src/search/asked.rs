//! The parameters of a search for Groups, checked. Pure.

use shared::fhir::search::{Query, SearchError};
use shared::fhir::{IssueCode, ResourceId, ResourceType, Summary};

use crate::bundle::paging::{single, size, summary};
use crate::error::ApiError;
use crate::parameters::{Pairs, refused};
use crate::prefer::Handling;

/// The parameters that say how the answer looks; the others say what is found. `_pretty` is taken and changes nothing:
/// resources are given as they were written.
const RESULT: [&str; 5] = ["_format", "_pretty", "_summary", "_count", "_after"];

/// What a client asked for.
#[derive(Debug)]
pub struct Asked {
    /// What is found.
    pub query: Query,
    /// What of each list is given; `Count`: none of them, but how many there are.
    pub summary: Summary,
    /// How many lists a page has.
    pub count: u32,
    /// The list that the last page ended with.
    pub after: Option<ResourceId>,
    /// The parameters that were used.
    used: Pairs,
}

impl Asked {
    /// Reads the parameters as they came. Fails with 400 when one is wrong, or not known and nobody asked for leniency.
    pub fn of(pairs: Pairs, handling: Option<Handling>) -> Result<Self, ApiError> {
        let is_result = |(name, _): &(String, String)| RESULT.contains(&name.as_str());
        let (result, criteria): (Pairs, Pairs) = pairs.into_iter().partition(is_result);
        let criteria = known(criteria, handling)?;
        let query = Query::of_pairs(ResourceType::GROUP, &criteria).map_err(|error| refusal("", &error))?;

        let count = size(single(&result, "_count")?)?;
        // R4 search: "_count=0 is treated the same as _summary=count".
        let summary = if count == 0 { Summary::Count } else { summary(&result)? };
        let after = single(&result, "_after")?.map(|after| {
            let text = "_after is not the id of a Group; follow the next link of the page before, as it is";
            after.parse().map_err(|_| refused("_after", IssueCode::Value, text.to_owned()))
        });
        let used = criteria.into_iter().chain(result).collect();
        Ok(Self { query, summary, count, after: after.transpose()?, used })
    }

    /// The parameters that were used, for a link to this page.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.used.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same for the page behind this list.
    pub fn shown_after<'a>(&'a self, after: &'a ResourceId) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.shown().filter(|(name, _)| *name != "_after").chain([("_after", after.as_str())])
    }
}

/// The criteria that are used: all of them, or without those that are not known when the client is lenient about them.
/// A modifier or a value that cannot be used is refused all the same (R4 search, "Modifiers").
fn known(criteria: Pairs, handling: Option<Handling>) -> Result<Pairs, ApiError> {
    let mut used = Pairs::new();
    for pair in criteria {
        match Query::of_pairs(ResourceType::GROUP, std::slice::from_ref(&pair)) {
            Ok(_) => used.push(pair),
            Err(SearchError::UnknownParameter { .. } | SearchError::ResultParameter(_) | SearchError::Chained(_))
                if handling == Some(Handling::Lenient) => {}
            Err(error) => return Err(refusal(&pair.0, &error)),
        }
    }
    Ok(used)
}

fn refusal(name: &str, error: &SearchError) -> ApiError {
    let code = match error {
        SearchError::Value { .. } | SearchError::Empty(_) | SearchError::Encoding => IssueCode::Value,
        SearchError::TooManyClauses | SearchError::TooManyValues => IssueCode::TooLong,
        _ => IssueCode::NotSupported,
    };
    refused(name, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::paging::link;
    use crate::parameters::of_query;

    fn asked(query: &str, handling: Option<Handling>) -> Result<Asked, String> {
        Asked::of(of_query(query), handling).map_err(|error| error.to_string())
    }

    fn self_link(asked: &Asked) -> String {
        link("", asked.shown())
    }

    #[test]
    fn what_says_how_the_answer_looks_is_no_criterion() {
        let asked = asked("name=north&_summary=true&_count=3&_format=json&_after=g1", None).expect("all are known");
        assert_eq!(asked.query.to_string(), "Group?name=north");
        assert_eq!((asked.summary, asked.count), (Summary::True, 3));
        assert_eq!(asked.after.as_ref().map(ResourceId::as_str), Some("g1"));
    }

    #[test]
    fn nothing_asked_is_every_list_whole_but_for_its_members() {
        let asked = asked("", None).expect("nothing is wrong with it");
        assert_eq!((asked.summary, asked.count, asked.after), (Summary::False, 20, None));
    }

    #[test]
    fn a_count_of_zero_asks_how_many_there_are() {
        for query in ["_count=0", "_summary=count"] {
            assert_eq!(asked(query, None).map(|asked| asked.summary), Ok(Summary::Count), "{query}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_unless_the_client_is_lenient() {
        for query in ["colour=red", "_sort=name", "_include=Group:member", "managing-entity.name=x"] {
            for handling in [None, Some(Handling::Strict)] {
                assert!(asked(query, handling).is_err(), "{query}");
            }
            let lenient = asked(&format!("{query}&name=a"), Some(Handling::Lenient)).expect(query);
            assert_eq!(self_link(&lenient), "?name=a", "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_however_lenient_the_client_is() {
        for (query, part) in [
            ("_count=many", "_count"),
            ("_count=1&_count=2", "more than once"),
            ("_summary=short", "_summary"),
            ("_after=a%20b", "_after"),
            ("name:nonsense=a", "modifier"),
            ("_lastUpdated=yesterday", "_lastUpdated"),
        ] {
            let problem = asked(query, Some(Handling::Lenient)).expect_err(query);
            assert!(problem.contains(part), "{query}: {problem}");
        }
    }

    #[test]
    fn the_next_page_repeats_the_question_with_another_beginning() {
        let asked = asked("identifier=a%7Cb&_count=2&_after=g1", None).expect("all are known");
        assert_eq!(self_link(&asked), "?identifier=a%7Cb&_count=2&_after=g1");
        let next = "g3".parse().expect("it is an id");
        assert_eq!(link("", asked.shown_after(&next)), "?identifier=a%7Cb&_count=2&_after=g3");
    }
}
