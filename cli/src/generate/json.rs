//! The writer of one JSON line, into a buffer that is used again for the next one.
//!
//! A `serde_json::Value` for each resource would cost more than all the rest of the generator. The commas place themselves: one
//! is due unless the text ends in `{`, `[` or `:`, and a value never ends so because a string ends in its quote.

use std::fmt::{self, Display, Write};

/// One JSON value in the making, in one line of text.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
}

impl Line {
    /// Forgets the text and keeps its memory.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// What has been written so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `"key":"value"`, escaped.
    pub fn text(&mut self, key: &'static str, value: impl Display) {
        self.key(key);
        self.quoted(value);
    }

    /// `"key":value` for numbers and booleans, with the digits just as they are given: `25.00` stays `25.00`.
    pub fn bare(&mut self, key: &'static str, value: impl Display) {
        self.key(key);
        write!(self.text, "{value}").expect("writing into a String never fails");
    }

    /// `"key":{...}`.
    pub fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braced(fill);
    }

    /// `"key":[...]`. FHIR knows no empty arrays, so `fill` must write something.
    pub fn list(&mut self, key: &'static str, fill: impl FnOnce(&mut Self)) {
        self.open_list(key);
        fill(self);
        self.text.push(']');
    }

    /// An object that stands in a list, or alone.
    pub fn entry(&mut self, fill: impl FnOnce(&mut Self)) {
        self.comma();
        self.braced(fill);
    }

    /// A string that stands in a list.
    pub fn item(&mut self, value: impl Display) {
        self.comma();
        self.quoted(value);
    }

    /// `{`, for the one line that is too long for the memory; who opens it writes the closing brace as well.
    pub fn open(&mut self) {
        self.comma();
        self.text.push('{');
    }

    /// `"key":[`, for the one list that is too long for the memory; who opens it writes the closing bracket as well.
    pub fn open_list(&mut self, key: &'static str) {
        self.key(key);
        self.text.push('[');
    }

    fn key(&mut self, key: &'static str) {
        self.comma();
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
    }

    fn braced(&mut self, fill: impl FnOnce(&mut Self)) {
        self.text.push('{');
        fill(self);
        self.text.push('}');
    }

    fn quoted(&mut self, value: impl Display) {
        self.text.push('"');
        write!(Escaped(&mut self.text), "{value}").expect("writing into a String never fails");
        self.text.push('"');
    }

    fn comma(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }
}

/// Passes text on with what JSON forbids inside of a string escaped (RFC 8259 §7); all else, also non-ASCII, stays as it is.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let mut plain_from = 0;
        for (at, byte) in piece.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.push_str(&piece[plain_from..at]);
            match byte {
                b'"' => self.0.push_str("\\\""),
                b'\\' => self.0.push_str("\\\\"),
                b'\n' => self.0.push_str("\\n"),
                b'\r' => self.0.push_str("\\r"),
                b'\t' => self.0.push_str("\\t"),
                control => write!(self.0, "\\u{control:04x}")?,
            }
            plain_from = at + 1;
        }
        self.0.push_str(&piece[plain_from..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn any_text_comes_back_from_a_json_reader_as_it_was() {
        for text in
            ["", "plain", "O'Brien \"Kit\"", "back\\slash", "two\nlines\r\tand\u{1}more", "Nuñez 王 Đặng", "{[:,"]
        {
            let mut line = Line::default();
            line.entry(|line| line.text("value", text));
            assert!(!line.as_str().contains('\n'));
            let read: serde_json::Value = serde_json::from_str(line.as_str()).unwrap();
            assert_eq!(read["value"], text);
        }
    }

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let mut line = Line::default();
        line.entry(|line| {
            line.text("colon", ":");
            line.list("list", |line| {
                line.item("[");
                line.item("{");
                line.entry(|line| line.bare("cost", "25.00"));
                line.entry(|line| line.bare("active", true));
            });
            line.object("end", |line| line.text("a", "b"));
        });
        let expected = r#"{"colon":":","list":["[","{",{"cost":25.00},{"active":true}],"end":{"a":"b"}}"#;
        assert_eq!(line.as_str(), expected);
    }
}
