//! One Group on one line, streamed member by member, however many there are.

use std::borrow::Cow;

use bytes::Bytes;
use shared::export::OutputKind;
use shared::fhir::{Member, Resource, ResourceId, ResourceKey, ResourceType, Unreadable, Unsound, edit, json};
use shared::source::{ListHead, Stored};

use crate::frame::{Frame, TaskError};
use crate::parts::Parts;
use crate::select;

/// The line of a Group, cut open at its members.
pub struct GroupLine {
    before: Bytes,
    after: Bytes,
    /// Whether members stand between the two.
    open: bool,
    members: u64,
}

impl GroupLine {
    /// Of a Group with all its members, or with the elements only that were asked for. `None` when it cannot be cut.
    pub fn whole(frame: &Frame<'_>, id: &ResourceId, head: &ListHead) -> Option<Self> {
        if frame.request.selection.elements.cuts(ResourceType::GROUP) {
            let head = stored(id, head).resource;
            let cut = select::line(&frame.request.selection, &head)?;
            return Self::cut_open(&String::from_utf8_lossy(&cut));
        }
        let open = head.members > 0;
        Some(Self { before: head.before.clone(), after: head.after.clone(), open, members: 0 })
    }

    /// Of a Group that will hold some of its members only, and says so. The narrative and what is contained may speak of
    /// the others, so they are left out. `None` when it cannot be cut.
    pub fn subsetted(frame: &Frame<'_>, id: &ResourceId, head: &ListHead, is_empty: bool) -> Option<Self> {
        let head = stored(id, head).resource;
        let cut = select::line(&frame.request.selection, &head)?;
        // JSON of FHIR has no empty arrays.
        let fields = if is_empty { &["text", "contained", "member"][..] } else { &["text", "contained"] };
        let bare = edit::without(&String::from_utf8_lossy(&cut), fields).ok()?;
        Self::cut_open(&edit::subsetted(&bare).ok()?)
    }

    fn cut_open(text: &str) -> Option<Self> {
        let opened = json::open_group(text).ok()?;
        let part = |part: &str| Bytes::copy_from_slice(part.as_bytes());
        let open = opened.has_place_for_members();
        Some(Self { before: part(opened.before), after: part(opened.after), open, members: 0 })
    }

    pub async fn begin(&self, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        parts.write(OutputKind::Output, ResourceType::GROUP, &self.before).await
    }

    /// Adds a member, unless members are not among the elements that were asked for.
    pub async fn member(&mut self, member: &[u8], parts: &mut Parts<'_>) -> Result<(), TaskError> {
        if !self.open {
            return Ok(());
        }
        if self.members > 0 {
            parts.write(OutputKind::Output, ResourceType::GROUP, b",").await?;
        }
        self.members += 1;
        parts.write(OutputKind::Output, ResourceType::GROUP, member).await
    }

    pub async fn end(self, parts: &mut Parts<'_>) -> Result<(), TaskError> {
        parts.write(OutputKind::Output, ResourceType::GROUP, &self.after).await?;
        parts.end_line(OutputKind::Output, ResourceType::GROUP).await
    }
}

/// A Group without its members, and the same as a resource: both of a text that is sound. Its members come between the
/// two parts of the head.
pub fn sound(id: &ResourceId, head: ListHead) -> Result<(ListHead, Stored), Unsound> {
    let written = stored(id, &head);
    let length = written.resource.body.len();
    let stored = written.as_line()?;
    let has_place = head.before.ends_with(b"[") && head.after.starts_with(b"]");
    if stored.resource.body.len() == length && (has_place || head.members == 0) {
        return Ok((head, stored));
    }
    let text = String::from_utf8_lossy(&stored.resource.body);
    let opened = json::open_group(&text).map_err(|error| Unsound::Unreadable(Unreadable::from(error)))?;
    if head.members > 0 && !opened.has_place_for_members() {
        return Err(Unsound::NoPlaceForMembers);
    }
    let part = |part: &str| Bytes::copy_from_slice(part.as_bytes());
    let head = ListHead { before: part(opened.before), after: part(opened.after), ..head };
    Ok((head, stored))
}

/// A member that can be read.
pub struct ReadMember<'a> {
    /// Its text, on one line.
    pub line: Cow<'a, [u8]>,
    /// What it says.
    pub says: Member<'a>,
}

/// Reads a member of a list; says why it cannot be read, with nothing of its text.
pub fn member(text: &Bytes) -> Result<ReadMember<'_>, String> {
    let json = std::str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let says = Member::read(json).map_err(|error| json::reason(&error))?;
    let breaks = text.contains(&b'\n') || text.contains(&b'\r');
    let line =
        if breaks { Cow::Owned(json::one_line(json).into_owned().into_bytes()) } else { Cow::Borrowed(&text[..]) };
    Ok(ReadMember { line, says })
}

/// Members that are read where one resource would be: a member is about a fifth as long.
const MEMBERS_A_RESOURCE: u32 = 5;

/// A page of the members of a list, from the `from`-th on; empty only at its end.
pub async fn members(frame: &Frame<'_>, id: &ResourceId, head: &ListHead, from: u64) -> Result<Vec<Bytes>, TaskError> {
    if from >= head.members {
        return Ok(Vec::new());
    }
    frame.check().await?;
    let limit = frame.worker.limits.page_ids.saturating_mul(MEMBERS_A_RESOURCE);
    let page = frame.source.members(id, frame.as_of, from, limit).await?;
    if page.is_empty() {
        return Err(TaskError::GiveUp(format!(
            "the attribution list Group/{id} has {} members, but only {from} can be read",
            head.members
        )));
    }
    Ok(page)
}

/// The Group without its members, as a resource.
pub fn stored(id: &ResourceId, head: &ListHead) -> Stored {
    let body = [&head.before[..], &head.after[..]].concat().into();
    let resource = Resource { key: ResourceKey::new(ResourceType::GROUP, id.clone()), body };
    Stored { resource, last_updated: head.last_updated }
}
