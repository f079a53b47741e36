//! The characters that separate values, and their escapes (R4 search, "Escaping Search Parameters").

/// The parts of a text between the separators that no backslash stands before, still with their escapes. At least one.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut escaped) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        if character == separator && !escaped {
            parts.push(&text[from..at]);
            from = at + character.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(&text[from..]);
    parts
}

/// The text that is meant: `\,` `\|` `\$` `\\` lose their backslash. A backslash before anything else is itself.
pub(super) fn unescape(text: &str) -> String {
    let mut meant = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters.next_if(|next| character == '\\' && matches!(next, ',' | '|' | '$' | '\\'));
        meant.push(escaped.unwrap_or(character));
    }
    meant
}

/// A text with its escapes, so that it is one value: what `unescape` turns back.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ',' | '|' | '$' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_behind_a_backslash_separates_nothing() {
        assert_eq!(split(r"a,b\,c,", ','), ["a", r"b\,c", ""]);
        assert_eq!(split(r"a\\,b", ','), [r"a\\", "b"]);
        assert_eq!(split("", ','), [""]);
    }

    #[test]
    fn what_is_escaped_is_one_value_and_reads_as_it_was() {
        for text in [r"a,b|c$d\e", r"a\b\", r"\\,", "é", ""] {
            assert_eq!(unescape(&escape(text)), text);
            assert_eq!(split(&escape(text), ',').len(), 1, "{text}");
        }
    }

    #[test]
    fn only_the_four_escapes_lose_their_backslash() {
        for (text, meant) in [(r"a\,b\|c\$d\\e", r"a,b|c$d\e"), (r"a\b\", r"a\b\"), (r"\\,", r"\,"), ("é", "é")] {
            assert_eq!(unescape(text), meant);
        }
    }
}
