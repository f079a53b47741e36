//! Which Groups a search can find at all, as far as an index by ids and identifiers can tell.

use crate::fhir::ResourceId;
use crate::fhir::search::{Query, Token};

/// Which Groups a search has to be asked about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    /// All of them.
    All,
    /// Those with these ids.
    OfIds(Vec<ResourceId>),
    /// Those that have one of these values of identifiers.
    OfIdentifiers(Vec<String>),
}

/// By ids before identifiers: they are fewer. A search for an identifier of any value of some system leaves all.
pub(super) fn candidates(query: &Query) -> Candidates {
    if let Some(ids) = query.ids() {
        return Candidates::OfIds(ids);
    }
    let values = |tokens: Vec<Token>| tokens.into_iter().map(|token| token.code).collect::<Option<Vec<String>>>();
    let demanded = query.tokens("identifier").into_iter().find_map(values);
    demanded.map_or(Candidates::All, Candidates::OfIdentifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates_of(text: &str) -> Candidates {
        candidates(&Query::parse(text).expect("the test writes a query"))
    }

    #[test]
    fn a_search_is_narrowed_by_ids_and_by_values_of_identifiers_when_it_demands_them() {
        let ids = |ids: &[&str]| {
            Candidates::OfIds(ids.iter().map(|id| id.parse().expect("the test writes a legal id")).collect())
        };
        let identifiers =
            |values: &[&str]| Candidates::OfIdentifiers(values.iter().map(|value| (*value).to_owned()).collect());
        for (query, expected) in [
            ("Group?", Candidates::All),
            ("Group?name=north", Candidates::All),
            ("Group?identifier:not=1", Candidates::All),
            ("Group?identifier=urn:a|", Candidates::All),
            ("Group?identifier=1,urn:a|", Candidates::All),
            ("Group?_id=b,a", ids(&["a", "b"])),
            ("Group?_id=a&_id=b", ids(&[])),
            ("Group?_id=a&identifier=1", ids(&["a"])),
            ("Group?identifier=1,urn:a|2,|3", identifiers(&["1", "2", "3"])),
            ("Group?identifier=urn:a|&identifier=2", identifiers(&["2"])),
        ] {
            assert_eq!(candidates_of(query), expected, "{query}");
        }
    }
}
