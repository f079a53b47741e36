//! One page of a listing: the rules of ListObjectsV2 on prefixes, delimiters and where the next page begins.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// With the first key.
    Nothing,
    /// Behind this key.
    Key(String),
    /// Behind all keys with this common prefix, which the page before has given.
    Group(String),
}

impl After {
    /// The token that stands for this place: opaque to the client, and of letters and digits only, so that it survives
    /// XML and URLs whatever the key is made of.
    pub fn token(&self) -> Option<String> {
        let (kind, text) = match self {
            Self::Nothing => return None,
            Self::Key(key) => ('k', key),
            Self::Group(group) => ('g', group),
        };
        let mut token = String::from(kind);
        for byte in text.bytes() {
            token.push(char::from_digit(u32::from(byte >> 4), 16).expect("four bits are one digit"));
            token.push(char::from_digit(u32::from(byte & 15), 16).expect("four bits are one digit"));
        }
        Some(token)
    }

    /// Reads a token. `None` if it is not one of ours.
    pub fn parse(token: &str) -> Option<Self> {
        let (kind, digits) = token.split_at_checked(1)?;
        let digits: Vec<u8> = digits.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        let text = String::from_utf8(bytes).ok().filter(|_| rest.is_empty())?;
        match kind {
            "k" => Some(Self::Key(text)),
            "g" => Some(Self::Group(text)),
            _ => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this behind the prefix are given as one group.
    pub delimiter: Option<String>,
    /// Where the page begins.
    pub after: After,
    /// The most entries, keys and groups together.
    pub limit: usize,
}

/// What is found.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Keys, in order.
    pub entries: Vec<(String, T)>,
    /// Common prefixes, in order.
    pub groups: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<After>,
}

/// Cuts one page out of `keys`.
pub fn page<T: Clone>(keys: &BTreeMap<String, T>, query: &Query) -> Page<T> {
    let prefix = query.prefix.as_str();
    let begin = match &query.after {
        After::Key(after) | After::Group(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    };
    let mut page = Page { entries: Vec::new(), groups: Vec::new(), next: None };
    let mut last = None;
    for (key, value) in keys.range::<str, _>((begin, Bound::Unbounded)) {
        if !key.starts_with(prefix) {
            break;
        }
        if matches!(&query.after, After::Group(group) if key.starts_with(group)) {
            continue;
        }
        let group = group_of(key, prefix, query.delimiter.as_deref());
        if group.is_some() && group == page.groups.last().map(String::as_str) {
            continue;
        }
        if page.entries.len() + page.groups.len() == query.limit {
            page.next = last;
            break;
        }
        if let Some(group) = group {
            page.groups.push(group.to_owned());
            last = Some(After::Group(group.to_owned()));
        } else {
            page.entries.push((key.clone(), value.clone()));
            last = Some(After::Key(key.clone()));
        }
    }
    page
}

/// The key up to and with the first delimiter behind the prefix.
fn group_of<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeMap<String, u8> {
        names.iter().map(|name| ((*name).to_owned(), 0)).collect()
    }

    /// All pages one behind the other, keys and groups as they come, pages divided by `|`.
    fn pages(names: &[&str], prefix: &str, delimiter: Option<&str>, limit: usize) -> String {
        let keys = keys(names);
        let mut query =
            Query { prefix: prefix.to_owned(), delimiter: delimiter.map(str::to_owned), after: After::Nothing, limit };
        let mut text = Vec::new();
        loop {
            let found = page(&keys, &query);
            let mut names: Vec<_> = found.entries.into_iter().map(|(key, _)| key).chain(found.groups).collect();
            names.sort();
            text.push(names.join(" "));
            let Some(next) = found.next else { return text.join("|") };
            query.after = After::parse(&next.token().expect("not at the start")).expect("our own token");
        }
    }

    #[test]
    fn a_page_holds_the_limit_and_the_last_one_says_so() {
        assert_eq!(pages(&["a", "b", "c", "d"], "", None, 2), "a b|c d");
        assert_eq!(pages(&["a", "b", "c"], "", None, 2), "a b|c");
        assert_eq!(pages(&[], "", None, 2), "");
        assert_eq!(pages(&["a"], "", None, 0), "");
    }

    #[test]
    fn a_group_is_given_once_though_its_keys_fill_pages() {
        let names = ["a/1", "a/2", "a/3", "b", "c/1"];
        assert_eq!(pages(&names, "", Some("/"), 1), "a/|b|c/");
        assert_eq!(pages(&names, "", Some("/"), 10), "a/ b c/");
        assert_eq!(pages(&names, "a/", Some("/"), 2), "a/1 a/2|a/3");
    }

    #[test]
    fn a_key_and_keys_below_it_stand_together() {
        assert_eq!(pages(&["a", "a/b", "a/b/c"], "", None, 10), "a a/b a/b/c");
        assert_eq!(pages(&["a", "a/b", "a/b/c"], "a", Some("/"), 10), "a a/");
    }

    #[test]
    fn a_start_before_the_prefix_does_not_hide_it() {
        let query = Query { prefix: "m".into(), delimiter: None, after: After::Key("a".into()), limit: 9 };
        assert_eq!(page(&keys(&["a", "b", "m1", "z"]), &query).entries, [("m1".to_owned(), 0)]);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["", "k", "x61", "k6", "kzz", "kff", "é"] {
            let parsed = After::parse(token);
            assert!(parsed.is_none() || parsed == Some(After::Key(String::new())), "{token}");
        }
    }
}
