//! Tokens: a code or an identifier, with or without the system that it is from (R4 search, "token").

use serde_json::Value;

use super::escape::{split, unescape};

/// The systems of `true` and `false`: the one of R4 search and the code system that has them.
const BOOLEANS: [&str; 2] =
    ["http://hl7.org/fhir/special-values", "http://terminology.hl7.org/CodeSystem/special-values"];

/// A code or an identifier that is searched for: `code`, `system|code`, `|code` or `system|`.
///
/// Systems are compared exactly. Codes of CodeableConcept, Coding, `code` and boolean, and the values of ContactPoint,
/// are compared without regard to ASCII case, as R4 advises when in doubt. Ids and values of Identifier are compared
/// exactly: who issues them decides whether case matters, and an index finds them as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Which system it may be from.
    pub system: System,
    /// The code; `None` for any code of the system.
    pub code: Option<String>,
}

/// Which system a token may be from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum System {
    /// Any, or none: `code`.
    Any,
    /// The element has no system: `|code`.
    None,
    /// This one: `system|code`.
    Is(String),
}

impl Token {
    /// Reads one value. Fails with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<String> = split(text, '|').into_iter().map(unescape).collect();
        match parts.as_slice() {
            [code] => Ok(Self { system: System::Any, code: Some(code.clone()) }),
            [system, code] if system.is_empty() && code.is_empty() => {
                Err("write it as code, system|code, |code or system|")
            }
            [system, code] if system.is_empty() => Ok(Self { system: System::None, code: Some(code.clone()) }),
            [system, code] => {
                let code = Some(code.clone()).filter(|code| !code.is_empty());
                Ok(Self { system: System::Is(system.clone()), code })
            }
            _ => Err("it has more than one '|': write it as system|code, and a '|' inside of them as \\|"),
        }
    }

    /// Whether a value of a resource is this token. Plain codes are of the system `implied`, if there is one.
    pub(super) fn is(&self, value: &Value, implied: Option<&str>) -> bool {
        match value {
            Value::String(text) if implied.is_none() => self.is_from(None) && self.is_exactly(text),
            Value::String(text) => (self.system == System::None || self.is_from(implied)) && self.is_code(text),
            Value::Bool(truth) => {
                let is_from = match &self.system {
                    System::Is(system) => BOOLEANS.contains(&system.as_str()),
                    _ => true,
                };
                is_from && self.is_code(if *truth { "true" } else { "false" })
            }
            Value::Object(_) => self.is_element(value),
            _ => false,
        }
    }

    /// A CodeableConcept has `coding`, a Coding `code`, an Identifier and a ContactPoint `value`.
    fn is_element(&self, element: &Value) -> bool {
        if let Some(Value::Array(codings)) = element.get("coding") {
            return codings.iter().any(|coding| self.is_coding(coding));
        }
        let Some(value) = element.get("value").and_then(Value::as_str) else {
            return self.is_coding(element);
        };
        match system(element) {
            // The systems of ContactPoint are codes, those of Identifier are URIs. R4 gives a ContactPoint no system in
            // a search; that its own is taken too does no harm.
            Some("phone" | "fax" | "email" | "pager" | "url" | "sms" | "other") => {
                (self.system == System::None || self.is_from(system(element))) && self.is_code(value)
            }
            system => self.is_from(system) && self.is_exactly(value),
        }
    }

    fn is_coding(&self, coding: &Value) -> bool {
        let code = coding.get("code").and_then(Value::as_str);
        self.is_from(system(coding)) && code.map_or(self.code.is_none(), |code| self.is_code(code))
    }

    fn is_from(&self, system: Option<&str>) -> bool {
        match &self.system {
            System::Any => true,
            System::None => system.is_none(),
            System::Is(wanted) => system == Some(wanted),
        }
    }

    fn is_code(&self, code: &str) -> bool {
        self.code.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(code))
    }

    fn is_exactly(&self, value: &str) -> bool {
        self.code.as_deref().is_none_or(|wanted| wanted == value)
    }
}

/// An identifier by the type that it is of: `type-system|type-code|value` (R4 search, `:of-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfType {
    of: Token,
    value: Token,
}

impl OfType {
    /// Reads one value, whose three parts must all be there; `None` when they are not.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<String> = split(text, '|').into_iter().map(unescape).collect();
        let [system, code, value] = <[String; 3]>::try_from(parts).ok()?;
        if system.is_empty() || code.is_empty() || value.is_empty() {
            return None;
        }
        let of = Token { system: System::Is(system), code: Some(code) };
        Some(Self { of, value: Token { system: System::Any, code: Some(value) } })
    }

    /// Whether an Identifier is of the type and has the value.
    pub(super) fn is(&self, identifier: &Value) -> bool {
        identifier.get("type").is_some_and(|of| self.of.is(of, None)) && self.value.is(identifier, None)
    }

    /// The token that the identifier is besides.
    pub(super) fn value(&self) -> &Token {
        &self.value
    }
}

fn system(element: &Value) -> Option<&str> {
    element.get("system").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(search: &str, value: &Value, implied: Option<&str>) -> bool {
        Token::parse(search).expect("the test writes a token").is(value, implied)
    }

    #[test]
    fn codes_are_found_with_and_without_their_system() {
        let coding = json!({"system": "http://s", "code": "Abc"});
        let concept = json!({"coding": [{"system": "http://other", "code": "x"}, coding.clone()], "text": "t"});
        let bare = json!({"code": "abc"});
        for (search, of_coding, of_concept, of_bare) in [
            ("abc", true, true, true),
            ("http://s|ABC", true, true, false),
            ("http://S|abc", false, false, false),
            ("http://other|abc", false, false, false),
            ("|abc", false, false, true),
            ("http://s|", true, true, false),
            ("ab", false, false, false),
            ("t", false, false, false),
        ] {
            let found = [&coding, &concept, &bare].map(|value| finds(search, value, None));
            assert_eq!(found, [of_coding, of_concept, of_bare], "{search}");
        }
    }

    #[test]
    fn values_of_identifiers_and_ids_are_compared_with_regard_to_case() {
        let identifier = json!({"system": "http://s", "value": "A1"});
        for (search, is_found) in
            [("A1", true), ("a1", false), ("http://s|A1", true), ("|A1", false), ("http://s|", true)]
        {
            assert_eq!(finds(search, &identifier, None), is_found, "{search}");
        }
        assert!(finds("|A1", &json!({"value": "A1"}), None));
        assert!(finds("A1", &json!("A1"), None) && !finds("a1", &json!("A1"), None));
    }

    #[test]
    fn plain_codes_are_of_the_system_of_their_value_set() {
        for (search, is_found) in [("male", true), ("Male", true), ("http://g|male", true), ("http://h|male", false)] {
            assert_eq!(finds(search, &json!("male"), Some("http://g")), is_found, "{search}");
        }
    }

    #[test]
    fn booleans_are_true_and_false_of_the_special_values() {
        for (search, is_found) in [
            ("true", true),
            ("false", false),
            ("http://terminology.hl7.org/CodeSystem/special-values|true", true),
            ("http://hl7.org/fhir/special-values|true", true),
            ("http://s|true", false),
        ] {
            assert_eq!(finds(search, &json!(true), None), is_found, "{search}");
        }
    }

    #[test]
    fn contact_points_are_found_by_value_in_any_case() {
        let mail = json!({"system": "email", "value": "A@example.org"});
        for (search, is_found) in [
            ("a@EXAMPLE.org", true),
            ("|a@example.org", true),
            ("email|a@example.org", true),
            ("phone|a@example.org", false),
        ] {
            assert_eq!(finds(search, &mail, None), is_found, "{search}");
        }
    }

    #[test]
    fn an_escaped_bar_is_a_part_of_the_code() {
        assert!(finds(r"http://s|a\|b", &json!({"system": "http://s", "code": "a|b"}), None));
        assert!(Token::parse("a|b|c").is_err() && Token::parse("|").is_err());
    }

    #[test]
    fn an_identifier_is_found_by_its_type() {
        let npi = json!({
            "type": {"coding": [{"system": "http://v2-0203", "code": "NPI"}]}, "system": "http://s", "value": "9"
        });
        for (search, is_found) in [
            ("http://v2-0203|NPI|9", true),
            ("http://v2-0203|npi|9", true),
            ("http://v2-0203|NPI|99", false),
            ("http://v2-0203|TAX|9", false),
            ("http://s|NPI|9", false),
        ] {
            assert_eq!(OfType::parse(search).map(|of_type| of_type.is(&npi)), Some(is_found), "{search}");
        }
        assert!(["NPI|9", "|NPI|9", "a||9", "a|b|", "a|b|c|d"].iter().all(|text| OfType::parse(text).is_none()));
    }
}
