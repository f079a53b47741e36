//! Takes the members out of Groups while their JSON arrives, in pieces of any length: a list may have millions, and neither
//! they nor the text that they stand in are ever held whole.
//!
//! It knows a Group as the text itself, or as the resource of an entry of a Bundle. What is left is the same text with `[]`
//! for every `member`, byte for byte as it came otherwise; it is as small as any resource and read as JSON afterwards. So
//! the cutter itself refuses only what ends too early: whatever else is wrong shows when a member or the rest is read.

use memchr::memchr2;
use thiserror::Error;

/// The text ended before the value did, or went on behind it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("its JSON ends too early")]
pub struct EndsEarly;

/// What a container is, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The text itself: a Group, or a Bundle.
    Root,
    /// `entry` of a Bundle.
    Entries,
    /// One of its entries.
    Entry,
    /// The resource of an entry.
    Resource,
    /// `member` of a Group.
    Members,
    /// Anything else.
    Other,
}

/// The names of members of objects that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Entry,
    Resource,
    Member,
    Other,
}

impl Name {
    const LONGEST: usize = "resource".len();

    fn of(text: &[u8]) -> Self {
        match text {
            b"entry" => Self::Entry,
            b"resource" => Self::Resource,
            b"member" => Self::Member,
            _ => Self::Other,
        }
    }
}

/// A text on its way.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The containers that are open, the outermost first, and of the innermost object the name that was read last.
    open: Vec<(Place, Option<Name>)>,
    in_string: bool,
    escaped: bool,
    /// The last string outside of members, as far as it can be a name that matters.
    string: Vec<u8>,
    /// How many resources of entries have begun; 0 for a text that is a Group.
    entries: u64,
    /// The text without the members.
    rest: Vec<u8>,
    /// The member that is being read.
    member: Vec<u8>,
    /// How deep in the members it is; 0 outside of any.
    depth: usize,
}

impl Cutter {
    /// Takes the next piece, and gives away the members that end in it, each with the number of the entry whose resource it
    /// belongs to, from 0. The first error that `take` answers is the end.
    pub fn push<E>(&mut self, piece: &[u8], take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut at = 0;
        while at < piece.len() {
            at = if self.depth > 0 { self.member_byte(piece, at, take)? } else { self.outer_byte(piece, at) };
        }
        Ok(())
    }

    /// How many bytes are held.
    pub fn holds(&self) -> usize {
        self.rest.len() + self.member.len()
    }

    /// The text without the members. Fails when it is not whole.
    pub fn finish(self) -> Result<Vec<u8>, EndsEarly> {
        if self.open.is_empty() && !self.in_string && self.depth == 0 { Ok(self.rest) } else { Err(EndsEarly) }
    }

    /// Reads on outside of members; answers where to go on.
    fn outer_byte(&mut self, piece: &[u8], at: usize) -> usize {
        if self.in_string {
            let end = self.string_run(piece, at);
            let room = (Name::LONGEST + 2).saturating_sub(self.string.len());
            self.string.extend(piece[at..end].iter().take(room));
            self.rest.extend_from_slice(&piece[at..end]);
            return end;
        }
        let byte = piece[at];
        self.rest.push(byte);
        match byte {
            b'"' => {
                self.in_string = true;
                self.string.clear();
            }
            b':' => {
                // The closing quotation mark is still there.
                let name = Name::of(self.string.strip_suffix(b"\"").unwrap_or_default());
                if let Some((_, last)) = self.open.last_mut() {
                    *last = Some(name);
                }
            }
            b'{' | b'[' => self.begin(byte == b'['),
            b'}' | b']' => {
                self.open.pop();
            }
            _ => {}
        }
        at + 1
    }

    fn begin(&mut self, is_array: bool) {
        let place = match (self.open.last(), is_array) {
            (None, _) => Place::Root,
            (Some((Place::Root, Some(Name::Entry))), true) => Place::Entries,
            (Some((Place::Entries, _)), false) => Place::Entry,
            (Some((Place::Entry, Some(Name::Resource))), false) => Place::Resource,
            (Some((Place::Root | Place::Resource, Some(Name::Member))), true) => Place::Members,
            _ => Place::Other,
        };
        match place {
            Place::Resource => self.entries += 1,
            Place::Members => self.depth = 1,
            _ => {}
        }
        self.open.push((place, None));
    }

    /// Reads on inside of members; answers where to go on.
    fn member_byte<E>(
        &mut self,
        piece: &[u8],
        at: usize,
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        if self.in_string {
            let end = self.string_run(piece, at);
            self.member.extend_from_slice(&piece[at..end]);
            return Ok(end);
        }
        match piece[at] {
            b',' if self.depth == 1 => self.end_member(take)?,
            b']' if self.depth == 1 => {
                self.end_member(take)?;
                self.depth = 0;
                self.rest.push(b']');
                self.open.pop();
            }
            byte => {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = (self.depth - 1).max(1),
                    _ => {}
                }
                self.member.push(byte);
            }
        }
        Ok(at + 1)
    }

    fn end_member<E>(&mut self, take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let member = self.member.trim_ascii();
        if !member.is_empty() {
            take(self.entries.saturating_sub(1), member)?;
        }
        self.member.clear();
        Ok(())
    }

    /// The end of the run of bytes from `at` on that are inside the string, its closing quotation mark with them.
    fn string_run(&mut self, piece: &[u8], at: usize) -> usize {
        let mut at = at;
        if std::mem::take(&mut self.escaped) {
            at += 1;
        }
        while let Some(found) = piece.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if piece[at] == b'"' {
                self.in_string = false;
                return at + 1;
            }
            at += 2;
            if at > piece.len() {
                self.escaped = true;
                return piece.len();
            }
        }
        piece.len()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::fhir::json::open_group;

    /// What is left of a text that comes in pieces of this length, and the members with the numbers of their entries.
    fn cut(text: &str, length: usize) -> Result<(String, Vec<(u64, String)>), EndsEarly> {
        let (mut cutter, mut members) = (Cutter::default(), Vec::new());
        for piece in text.as_bytes().chunks(length) {
            let pushed = cutter.push(piece, &mut |entry, member: &[u8]| {
                members.push((entry, String::from_utf8_lossy(member).into_owned()));
                Ok::<_, Infallible>(())
            });
            pushed.expect("it cannot fail");
        }
        Ok((String::from_utf8(cutter.finish()?).expect("it came as text"), members))
    }

    fn owned(members: &[(u64, &str)]) -> Vec<(u64, String)> {
        members.iter().map(|(entry, member)| (*entry, (*member).to_owned())).collect()
    }

    #[test]
    fn the_members_of_a_group_are_taken_out_whatever_the_pieces() {
        for (text, rest, members) in [
            (
                r#"{"resourceType":"Group","id":"g","member":[{"a":[1,{"b":"]"}]}, {"c":"\"}\\"}],"z":1.10}"#,
                r#"{"resourceType":"Group","id":"g","member":[],"z":1.10}"#,
                &[(0, r#"{"a":[1,{"b":"]"}]}"#), (0, r#"{"c":"\"}\\"}"#)][..],
            ),
            (r#"{ "member" : [ ] }"#, r#"{ "member" : [] }"#, &[]),
            (r#"{"id":"g"}"#, r#"{"id":"g"}"#, &[]),
            (r#"{"member":null}"#, r#"{"member":null}"#, &[]),
            (r#"{"member":[null, 7]}"#, r#"{"member":[]}"#, &[(0, "null"), (0, "7")]),
            (
                r#"{"contained":[{"member":[{"x":1}]}],"a":{"member":[1]},"member":[{}]}"#,
                r#"{"contained":[{"member":[{"x":1}]}],"a":{"member":[1]},"member":[]}"#,
                &[(0, "{}")],
            ),
            (r#"{"x":"member","y":[1]}"#, r#"{"x":"member","y":[1]}"#, &[]),
            (r#"{"member2":[1],"remember":[2]}"#, r#"{"member2":[1],"remember":[2]}"#, &[]),
        ] {
            for length in 1..=text.len() {
                assert_eq!(cut(text, length), Ok((rest.to_owned(), owned(members))), "{text} by {length}");
            }
        }
    }

    #[test]
    fn the_members_of_the_groups_of_a_bundle_come_with_the_numbers_of_their_entries() {
        let text = r#"{"resourceType":"Bundle","entry":[
            {"fullUrl":"x","resource":{"id":"a","member":[{"n":1},{"n":2}]},"search":{"mode":"match"}},
            {"resource":{"id":"b"}},
            {"member":[9],"resource":{"member":[{"n":3}],"id":"c"}}]}"#;
        let rest = r#"{"resourceType":"Bundle","entry":[
            {"fullUrl":"x","resource":{"id":"a","member":[]},"search":{"mode":"match"}},
            {"resource":{"id":"b"}},
            {"member":[9],"resource":{"member":[],"id":"c"}}]}"#;
        let members = owned(&[(0, r#"{"n":1}"#), (0, r#"{"n":2}"#), (2, r#"{"n":3}"#)]);
        for length in [1, 2, 3, 7, 64, 4_096] {
            assert_eq!(cut(text, length), Ok((rest.to_owned(), members.clone())), "by {length}");
        }
    }

    #[test]
    fn a_text_that_is_cut_short_is_noticed_wherever_it_ends() {
        let text = r#"{"id":"g","member":[{"a":"x\"y"},{"b":[1]}],"name":"n"}"#;
        for end in 1..text.len() {
            assert_eq!(cut(&text[..end], 5), Err(EndsEarly), "{}", &text[..end]);
        }
    }

    proptest! {
        #[test]
        fn a_group_is_cut_as_it_is_when_it_is_read_whole(
            members in proptest::collection::vec(r#"\{("[a-z\[\]{},:]{0,5}":("(\\"|\\\\|[a-z{}\[\],])*"|[1-9][0-9]{0,2}|null))?\}"#, 0..8),
            space in "[ \n]{0,2}",
            length in 1_usize..40,
        ) {
            let text = format!(
                r#"{{"name":"a\"member\":[",{space}"member"{space}:{space}[{}]{space},"quantity":1.10}}"#,
                members.join(&format!("{space},{space}")),
            );
            let opened = open_group(&text).expect("it is a Group");
            let expected: Vec<(u64, String)> = opened.members.iter().map(|member| (0, (*member).to_owned())).collect();
            let (rest, found) = cut(&text, length).expect("it is whole");
            prop_assert_eq!(found, expected);
            prop_assert_eq!(rest, format!("{}{}", opened.before, opened.after));
        }
    }
}
