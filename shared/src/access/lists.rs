//! Which attribution lists a client may see. Pure.

use std::collections::BTreeSet;

use crate::fhir::{Identifier, ResourceId};

/// The lists of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lists {
    /// Every list, and what the server holds beyond them.
    All,
    /// Those of these ids, and those that carry one of these identifiers in `Group.identifier`.
    Some {
        /// Ids of Groups.
        ids: BTreeSet<ResourceId>,
        /// Numbers of providers, such as an NPI or a TIN.
        identifiers: BTreeSet<Identifier>,
    },
}

impl Lists {
    /// Whether the list of this id with these identifiers is among them.
    #[must_use]
    pub fn holds(&self, list: &ResourceId, identifiers: &[Identifier]) -> bool {
        match self {
            Self::All => true,
            Self::Some { ids, identifiers: own } => {
                ids.contains(list) || identifiers.iter().any(|identifier| own.contains(identifier))
            }
        }
    }

    /// Whether they are all, so that exports may begin at no list.
    #[must_use]
    pub fn are_all(&self) -> bool {
        *self == Self::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_held_by_its_id_or_by_an_identifier_with_its_system() {
        let id = |text: &str| text.parse::<ResourceId>().expect("the test writes an id");
        let identifier = |text: &str| text.parse::<Identifier>().expect("the test writes an identifier");
        let some = Lists::Some { ids: [id("g1")].into(), identifiers: [identifier("npi|1")].into() };
        for (list, identifiers, expected) in [
            ("g1", vec![], true),
            ("g2", vec![], false),
            ("g2", vec![identifier("tin|9"), identifier("npi|1")], true),
            ("g2", vec![identifier("tin|1")], false),
            ("g2", vec![identifier("npi|12")], false),
        ] {
            assert_eq!(some.holds(&id(list), &identifiers), expected, "{list} {identifiers:?}");
            assert!(Lists::All.holds(&id(list), &identifiers));
        }
        assert!(Lists::All.are_all() && !some.are_all());
    }
}
