//! A characteristic and its value, in one element of a Group (R4 search, "composite"; `Group-characteristic-value`).

use serde_json::Value;

use super::escape::{split, unescape};
use super::reference::Wanted;
use super::token::Token;

/// What is searched for: `code$value`.
///
/// R4 searches for values that are a CodeableConcept or a boolean. Those of ATR lists are references too, so a value is
/// a token or a reference, whatever the list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    code: Token,
    value: Token,
    reference: Option<Wanted>,
}

impl Pair {
    /// Reads one value with its escapes. Fails with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let &[code, value] = split(text, '$').as_slice() else {
            return Err("write it as code$value, and a '$' inside of them as \\$");
        };
        if code.is_empty() || value.is_empty() {
            return Err("write it as code$value with both of them");
        }
        let reference = Wanted::parse(&unescape(value), None).ok();
        Ok(Self { code: Token::parse(code)?, value: Token::parse(value)?, reference })
    }

    /// Whether a `Group.characteristic` has both.
    pub(super) fn is(&self, characteristic: &Value) -> bool {
        let has = |name: &str, is: &dyn Fn(&Value) -> bool| characteristic.get(name).is_some_and(is);
        let is_token = |value: &Value| self.value.is(value, None);
        let is_reference = |value: &Value| self.reference.as_ref().is_some_and(|wanted| wanted.is(value));
        has("code", &|code| self.code.is(code, None))
            && (has("valueCodeableConcept", &is_token)
                || has("valueBoolean", &is_token)
                || has("valueReference", &is_reference))
    }
}
