//! Finding attribution lists by a search, or by who is a member of them, as they are now.
//!
//! What the server finds is asked about again, each list by itself: what a client may see rests on it, and a server passes
//! over a parameter that it does not know.

use std::collections::{BTreeMap, HashSet};

use super::bundle::Page;
use super::pages::Progress;
use super::past::only_version;
use super::server::{Cut, Server};
use super::trouble::{Trouble, page_gone};
use super::upstream::Ask;
use crate::fault::Fault;
use crate::fhir::search::{Query, escape, value_at};
use crate::fhir::{Attribution, Member, OwnBases, ResourceId, ResourceType, Target};
use crate::source::Version;
use crate::source::candidates::{Candidates, candidates};

const WHAT: &str = "Groups";

/// How many ids or identifiers one search names: URLs may not be long.
const VALUES: usize = 25;

/// How many patients one search names.
const PATIENTS: usize = 10;

impl Server {
    /// The lists that a search finds, behind one.
    pub async fn find_lists(
        &self,
        query: &Query,
        after: Option<&ResourceId>,
        limit: u32,
    ) -> Result<Vec<Version>, Fault> {
        let some_of = |name: &str, values: Vec<String>| -> Vec<String> {
            values.chunks(VALUES).map(|values| format!("Group?{name}={}", values.join(","))).collect()
        };
        let among = match candidates(query) {
            Candidates::All => vec!["Group".to_owned()],
            Candidates::OfIds(ids) => some_of("_id", ids.into_iter().map(String::from).collect()),
            Candidates::OfIdentifiers(values) => {
                some_of("identifier", values.iter().map(|value| encoded(&escape(value))).collect())
            }
        };
        let mut found = BTreeMap::new();
        for below in among {
            found.extend(self.groups(&below, |_| true).await?);
        }
        found.retain(|id, group| {
            let text = std::str::from_utf8(&group.resource.body).ok();
            let value = text.and_then(|text| value_at(text, group.from));
            after.is_none_or(|after| id > after) && value.is_some_and(|value| query.matches_value(&value))
        });
        Ok(found.into_values().take(limit as usize).collect())
    }

    /// Some list, for whoever does not say which one.
    pub async fn first_list(&self) -> Result<Option<ResourceId>, Fault> {
        let ask = Ask::get(self.upstream.url("Group?_elements=id&_count=1")?, WHAT);
        let page = match self.groups_page(&ask, &|_: &[u8]| false).await {
            Ok((page, _)) => page,
            Err(Trouble::Missing) => return Ok(None),
            Err(trouble) => return Err(trouble.into_fault(WHAT)),
        };
        let mut keys = page.entries.into_iter().filter_map(|entry| Some(entry.resource?.resource.key));
        Ok(keys.find(|key| key.resource_type == ResourceType::GROUP).map(|key| key.id))
    }

    /// The lists of which one of some patients is a member.
    pub async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        let mut all = BTreeMap::new();
        for patients in patients.chunks(PATIENTS) {
            let mine: HashSet<ResourceId> = patients.iter().cloned().collect();
            // The server does not know under which other names its resources go.
            let bases = self.own.others(self.upstream.base().as_str());
            let bases: Vec<&str> = std::iter::once("").chain(bases).collect();
            let named = patients.iter().flat_map(|patient| bases.iter().map(move |base| (base, patient)));
            let named: Vec<String> =
                named.map(|(base, patient)| encoded(&escape(&format!("{base}Patient/{patient}")))).collect();
            let own = self.own.clone();
            let has_one = move |member: &[u8]| is_one_of(member, &mine, &own);
            all.extend(self.groups(&format!("Group?member={}", named.join(",")), has_one).await?);
        }
        Ok(all.into_values().collect())
    }

    /// The Groups of a search that have a member of this kind, without their members; with a kind that every member is of,
    /// those without members as well.
    async fn groups(
        &self,
        below: &str,
        is_of_kind: impl Fn(&[u8]) -> bool + Clone + Send + 'static,
    ) -> Result<BTreeMap<ResourceId, Version>, Fault> {
        let wants_all = is_of_kind(b"");
        let mut ask = Ask::get(self.upstream.url(below)?, WHAT);
        let (mut progress, mut seen, mut is_first) = (Progress::default(), HashSet::new(), true);
        let mut groups = BTreeMap::new();
        loop {
            let before = seen.len();
            let (page, with_one) = match self.groups_page(&ask, &is_of_kind).await {
                Ok(page) => page,
                // A server that has no Groups finds none.
                Err(Trouble::Missing) if is_first => return Ok(groups),
                Err(Trouble::Missing) => return Err(page_gone(WHAT).into_fault(WHAT)),
                Err(trouble) => return Err(trouble.into_fault(WHAT)),
            };
            is_first = false;
            let resources = page.entries.into_iter().filter(|entry| entry.has_resource);
            for (number, entry) in (0_u64..).zip(resources) {
                let Some(found) = entry.resource else { continue };
                let key = &found.resource.key;
                seen.insert(key.clone());
                if key.resource_type == ResourceType::GROUP && (wants_all || with_one.contains(&number)) {
                    groups.insert(key.id.clone(), only_version(found));
                }
            }
            let Some(link) = page.next else { return Ok(groups) };
            let next = progress.made(seen.len() > before).and_then(|()| self.next(&link, WHAT));
            ask = Ask::get(next.map_err(|trouble| trouble.into_fault(WHAT))?, WHAT);
        }
    }

    /// A page of Groups, and the numbers of those of them that have a member of a kind.
    async fn groups_page(
        &self,
        ask: &Ask,
        is_of_kind: &(impl Fn(&[u8]) -> bool + Clone + Send + 'static),
    ) -> Result<(Page, HashSet<u64>), Trouble> {
        let is_of_kind = is_of_kind.clone();
        let take = move |with_one: &mut HashSet<u64>, number: u64, member: &[u8]| {
            if !with_one.contains(&number) && is_of_kind(member) {
                with_one.insert(number);
            }
            Ok(())
        };
        let read = |cut: Cut<HashSet<u64>>| Ok((Page::read(&cut.rest.unwrap_or_default())?, cut.state));
        self.ask_cut(ask, HashSet::new, take, read).await
    }
}

/// Whether the entity of a member is one of these patients of this server.
fn is_one_of(member: &[u8], patients: &HashSet<ResourceId>, own: &OwnBases) -> bool {
    let Some(member) = std::str::from_utf8(member).ok().and_then(|text| Member::read(text).ok()) else { return false };
    let mut entities = member.references.iter().filter(|(way, _)| *way == Attribution::Entity);
    entities.any(|(_, reference)| match reference.target(own) {
        Ok(Target::Local(key)) => key.resource_type == ResourceType::PATIENT && patients.contains(&key.id),
        Ok(Target::Contained) | Err(_) => false,
    })
}

/// A value in the query of a URL.
fn encoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
