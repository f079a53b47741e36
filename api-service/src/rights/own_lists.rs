//! A search for lists by a caller who may see some. Those are read by id and identifier, and the search is asked about each
//! here, so that it never reads the lists of others.

use std::collections::{BTreeMap, BTreeSet};

use shared::fault::Fault;
use shared::fhir::search::{Query, escape, value_at};
use shared::fhir::{Identifier, ResourceId, ResourceType};
use shared::source::{ResourceSource, Version};

/// How many ids or identifiers one question to the source names.
const VALUES_PER_QUERY: usize = 500;

/// How many lists are read at a time.
const LISTS_PER_READ: u32 = 1_000;

/// The first lists behind `after`, of these ids and identifiers, that a query finds: at most `limit`, fewer only at the end.
pub async fn find(
    source: &dyn ResourceSource,
    ids: &BTreeSet<ResourceId>,
    identifiers: &BTreeSet<Identifier>,
    query: &Query,
    after: Option<&ResourceId>,
    limit: u32,
) -> Result<Vec<Version>, Fault> {
    let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let tokens: Vec<String> = identifiers.iter().map(token).collect();
    let mut own = BTreeMap::new();
    for (name, values) in [("_id", ids), ("identifier", tokens)] {
        for values in values.chunks(VALUES_PER_QUERY) {
            let pairs = [(name.to_owned(), values.join(","))];
            let theirs = Query::of_pairs(ResourceType::GROUP, &pairs)
                .expect("an id or an escaped identifier is a value, and a query may have twice as many");
            read_all(source, &theirs, after, &mut own).await?;
        }
    }
    let is_found = |list: &Version| {
        let text = std::str::from_utf8(&list.resource.body).ok();
        text.and_then(|text| value_at(text, list.from)).is_some_and(|list| query.matches_value(&list))
    };
    Ok(own.into_values().filter(is_found).take(limit as usize).collect())
}

/// An identifier as a value of the search parameter.
fn token(identifier: &Identifier) -> String {
    format!("{}|{}", escape(identifier.system()), escape(identifier.value()))
}

async fn read_all(
    source: &dyn ResourceSource,
    query: &Query,
    after: Option<&ResourceId>,
    lists: &mut BTreeMap<ResourceId, Version>,
) -> Result<(), Fault> {
    let mut after = after.cloned();
    loop {
        let run = source.find_lists(query, after.as_ref(), LISTS_PER_READ).await?;
        let is_end = run.len() < LISTS_PER_READ as usize;
        after = run.last().map(|list| list.resource.key.id.clone());
        lists.extend(run.into_iter().map(|list| (list.resource.key.id.clone(), list)));
        if is_end {
            return Ok(());
        }
    }
}
