//! Places on a wire: where in the talk between a client and its server something is to happen.

use tokio::sync::oneshot;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program that made the connection.
    Client,
    /// The server.
    Server,
}

/// A place on a wire: the `count`th time that `side` sends `pattern`.
#[derive(Clone, Debug)]
pub struct Place {
    /// Who sends it.
    pub side: Side,
    /// What is sent. Nothing is in everything: it counts the pieces that go over the wire, as they come.
    pub pattern: Vec<u8>,
    /// How often it is sent until then, this time included.
    pub count: usize,
    /// Whether it still arrives. What is sent after it does not, from neither side: a request that arrives gets no answer.
    pub arrives: bool,
}

/// What becomes of the piece that came to the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It does not arrive.
    Keep,
    /// It arrives, and nothing after it.
    LastPiece,
}

/// What was seen of one direction of a connection, as far as the beginning of a pattern may be in it.
pub(super) struct Scan {
    side: Side,
    tail: Vec<u8>,
}

impl Scan {
    pub(super) fn of(side: Side) -> Self {
        Self { side, tail: Vec::new() }
    }

    /// Whether a pattern ends in this piece.
    fn finds(&mut self, pattern: &[u8], piece: &[u8]) -> bool {
        if pattern.is_empty() {
            return true;
        }
        self.tail.extend_from_slice(piece);
        let found = self.tail.windows(pattern.len()).any(|window| window == pattern);
        let rest = if found { 0 } else { (pattern.len() - 1).min(self.tail.len()) };
        self.tail.drain(..self.tail.len() - rest);
        found
    }
}

/// A place that is waited for.
pub(super) struct Armed {
    place: Place,
    left: usize,
    tell: Option<oneshot::Sender<()>>,
}

impl Armed {
    pub(super) fn new(place: Place) -> (Self, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        (Self { left: place.count, place, tell: Some(tell) }, told)
    }

    pub(super) fn has_tripped(&self) -> bool {
        self.left == 0
    }

    /// Looks at a piece that one side sends; says what becomes of it when it is the one.
    pub(super) fn sees(&mut self, scan: &mut Scan, piece: &[u8]) -> Option<Event> {
        if self.left == 0 || scan.side != self.place.side || !scan.finds(&self.place.pattern, piece) {
            return None;
        }
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        if let Some(tell) = self.tell.take() {
            // Whoever does not wait any more has no use for it.
            let _ = tell.send(());
        }
        Some(if self.place.arrives { Event::LastPiece } else { Event::Keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pattern: &[u8], count: usize) -> Place {
        Place { side: Side::Client, pattern: pattern.to_vec(), count, arrives: true }
    }

    #[test]
    fn a_pattern_is_found_across_pieces_and_counted() {
        let (mut armed, mut told) = Armed::new(place(b"abc", 2));
        let mut scan = Scan::of(Side::Client);
        for (piece, event) in
            [("xxab", None), ("c", None), ("ab", None), ("xc", None), ("xabcx", Some(Event::LastPiece))]
        {
            assert_eq!(armed.sees(&mut scan, piece.as_bytes()), event, "{piece}");
        }
        assert_eq!(told.try_recv(), Ok(()));
        assert_eq!(armed.sees(&mut scan, b"abc"), None, "it happens once");
    }

    #[test]
    fn only_one_side_is_listened_to_and_nothing_is_in_everything() {
        let (mut armed, _told) = Armed::new(Place { arrives: false, ..place(b"", 2) });
        let (mut client, mut server) = (Scan::of(Side::Client), Scan::of(Side::Server));
        assert_eq!(armed.sees(&mut server, b"a"), None);
        assert_eq!(armed.sees(&mut client, b"a"), None);
        assert_eq!(armed.sees(&mut client, b"b"), Some(Event::Keep));
    }
}
