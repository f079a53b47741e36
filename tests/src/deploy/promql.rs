//! As much of PromQL as is needed to see what a query asks for. Whether it is PromQL at all, `promtool` says.

use std::collections::BTreeSet;

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its selectors, in order.
    pub selectors: Vec<Selector>,
    /// Labels by which it groups or joins.
    pub labels: BTreeSet<String>,
    /// Aggregations that do not keep the namespace.
    pub mixing: Vec<String>,
}

/// `name{label="value", …}`.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// The name of the series.
    pub name: String,
    /// Its matchers.
    pub matchers: Vec<Matcher>,
}

/// `label="value"`, or another sign between the two.
#[derive(Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// The value, or a regular expression for it.
    pub value: String,
    /// Whether it is a regular expression.
    pub is_pattern: bool,
}

impl Selector {
    /// The value that it asks for of a label.
    pub fn value(&self, label: &str) -> Option<&str> {
        self.matchers.iter().find(|matcher| matcher.label == label).map(|matcher| matcher.value.as_str())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const AGGREGATIONS: [&str; 6] = ["sum", "max", "min", "count", "avg", "topk"];

/// Reads a query. Every name that is no function, operator or label counts as one of a series.
pub fn asked(query: &str) -> Asked {
    let mut asked = Asked::default();
    let mut tokens = tokens(query).into_iter().peekable();
    while let Some(token) = tokens.next() {
        let Token::Word(word) = token else { continue };
        let is_operator = OPERATORS.contains(&word.as_str());
        if is_operator || word.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        if AGGREGATIONS.contains(&word.as_str()) {
            let mut labels = Vec::new();
            if tokens.next_if_eq(&Token::Word("by".to_owned())).is_some() {
                labels = list(&mut tokens);
            }
            if !labels.iter().any(|label| label == "namespace") {
                asked.mixing.push(word);
            }
            asked.labels.extend(labels);
        } else if GROUPINGS.contains(&word.as_str()) {
            asked.labels.extend(list(&mut tokens));
        } else if tokens.peek() != Some(&Token::Sign('(')) {
            let matchers =
                if tokens.next_if_eq(&Token::Sign('{')).is_some() { matchers(&mut tokens) } else { Vec::new() };
            asked.selectors.push(Selector { name: word, matchers });
        }
    }
    asked
}

/// The labels of a list in brackets.
fn list(tokens: &mut impl Iterator<Item = Token>) -> Vec<String> {
    let inside = tokens.take_while(|token| *token != Token::Sign(')'));
    inside.filter_map(|token| if let Token::Word(label) = token { Some(label) } else { None }).collect()
}

/// Matchers up to the closing bracket.
fn matchers(tokens: &mut impl Iterator<Item = Token>) -> Vec<Matcher> {
    let (mut matchers, mut label, mut is_pattern) = (Vec::new(), String::new(), false);
    for token in tokens.take_while(|token| *token != Token::Sign('}')) {
        match token {
            Token::Word(word) => (label, is_pattern) = (word, false),
            Token::Sign(sign) => is_pattern |= sign == '~',
            Token::Text(value) => matchers.push(Matcher { label: std::mem::take(&mut label), value, is_pattern }),
        }
    }
    matchers
}

fn tokens(query: &str) -> Vec<Token> {
    let is_part = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':' | '.');
    let mut tokens = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(first) = rest.next() {
        if first == '"' {
            tokens.push(Token::Text(rest.by_ref().take_while(|character| *character != '"').collect()));
        } else if is_part(&first) {
            let mut word = first.to_string();
            while let Some(part) = rest.next_if(is_part) {
                word.push(part);
            }
            tokens.push(Token::Word(word));
        } else if first == '[' {
            // A span of time.
            rest.by_ref().take_while(|character| *character != ']').for_each(drop);
        } else if !first.is_whitespace() {
            tokens.push(Token::Sign(first));
        }
    }
    tokens
}

/// The alternatives of a pattern. A group that may be missing makes two of one.
pub fn alternatives(pattern: &str) -> Vec<String> {
    if let Some((before, rest)) = pattern.split_once('(') {
        let (group, after) = rest.split_once(")?").expect("of groups, only one that may be missing can be read here");
        return [format!("{before}{after}"), format!("{before}{group}{after}")].into();
    }
    pattern.split('|').map(str::to_owned).collect()
}

/// Whether a text is what an alternative stands for. Of regular expressions it knows `.`, a leading `.*` and classes like
/// `[1-9]`, which is all that the queries use; any other sign is a panic and not a wrong answer.
pub fn fits(pattern: &str, text: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix(".*") {
        return text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(rest, &text[at..]));
    }
    let (Some(first), Some(character)) = (pattern.chars().next(), text.chars().next()) else {
        return pattern.is_empty() && text.is_empty();
    };
    let (is_first, rest) = if let Some(class) = pattern.strip_prefix('[') {
        let (class, rest) = class.split_once(']').expect("a class ends");
        let is_first = match class.split_once('-') {
            Some((low, high)) => low <= character.to_string().as_str() && character.to_string().as_str() <= high,
            None => class.contains(character),
        };
        (is_first, rest)
    } else {
        assert!(!"\\(){}+?*^$|".contains(first), "a pattern with '{first}' cannot be read here: {pattern}");
        (first == '.' || first == character, &pattern[first.len_utf8()..])
    };
    is_first && fits(rest, &text[character.len_utf8()..])
}

#[test]
fn a_query_is_taken_apart() {
    let query = r#"sum by (namespace, le) (rate(a_b:c{x=~"1|2", y!="(3,4)"}[5m] offset 1h)) > on (z) group_left () max(d) * 1e3"#;
    let matcher =
        |label: &str, value: &str, is_pattern| Matcher { label: label.to_owned(), value: value.to_owned(), is_pattern };
    let expected = Asked {
        selectors: vec![
            Selector {
                name: "a_b:c".to_owned(),
                matchers: vec![matcher("x", "1|2", true), matcher("y", "(3,4)", false)],
            },
            Selector { name: "d".to_owned(), matchers: Vec::new() },
        ],
        labels: ["le", "namespace", "z"].map(str::to_owned).into(),
        mixing: vec!["max".to_owned()],
    };
    assert_eq!(asked(query), expected);
}

#[test]
fn a_pattern_fits_what_it_stands_for_and_nothing_else() {
    for (pattern, text, expected) in [
        ("5..", "503", true),
        ("5..", "50", false),
        ("50[1-9]", "503", true),
        ("50[1-9]", "500", false),
        ("a|b", "b", true),
        ("a|b", "ab", false),
        (".*/export/[{]job[}]", "/fhir/export/{job}", true),
        (".*/export/[{]job[}]", "/fhir/export/{job}/x", false),
        (".*[$](davinci-data-)?export", "/fhir/$export", true),
        (".*[$](davinci-data-)?export", "/fhir/$davinci-data-export", true),
        (".*[$](davinci-data-)?export", "/fhir/$davinci-export", false),
    ] {
        assert_eq!(alternatives(pattern).iter().any(|one| fits(one, text)), expected, "{pattern} {text}");
    }
}
