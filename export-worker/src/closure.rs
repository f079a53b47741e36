//! The walk beyond the list: what listed resources refer to, each written by the one task that claims it.
//!
//! What the list names has a slice of its own and is dropped here. The rest belongs to the first task of the job that
//! claims it; a task that is tried again finds its own claims again (design §4.2). Every Coverage and PractitionerRole
//! that is reached leads further, by whatever path it was reached; nothing else does, so the walk ends (decision 0006).
//!
//! **With `_since`** a resource that has not changed is left out, unless it hangs on something that was put on the list or
//! changed after `_since`: then the client may never have been told of it. Those are claimed a second time, under another
//! name, by what has joined; the first claim writes what changed, the second what did not, so that each is written once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use shared::export::Anchor;
use shared::fhir::{
    Attribution, Issue, Reference, Resource, ResourceId, ResourceKey, ResourceType, Target, Unsound, json, references,
};
use shared::jobs::Digest;
use shared::source::Stored;

use crate::blocks::in_blocks;
use crate::deleted;
use crate::frame::{Frame, TaskError};
use crate::listed::{Fate, account_for};
use crate::notes::{self, Note, Notes};
use crate::parts::Parts;
use crate::problems::{missing, nested_list, unreadable, unresolvable};
use crate::select::verdict;

/// What other tasks of the job write, so that the walk leaves it to them.
#[derive(Clone, Copy, Debug)]
pub enum Elsewhere<'a> {
    /// What this list names.
    List(&'a ResourceId),
    /// All resources of these types.
    Types(&'static [ResourceType]),
    /// Nothing.
    Nothing,
}

/// A resource whose references are to be followed.
pub struct Referrer {
    /// Whether what it leads to is written though it has not changed: it was put on the list or changed after `_since`, or
    /// hangs on something that was.
    pub joined: bool,
    /// The resource.
    pub stored: Stored,
}

/// A resource beyond the list that somebody has to write.
struct Wanted {
    key: ResourceKey,
    path: Cow<'static, str>,
    claim: Claim,
}

/// Which of the two claims on a resource it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// The first, which writes what has changed. Whether the second is made as well at the same time.
    First { with_second: bool },
    /// The second, which writes what has not changed but hangs on what has joined.
    Second,
}

/// The walk of one attempt.
pub struct Closure<'a> {
    frame: &'a Frame<'a>,
    elsewhere: Elsewhere<'a>,
    /// What this attempt has asked for already; spares the source and the store the question.
    seen: HashSet<Digest>,
    /// Where it is noted what this attempt is about to claim, if the next one may not meet it again.
    notes: Option<Notes>,
    wanted: Vec<(Digest, Wanted)>,
    problems: Vec<(Digest, Problem)>,
}

/// A line for an error file.
struct Problem {
    issue: Issue,
    /// The path of the reference that leads to nothing, when that is the problem.
    missing: Option<&'static str>,
}

impl<'a> Closure<'a> {
    /// Begins the walk: what earlier attempts at the task have noted is wanted already.
    pub async fn begin(frame: &'a Frame<'a>, elsewhere: Elsewhere<'a>) -> Result<Self, TaskError> {
        let notes = if frame.source.is_repeatable().await? { None } else { Some(Notes::default()) };
        let earlier = if notes.is_some() { notes::read(frame).await? } else { Vec::new() };
        let (seen, wanted, problems) = (HashSet::new(), Vec::new(), Vec::new());
        let mut closure = Self { frame, elsewhere, seen, notes, wanted, problems };
        for Note { path, key, joined } in earlier {
            closure.want_key(path, key, joined);
        }
        Ok(closure)
    }

    /// Whether resources of this type have references that the walk follows.
    pub fn leads_further(resource_type: ResourceType) -> bool {
        matches!(resource_type, ResourceType::COVERAGE | ResourceType::PRACTITIONER_ROLE)
    }

    /// Follows what these resources refer to and what was wanted before, to the end, and writes what this task may write.
    pub async fn follow(&mut self, referrers: Vec<Referrer>, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        let mut frontier = referrers;
        loop {
            for referrer in &frontier {
                self.read(referrer);
            }
            self.report(parts).await?;
            frontier = self.fetch(parts).await?;
            if frontier.is_empty() {
                return Ok(());
            }
        }
    }

    fn read(&mut self, Referrer { joined, stored }: &Referrer) {
        let key = &stored.resource.key;
        let text = std::str::from_utf8(&stored.resource.body).map_err(|error| error.to_string());
        match text.and_then(|text| references(key.resource_type, text).map_err(|error| json::reason(&error))) {
            Ok(found) => found.iter().for_each(|(path, reference)| self.want(path, reference, *joined)),
            Err(reason) => self.problem(&format!("unreadable {key}"), unreadable(self.frame, key, &reason)),
        }
    }

    /// Takes note of a reference that is to be followed, by the next call of [`Closure::follow`].
    pub fn want(&mut self, path: &'static str, reference: &Reference<'_>, joined: bool) {
        let key = match reference.target(&self.frame.worker.own_bases) {
            Ok(Target::Contained) => return,
            Ok(Target::Local(key)) => key,
            Err(why) => {
                let issue = unresolvable(self.frame, path, reference.text(), why).at(path);
                return self.missing(&format!("unresolvable {path} {why} {}", reference.text()), path, issue);
            }
        };
        self.want_key(path, key, joined);
    }

    /// As [`Closure::want`], for a resource of this server.
    pub fn want_key(&mut self, path: impl Into<Cow<'static, str>>, key: ResourceKey, joined: bool) {
        let path = path.into();
        if key.resource_type == ResourceType::GROUP {
            if !matches!(&self.frame.request.anchor, Anchor::Group(list) if *list == key.id) {
                self.problem(&format!("nested {path} {key}"), nested_list(self.frame, &path, &key));
            }
            return;
        }
        // With a first name each resource is claimed once for what changed, with a second once for what joined.
        let name = key.to_string();
        if joined {
            let second = Digest::of(&format!("joined {name}"));
            if self.seen.insert(second) {
                self.wanted.push((second, Wanted { key: key.clone(), path: path.clone(), claim: Claim::Second }));
            }
        }
        let first = Digest::of(&name);
        if self.seen.insert(first) {
            self.wanted.push((first, Wanted { key, path, claim: Claim::First { with_second: joined } }));
        }
    }

    /// As [`Closure::want_key`], for a resource of which it is settled whether it has joined, whatever else leads to it.
    pub fn want_settled(&mut self, path: &'static str, key: ResourceKey, joined: bool) {
        let second = Digest::of(&format!("joined {key}"));
        self.want_key(path, key, joined);
        self.seen.insert(second);
    }

    /// A problem is told once a job, however many resources have it: it is claimed as a resource is.
    fn problem(&mut self, name: &str, issue: Issue) {
        self.tell(name, Problem { issue, missing: None });
    }

    fn missing(&mut self, name: &str, path: &'static str, issue: Issue) {
        self.tell(name, Problem { issue, missing: Some(path) });
    }

    fn tell(&mut self, name: &str, problem: Problem) {
        let digest = Digest::of(name);
        if self.seen.insert(digest) {
            self.problems.push((digest, problem));
        }
    }

    /// Writes the problems met so far that no other task has written.
    async fn report(&mut self, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        let problems = std::mem::take(&mut self.problems);
        let mine = self.claim(problems).await?;
        for Problem { issue, missing } in mine {
            match missing {
                Some(path) => parts.missing(path, &issue).await?,
                None => parts.problem(&issue).await?,
            }
        }
        Ok(())
    }

    /// Fetches and writes what is wanted, is not written elsewhere, and is nobody else's; answers what of it leads further.
    async fn fetch(&mut self, parts: &mut Parts<'_>) -> Result<Vec<Referrer>, TaskError> {
        let frame = self.frame;
        let mut wanted = std::mem::take(&mut self.wanted);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.leave_to_others(&mut wanted).await?;
        self.note(&wanted).await?;
        let mine = self.claim(wanted).await?;

        let mut further = Vec::new();
        for page in mine.chunks(frame.worker.limits.page_ids as usize) {
            frame.check().await?;
            let mut keys: Vec<ResourceKey> = page.iter().map(|wanted| wanted.key.clone()).collect();
            keys.sort_unstable();
            keys.dedup();
            let found = frame.source.fetch(frame.as_of, &keys).await?;
            let in_blocks = self.written_in_blocks(&found).await?;
            let found: HashMap<ResourceKey, Result<Stored, Unsound>> =
                found.into_iter().map(|stored| (stored.resource.key.clone(), stored.as_line())).collect();
            let first = page.iter().filter(|wanted| wanted.claim != Claim::Second);
            let gone: Vec<ResourceKey> =
                first.map(|wanted| &wanted.key).filter(|key| !found.contains_key(key)).cloned().collect();
            deleted::missing(frame, &gone, parts).await?;
            for wanted in page {
                let stored = match found.get(&wanted.key) {
                    Some(Ok(stored)) => Some(stored),
                    Some(Err(why)) => {
                        self.tell_unsound(wanted, why, parts).await?;
                        continue;
                    }
                    None => None,
                };
                if !in_blocks.contains(&wanted.key) {
                    self.write(wanted, stored, parts).await?;
                }
                further.extend(stored.and_then(|stored| self.referrer(wanted, stored)));
            }
        }
        Ok(further)
    }

    /// Notes what is about to be claimed: an attempt that is interrupted behind its claims leaves them to the next one, which
    /// may be told of other references than this one was.
    async fn note(&mut self, wanted: &[(Digest, Wanted)]) -> Result<(), TaskError> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let note = |(_, Wanted { key, path, claim }): &(Digest, Wanted)| {
            let joined = !matches!(claim, Claim::First { with_second: false });
            Note { path: path.clone().into_owned(), key: key.clone(), joined }
        };
        let claims: Vec<Note> = wanted.iter().map(note).collect();
        Ok(notes.write(self.frame, &claims).await?)
    }

    /// What of these is written with its patient, in an export that is organized so.
    async fn written_in_blocks(&self, found: &[Stored]) -> Result<HashSet<ResourceKey>, TaskError> {
        match self.elsewhere {
            Elsewhere::List(list) if self.frame.request.delivery.organized_by_patient => {
                in_blocks(self.frame, list, found).await
            }
            _ => Ok(HashSet::new()),
        }
    }

    /// Drops what other tasks write.
    async fn leave_to_others(&self, wanted: &mut Vec<(Digest, Wanted)>) -> Result<(), TaskError> {
        match self.elsewhere {
            // What there is of these types is left out once it is clear that it is there.
            Elsewhere::Nothing | Elsewhere::Types(_) => {}
            Elsewhere::List(list) => {
                let keys: Vec<ResourceKey> = wanted.iter().map(|(_, wanted)| wanted.key.clone()).collect();
                let listed = self.frame.source.listed_among(list, self.frame.as_of, &keys).await?;
                wanted.retain(|(_, wanted)| !listed.contains_key(&wanted.key));
            }
        }
        Ok(())
    }

    /// Writes a claimed resource if this claim is the one that does, or tells that there is none.
    async fn write(
        &self,
        Wanted { key, path, claim }: &Wanted,
        stored: Option<&Stored>,
        parts: &mut Parts<'_>,
    ) -> Result<(), TaskError> {
        let selection = &self.frame.request.selection;
        let is_member = *claim != Claim::Second && self.is_member(path, key);
        let Some(stored) = stored else {
            if *claim == Claim::Second {
                return Ok(());
            }
            if is_member {
                account_for(&mut parts.tally, Fate::Missing);
            }
            return parts.missing(path, &missing(self.frame, path, key)).await;
        };
        if self.is_in_a_slice(key) {
            return Ok(());
        }
        let own = &self.frame.worker.own_bases;
        if let Claim::First { with_second } = *claim
            && is_member
        {
            account_for(&mut parts.tally, Fate::Met(verdict(selection, own, stored, with_second)));
        }
        let changed = selection.is_new(stored.last_updated);
        if changed == (*claim != Claim::Second) && verdict(selection, own, stored, !changed).is_ok() {
            parts.resource(&stored.resource).await?;
        }
        Ok(())
    }

    /// Tells that a claimed resource cannot be read, if this claim is the first and no other task tells it.
    async fn tell_unsound(&self, wanted: &Wanted, why: &Unsound, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        let Wanted { key, path, claim } = wanted;
        if *claim == Claim::Second || self.is_in_a_slice(key) {
            return Ok(());
        }
        if self.is_member(path, key) {
            account_for(&mut parts.tally, Fate::Unreadable);
        }
        parts.unsound(key, why).await
    }

    /// Whether there is a task for all resources of its type.
    fn is_in_a_slice(&self, key: &ResourceKey) -> bool {
        matches!(self.elsewhere, Elsewhere::Types(types) if types.contains(&key.resource_type))
    }

    /// Whether it is a member's Patient, which has to be accounted for.
    fn is_member(&self, path: &str, key: &ResourceKey) -> bool {
        match &self.frame.request.selection.patients {
            Some(chosen) => key.resource_type == ResourceType::PATIENT && chosen.contains(&key.id),
            None => path == Attribution::Entity.path(),
        }
    }

    /// What leads on from a claimed resource.
    fn referrer(&self, wanted: &Wanted, stored: &Stored) -> Option<Referrer> {
        let selection = &self.frame.request.selection;
        let changed = selection.since.is_some() && selection.is_new(stored.last_updated);
        let joined = wanted.claim == Claim::Second || changed;
        // A copy of its own: the text of a page is one piece of memory, and of a page of all kinds few lead further.
        let body = || Bytes::copy_from_slice(&stored.resource.body);
        let resource = || Resource { key: stored.resource.key.clone(), body: body() };
        Self::leads_further(wanted.key.resource_type)
            .then(|| Referrer { joined, stored: Stored { resource: resource(), ..*stored } })
    }

    /// Those of the things named by digests that belong to this task.
    async fn claim<T>(&self, things: Vec<(Digest, T)>) -> Result<Vec<T>, TaskError> {
        if things.is_empty() {
            return Ok(Vec::new());
        }
        let digests: Vec<Digest> = things.iter().map(|(digest, _)| *digest).collect();
        let mine = self.frame.worker.platform.jobs.claim(self.frame.task, &digests).await?;
        Ok(things.into_iter().zip(mine).filter_map(|((_, thing), mine)| mine.then_some(thing)).collect())
    }
}
