//! A Group with all its members, as a stream that holds one page of them at a time.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use shared::fault::{Fault, FaultKind};
use shared::fhir::{Instant, ResourceId, json};
use shared::source::ResourceSource;

/// How many members are read at a time.
const PAGE: u32 = 1_000;

/// The text of a list as of a time: `head`, which is the Group without its members, with the members put in.
///
/// Fails with `Corrupt` when `head` is no Group. A fault on the way ends the stream, and with it the connection before the
/// end of the body, so that no client takes a part for the whole.
pub fn whole(
    source: Arc<dyn ResourceSource>,
    list: ResourceId,
    as_of: Instant,
    head: &str,
) -> Result<impl Stream<Item = Result<Bytes, Fault>> + use<>, Fault> {
    // The cause would repeat what stands in the resource.
    let opened = json::open_group(head)
        .map_err(|_| Fault::new(FaultKind::Corrupt, format!("failed to read the head of Group/{list}")))?;
    let before = Bytes::copy_from_slice(opened.before.as_bytes());
    let after = Bytes::copy_from_slice(opened.after.as_bytes());
    let first = Text { source, list, as_of, after, next: Next::Head(before) };
    Ok(stream::try_unfold(first, |text| async move {
        let list = text.list.clone();
        let piece = text.piece().await;
        piece.inspect_err(|fault| tracing::error!(%fault, "the answer with Group/{list} ended early"))
    }))
}

/// The rest of a text.
struct Text {
    source: Arc<dyn ResourceSource>,
    list: ResourceId,
    as_of: Instant,
    after: Bytes,
    next: Next,
}

enum Next {
    Head(Bytes),
    /// The members from this one on.
    Members(u64),
    Nothing,
}

impl Text {
    /// The next piece, which is never empty, and the rest behind it.
    async fn piece(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => Ok(None),
            Next::Head(before) => {
                if !self.after.is_empty() {
                    self.next = Next::Members(0);
                }
                Ok(Some((before, self)))
            }
            Next::Members(from) => {
                let members = self.source.members(&self.list, self.as_of, from, PAGE).await?;
                let mut piece = BytesMut::with_capacity(members.iter().map(|member| member.len() + 1).sum());
                for (at, member) in members.iter().enumerate() {
                    if from > 0 || at > 0 {
                        piece.put_u8(b',');
                    }
                    piece.put_slice(member);
                }
                if members.is_empty() {
                    piece.put_slice(&self.after);
                } else {
                    self.next = Next::Members(from + members.len() as u64);
                }
                Ok(Some((piece.freeze(), self)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use shared::clock::SystemClock;
    use shared::fhir::OwnBases;
    use shared::source::folder::FolderSource;

    use super::*;

    /// What a client gets of a list with these members that begins and ends like this.
    async fn read(begin: &str, members: usize, end: &str) -> String {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let members: Vec<String> = (0..members).map(member).collect();
        let line = format!("{begin}{}{end}\n", members.join(","));
        std::fs::write(folder.path().join("Group.ndjson"), line).expect("the folder was made just now");
        let own = OwnBases::new(std::iter::empty::<String>());
        let opened = FolderSource::open(folder.path(), own, Arc::new(SystemClock)).await;
        let (source, bad_lines) = opened.expect("it is a folder");
        assert!(bad_lines.is_empty(), "{bad_lines:?}");

        let list: ResourceId = "g".parse().expect("it is an id");
        let now = source.transaction_time().await.expect("a folder always knows");
        let pieces = whole(Arc::new(source), list, now, &format!("{begin}{end}")).expect("it is a Group");
        let pieces: Vec<Bytes> = pieces.try_collect().await.expect("a folder is always there");
        String::from_utf8(pieces.concat()).expect("it was written as text")
    }

    fn member(number: usize) -> String {
        format!(r#"{{"entity":{{"reference":"Patient/{number}"}}}}"#)
    }

    #[tokio::test]
    async fn a_list_of_any_length_comes_with_all_its_members_in_their_order() {
        let (begin, end) = (r#"{"resourceType":"Group","id":"g","member":["#, r#"],"x":1.10}"#);
        for members in [0, 1, 999, 1_000, 1_001, 2_500] {
            let all: Vec<String> = (0..members).map(member).collect();
            assert_eq!(read(begin, members, end).await, format!("{begin}{}{end}", all.join(",")), "{members}");
        }
    }

    #[tokio::test]
    async fn what_has_no_members_is_one_piece() {
        let group = r#"{"resourceType":"Group","id":"g"}"#;
        assert_eq!(read(group, 0, "").await, group);
    }
}
