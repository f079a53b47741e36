//! Strings, and the parts of names and addresses (R4 search, "string").
//!
//! R4 compares base characters: case, accents, punctuation and repeated white space do not count. So both sides are
//! folded: decomposed, cut down to letters, digits and single spaces, in lower case. Letters that are no others with a
//! mark (`ø`, `ł`) stay as they are; `ß` becomes `ss`.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

/// How a text is compared with the one that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It begins with it, after folding.
    Begins,
    /// It has it anywhere, after folding (`:contains`).
    Contains,
    /// It is it, letter by letter (`:exact`).
    Exact,
}

/// A text that is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    comparison: Comparison,
    wanted: String,
}

/// The members of HumanName and Address that are texts. `use` and the type of an address are codes.
const PARTS: [&str; 11] =
    ["text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "postalCode", "country"];

impl Text {
    /// Takes an unescaped text. Fails with what is wrong.
    pub(super) fn new(comparison: Comparison, text: &str) -> Result<Self, &'static str> {
        let wanted = if comparison == Comparison::Exact { text.to_owned() } else { fold(text) };
        if wanted.is_empty() {
            return Err("it has no letter and no digit, which is all that is compared: use ':exact'");
        }
        Ok(Self { comparison, wanted })
    }

    /// Whether a string, or a part of a HumanName or an Address, is the one that is searched for.
    pub(super) fn is(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is_text(text),
            Value::Object(parts) => PARTS.iter().filter_map(|name| parts.get(*name)).any(|part| match part {
                Value::String(text) => self.is_text(text),
                Value::Array(texts) => texts.iter().filter_map(Value::as_str).any(|text| self.is_text(text)),
                _ => false,
            }),
            _ => false,
        }
    }

    fn is_text(&self, text: &str) -> bool {
        match self.comparison {
            Comparison::Begins => fold(text).starts_with(&self.wanted),
            Comparison::Contains => fold(text).contains(&self.wanted),
            Comparison::Exact => text == self.wanted,
        }
    }
}

fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for character in text.nfkd() {
        if character.is_whitespace() {
            if !folded.is_empty() && !folded.ends_with(' ') {
                folded.push(' ');
            }
        } else if character == 'ß' || character == 'ẞ' {
            folded.push_str("ss");
        } else if character.is_alphanumeric() {
            folded.extend(character.to_lowercase().filter(|character| character.is_alphanumeric()));
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_punctuation_and_repeated_white_space_do_not_count() {
        for (text, folded) in [
            ("Núñez", "nunez"),
            ("Nu\u{301}n\u{303}ez", "nunez"),
            ("O'Brien", "obrien"),
            (" St.\tJohn  -  Smith ", "st john smith"),
            ("STRAẞE straße", "strasse strasse"),
            ("İzmir", "izmir"),
            ("ﬁsh", "fish"),
            ("Łódź", "łodz"),
            ("山田", "山田"),
            ("'-.", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }
}
