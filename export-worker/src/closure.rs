//! The walk beyond the list: what listed resources refer to, each written by the one task that claims it.
//!
//! What the list names has a slice of its own and is dropped here. The rest belongs to the first task of the job that
//! claims it; a task that is tried again finds its own claims again (design §4.2). Every Coverage and PractitionerRole
//! that is reached leads further, by whatever path it was reached; nothing else does, so the walk ends (decision 0006).
//!
//! **With `_since`** a resource that has not changed is left out, unless it hangs on something that was put on the list or
//! changed after `_since`: then the client may never have been told of it. Those are claimed a second time, under another
//! name, by what has joined; the first claim writes what changed, the second what did not, so that each is written once.

use std::collections::HashSet;

use shared::fhir::{Issue, IssueCode, Reference, ResourceKey, ResourceType, Target, Unresolvable, json, references};
use shared::jobs::Digest;
use shared::source::Stored;

use crate::execute::{Frame, TaskError};
use crate::listed::{missing, nested_list};
use crate::parts::Parts;

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
    path: &'static str,
    joined: bool,
}

/// The walk of one attempt.
pub struct Closure<'a> {
    frame: &'a Frame<'a>,
    /// What this attempt has asked for already; spares the source and the store the question.
    seen: HashSet<Digest>,
    wanted: Vec<(Digest, Wanted)>,
    problems: Vec<(Digest, Issue)>,
}

impl<'a> Closure<'a> {
    pub fn new(frame: &'a Frame<'a>) -> Self {
        Self { frame, seen: HashSet::new(), wanted: Vec::new(), problems: Vec::new() }
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
            Err(reason) => {
                let list = self.frame.request.list();
                let text =
                    format!("Group/{list}: the references of {key} cannot be read, so they are not followed: {reason}");
                self.problem(
                    &format!("unreadable {key}"),
                    Issue::warning(IssueCode::Structure, text).at(key.resource_type.name()),
                );
            }
        }
    }

    /// Takes note of a reference that is to be followed, by the next call of [`Closure::follow`].
    pub fn want(&mut self, path: &'static str, reference: &Reference<'_>, joined: bool) {
        let key = match reference.target(&self.frame.worker.own_bases) {
            Ok(Target::Contained) => return,
            Ok(Target::Local(key)) if key.resource_type == ResourceType::GROUP => {
                if key.id != *self.frame.request.list() {
                    self.problem(&format!("nested {path} {key}"), nested_list(self.frame, path, &key));
                }
                return;
            }
            Ok(Target::Local(key)) => key,
            Err(why) => {
                let issue = unresolvable(self.frame, path, reference.text(), why).at(path);
                return self.problem(&format!("unresolvable {path} {why} {}", reference.text()), issue);
            }
        };
        // With a first name each resource is claimed once for what changed, with a second once for what joined.
        let name = key.to_string();
        if joined {
            let second = Digest::of(&format!("joined {name}"));
            if self.seen.insert(second) {
                self.wanted.push((second, Wanted { key: key.clone(), path, joined: true }));
            }
        }
        let first = Digest::of(&name);
        if self.seen.insert(first) {
            self.wanted.push((first, Wanted { key, path, joined: false }));
        }
    }

    /// A problem is told once a job, however many resources have it: it is claimed as a resource is.
    fn problem(&mut self, name: &str, issue: Issue) {
        let digest = Digest::of(name);
        if self.seen.insert(digest) {
            self.problems.push((digest, issue));
        }
    }

    /// Writes the problems met so far that no other task has written.
    async fn report(&mut self, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        let problems = std::mem::take(&mut self.problems);
        let mine = self.claim(problems).await?;
        for issue in mine {
            parts.problem(&issue).await?;
        }
        Ok(())
    }

    /// Fetches and writes what is wanted, is not listed, and is nobody else's; answers what of it leads further.
    async fn fetch(&mut self, parts: &mut Parts<'_>) -> Result<Vec<Referrer>, TaskError> {
        let frame = self.frame;
        let request = frame.request;
        let source = &frame.worker.platform.source;
        let mut wanted = std::mem::take(&mut self.wanted);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<ResourceKey> = wanted.iter().map(|(_, wanted)| wanted.key.clone()).collect();
        let listed = source.listed_among(frame.request.list(), frame.as_of, &keys).await?;
        wanted.retain(|(_, wanted)| !listed.contains(&wanted.key));
        let mine = self.claim(wanted).await?;

        let mut further = Vec::new();
        for page in mine.chunks(frame.worker.limits.page_ids as usize) {
            frame.check().await?;
            let mut keys: Vec<ResourceKey> = page.iter().map(|wanted| wanted.key.clone()).collect();
            keys.sort_unstable();
            keys.dedup();
            let found = source.fetch(frame.as_of, &keys).await?;
            let found: std::collections::HashMap<&ResourceKey, &Stored> =
                found.iter().map(|stored| (&stored.resource.key, stored)).collect();
            for Wanted { key, path, joined } in page {
                match found.get(key) {
                    Some(stored) => {
                        self.write(stored, *joined, parts).await?;
                        if Self::leads_further(key.resource_type) {
                            let joined = *joined || (request.since.is_some() && request.is_new(stored.last_updated));
                            further.push(Referrer { joined, stored: (*stored).clone() });
                        }
                    }
                    None if *joined => {}
                    None => parts.problem(&missing(frame, path, key)).await?,
                }
            }
        }
        Ok(further)
    }

    async fn write(&self, stored: &Stored, joined: bool, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        let request = self.frame.request;
        let resource_type = stored.resource.key.resource_type;
        if request.writes(resource_type) && request.is_new(stored.last_updated) != joined {
            parts.line(resource_type, &stored.resource.body).await?;
        }
        Ok(())
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

/// The line for a reference that leads to no resource of this server (standards §5.9 to §5.13).
pub fn unresolvable(frame: &Frame<'_>, path: &str, target: &str, why: Unresolvable) -> Issue {
    let list = frame.request.list();
    let text = format!("Group/{list}: {path} -> {target}: {why}");
    match why {
        // Somebody else's resource is no loss of this server's.
        Unresolvable::Foreign => Issue::information(IssueCode::NotSupported, text),
        Unresolvable::Logical => Issue::warning(IssueCode::NotSupported, text),
        Unresolvable::Urn | Unresolvable::Empty | Unresolvable::Malformed => Issue::warning(IssueCode::Value, text),
    }
}
