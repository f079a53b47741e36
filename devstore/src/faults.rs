//! Failing on demand: rules that stand in front of the store and break the requests they match.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What happens to a request that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 503 `SlowDown`. The request is read to its end and not carried out.
    SlowDown,
    /// 500 `InternalError`. The request is read to its end and not carried out.
    InternalError,
    /// This status with this code: (507, `XMinioStorageFull`), (400, `ExpiredToken`). The request is read to its end and not
    /// carried out.
    Refusal(u16, &'static str),
    /// The request is carried out after this time.
    Delay(Duration),
    /// The connection closes when half of the body has come. The request is not carried out.
    BreakRequest,
    /// The request is carried out, and the connection closes within the answer: about halfway through its body, or
    /// before its first byte if it has no body. The client cannot know that its request was carried out.
    BreakAnswer,
}

/// Which requests a [`Failure`] is for. [`Requests::any`] matches all; each method narrows it.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    verb: Option<Method>,
    key: Option<String>,
    query: Option<String>,
    passed_over: usize,
}

impl Requests {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Only those with this HTTP verb, such as `PUT`.
    ///
    /// # Panics
    /// If it cannot be a verb.
    #[must_use]
    pub fn with_verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.parse().expect("a test names its verbs by hand"));
        self
    }

    /// Only those to keys like this, where `*` stands for any text. Requests to a bucket have the key "".
    #[must_use]
    pub fn to_key(mut self, pattern: &str) -> Self {
        self.key = Some(pattern.to_owned());
        self
    }

    /// Only those with this query parameter: `uploadId` (parts, and completing), `uploads` (beginning), `partNumber`, `delete`,
    /// or with a value, `partNumber=2`.
    #[must_use]
    pub fn with_query(mut self, parameter: &str) -> Self {
        self.query = Some(parameter.to_owned());
        self
    }

    /// Lets the first `count` of them pass.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.passed_over = count;
        self
    }

    fn match_request(&self, verb: &Method, uri: &Uri) -> bool {
        self.verb.as_ref().is_none_or(|wanted| wanted == verb)
            && self.key.as_ref().is_none_or(|pattern| is_like(&key(uri), pattern))
            && self.query.as_ref().is_none_or(|parameter| has_parameter(uri, parameter))
    }
}

/// The faults of one store. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rules: VecDeque<Rule>,
    struck: usize,
}

#[derive(Debug)]
struct Rule {
    requests: Requests,
    left: usize,
    failure: Failure,
}

impl Faults {
    /// Strikes the next `count` requests of this kind. `usize::MAX` is "until cleared". Where two rules match, the older one
    /// strikes.
    pub fn fail_next(&self, count: usize, requests: Requests, failure: Failure) {
        self.state().rules.push_back(Rule { requests, left: count, failure });
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// How many requests were struck so far.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.state().struck
    }

    /// How many strikes are still to come; zero if all rules are used up.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().rules.iter().fold(0, |sum, rule| sum.saturating_add(rule.left))
    }

    /// What is to happen to this request; counts it.
    pub(crate) fn strike(&self, verb: &Method, uri: &Uri) -> Option<Failure> {
        let mut state = self.state();
        let at = state.rules.iter_mut().position(|rule| {
            if !rule.requests.match_request(verb, uri) {
                return false;
            }
            let passes = rule.requests.passed_over > 0;
            rule.requests.passed_over = rule.requests.passed_over.saturating_sub(1);
            !passes && rule.left > 0
        })?;
        let rule = &mut state.rules[at];
        let failure = rule.failure;
        if rule.left != usize::MAX {
            rule.left -= 1;
        }
        if rule.left == 0 {
            state.rules.remove(at);
        }
        state.struck += 1;
        Some(failure)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can leave the rules half changed, so a panic elsewhere is no reason to fail here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object's key: all behind the bucket.
fn key(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path().trim_start_matches('/');
    let key = path.split_once('/').map_or("", |(_bucket, key)| key);
    percent_decode_str(key).decode_utf8_lossy()
}

fn has_parameter(uri: &Uri, wanted: &str) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|pair| pair == wanted || pair.split_once('=').is_some_and(|(name, _)| name == wanted))
}

/// Whether `text` is what `pattern` says, with `*` for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| is_like(&text[at..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &'static str) -> (Method, Uri) {
        (Method::PUT, Uri::from_static(path))
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (text, pattern, expected) in [
            ("a/b.gz", "*.gz", true),
            ("a/b.gz", "a/*", true),
            ("a/b.gz", "a/*.gz", true),
            ("a/b.gz", "*", true),
            ("", "*", true),
            ("a/b.gz", "b*", false),
            ("a/b.gz.x", "*.gz", false),
            ("a", "a", true),
            ("ab", "a", false),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says_and_then_is_gone() {
        let faults = Faults::default();
        faults.fail_next(2, Requests::any().with_verb("PUT").to_key("x/*").after(1), Failure::SlowDown);
        let (verb, uri) = put("/exports/x/1");
        assert_eq!(faults.strike(&Method::GET, &uri), None);
        assert_eq!(faults.strike(&verb, &Uri::from_static("/exports/y")), None);
        let strikes: Vec<_> = (0..4).map(|_| faults.strike(&verb, &uri)).collect();
        assert_eq!(strikes, [None, Some(Failure::SlowDown), Some(Failure::SlowDown), None]);
        assert_eq!((faults.struck(), faults.pending()), (2, 0));
    }

    #[test]
    fn a_query_parameter_is_matched_by_name_or_with_its_value() {
        let (_, uri) = put("/exports/k?partNumber=2&uploadId=u");
        for (parameter, expected) in
            [("uploadId", true), ("partNumber=2", true), ("partNumber=3", false), ("upload", false)]
        {
            assert_eq!(has_parameter(&uri, parameter), expected, "{parameter}");
        }
    }

    #[test]
    fn keys_are_matched_as_they_are_meant_not_as_they_are_escaped() {
        assert_eq!(key(&Uri::from_static("/exports/a%20b/c")), "a b/c");
        assert_eq!(key(&Uri::from_static("/exports")), "");
    }
}
