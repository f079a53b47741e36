//! One `name=value` of a query.

use serde_json::Value;

use super::composite::Pair;
use super::date::When;
use super::error::shortened;
use super::escape::{split, unescape};
use super::parameter::{Detail, Parameter, ParameterKind};
use super::parameters::parameters;
use super::reference::Wanted;
use super::string::{Comparison, Text};
use super::token::{OfType, Token};
use super::{SearchError, path};
use crate::fhir::ResourceType;

/// Parameters that shape the result of a search (R4 search, "Search result parameters").
const RESULT_PARAMETERS: [&str; 9] =
    ["_sort", "_count", "_include", "_revinclude", "_elements", "_summary", "_total", "_contained", "_containedType"];

/// A parameter and what its values must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clause {
    parameter: &'static Parameter,
    test: Test,
}

/// What the values of a parameter must be: where there are several, one of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `:missing=true`, and `false` for the reverse.
    Missing(bool),
    Tokens(Vec<TokenTest>),
    /// `:not`: no value of the resource is one of these.
    NoToken(Vec<TokenTest>),
    Texts(Vec<Text>),
    Dates(Vec<When>),
    References(Vec<Wanted>),
    /// `:identifier` of a reference.
    ReferenceIdentifiers(Vec<Token>),
    Uris(Vec<String>),
    Pairs(Vec<Pair>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenTest {
    Token(Token),
    OfType(OfType),
}

impl Clause {
    /// Reads a decoded name, with its modifier, and a decoded value.
    pub(super) fn parse(resource_type: ResourceType, name: &str, value: &str) -> Result<Self, SearchError> {
        let (plain, modifier) = name.split_once(':').map_or((name, None), |(plain, rest)| (plain, Some(rest)));
        if RESULT_PARAMETERS.contains(&plain) {
            return Err(SearchError::ResultParameter(plain.to_owned()));
        }
        if name.contains('.') || plain == "_has" {
            return Err(SearchError::Chained(shortened(name)));
        }
        let parameter = parameters(resource_type)
            .iter()
            .find(|parameter| parameter.name == plain)
            .ok_or_else(|| SearchError::UnknownParameter { resource_type, name: shortened(plain) })?;
        let values = split(value, ',');
        if values.iter().any(|value| value.is_empty()) {
            return Err(SearchError::Empty(parameter.name));
        }
        Ok(Self { parameter, test: Test::parse(parameter, modifier, &values)? })
    }

    /// The name of the parameter, without modifier.
    pub(super) fn name(&self) -> &'static str {
        self.parameter.name
    }

    /// How many values it has.
    pub(super) fn values(&self) -> usize {
        match &self.test {
            Test::Missing(_) => 1,
            Test::Tokens(any) | Test::NoToken(any) => any.len(),
            Test::Texts(any) => any.len(),
            Test::Dates(any) => any.len(),
            Test::References(any) => any.len(),
            Test::ReferenceIdentifiers(any) => any.len(),
            Test::Uris(any) => any.len(),
            Test::Pairs(any) => any.len(),
        }
    }

    /// The tokens of which a resource must have one; `None` when it need not have any.
    pub(super) fn tokens(&self) -> Option<Vec<Token>> {
        let Test::Tokens(tests) = &self.test else {
            return None;
        };
        let tokens = tests.iter().map(|test| match test {
            TokenTest::Token(token) => token.clone(),
            TokenTest::OfType(of_type) => of_type.value().clone(),
        });
        Some(tokens.collect())
    }

    /// Whether a resource of the right type satisfies it.
    pub(super) fn matches(&self, resource: &Value) -> bool {
        let values = path::values(resource, self.parameter.path);
        let any = |is: &dyn Fn(&Value) -> bool| values.iter().any(|value| is(value));
        let implied = match self.parameter.detail {
            Detail::CodesOf(system) => Some(system),
            _ => None,
        };
        let is_one_of = |tests: &[TokenTest], value: &Value| tests.iter().any(|test| test.is(value, implied));
        match &self.test {
            Test::Missing(missing) => any(&path::is_present) != *missing,
            Test::Tokens(tests) => any(&|value| is_one_of(tests, value)),
            Test::NoToken(tests) => !any(&|value| is_one_of(tests, value)),
            Test::Texts(texts) => any(&|value| texts.iter().any(|text| text.is(value))),
            Test::Dates(dates) => any(&|value| dates.iter().any(|when| when.is(value))),
            Test::References(wanted) => any(&|value| wanted.iter().any(|wanted| wanted.is(value))),
            Test::ReferenceIdentifiers(tokens) => any(&|value| {
                let identifier = value.get("identifier");
                identifier.is_some_and(|identifier| tokens.iter().any(|token| token.is(identifier, None)))
            }),
            Test::Uris(uris) => any(&|value| value.as_str().is_some_and(|text| uris.iter().any(|uri| uri == text))),
            Test::Pairs(pairs) => any(&|value| pairs.iter().any(|pair| pair.is(value))),
        }
    }
}

impl TokenTest {
    fn is(&self, value: &Value, implied: Option<&str>) -> bool {
        match self {
            Self::Token(token) => token.is(value, implied),
            Self::OfType(of_type) => of_type.is(value),
        }
    }
}

impl Test {
    fn parse(parameter: &'static Parameter, modifier: Option<&str>, values: &[&str]) -> Result<Self, SearchError> {
        let refused = |problem: &str| SearchError::Value { name: parameter.name, problem: problem.to_owned() };
        if modifier == Some("missing") {
            return match values {
                ["true"] => Ok(Self::Missing(true)),
                ["false"] => Ok(Self::Missing(false)),
                _ => Err(refused("':missing' is true or false")),
            };
        }
        let tests = match (parameter.kind, modifier) {
            (ParameterKind::Token, None) => each(values, |value| token_test(parameter, value)).map(Self::Tokens),
            (ParameterKind::Token, Some("not")) => {
                each(values, |value| token_test(parameter, value)).map(Self::NoToken)
            }
            (ParameterKind::Token, Some("of-type")) if parameter.detail == Detail::Identifiers => {
                each(values, of_type).map(Self::Tokens)
            }
            (ParameterKind::String, None) => each(values, |value| text(Comparison::Begins, value)).map(Self::Texts),
            (ParameterKind::String, Some("contains")) => {
                each(values, |value| text(Comparison::Contains, value)).map(Self::Texts)
            }
            (ParameterKind::String, Some("exact")) => {
                each(values, |value| text(Comparison::Exact, value)).map(Self::Texts)
            }
            (ParameterKind::Date, None) => each(values, |value| When::parse(&unescape(value))).map(Self::Dates),
            (ParameterKind::Reference, Some("identifier")) => {
                each(values, Token::parse).map(Self::ReferenceIdentifiers)
            }
            (ParameterKind::Reference, modifier) => {
                let types = referable(parameter, modifier)?;
                return values
                    .iter()
                    .map(|value| Wanted::parse(&unescape(value), Some(&types)))
                    .collect::<Result<_, _>>()
                    .map(Self::References)
                    .map_err(|problem| refused(&problem));
            }
            (ParameterKind::Uri, None) => Ok(Self::Uris(values.iter().map(|value| unescape(value)).collect())),
            (ParameterKind::Composite, None) => each(values, Pair::parse).map(Self::Pairs),
            (_, modifier) => return Err(unsupported(parameter, modifier.unwrap_or_default())),
        };
        tests.map_err(refused)
    }
}

fn each<T>(values: &[&str], parse: impl Fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, &'static str> {
    values.iter().map(|value| parse(value)).collect()
}

/// The examples of ATR 1.0.0 write an `:of-type` search without the modifier (standards §3.5): three parts can mean
/// nothing else.
fn token_test(parameter: &Parameter, value: &str) -> Result<TokenTest, &'static str> {
    if parameter.detail == Detail::Identifiers && split(value, '|').len() == 3 {
        return of_type(value);
    }
    Token::parse(value).map(TokenTest::Token)
}

fn of_type(value: &str) -> Result<TokenTest, &'static str> {
    OfType::parse(value)
        .map(TokenTest::OfType)
        .ok_or("an identifier by its type is written as type-system|type-code|value, with all three parts")
}

fn text(comparison: Comparison, value: &str) -> Result<Text, &'static str> {
    Text::new(comparison, &unescape(value))
}

/// The types that a value of a reference may be of: those of the parameter, or the one that the modifier names.
fn referable(parameter: &'static Parameter, modifier: Option<&str>) -> Result<Vec<ResourceType>, SearchError> {
    let Detail::References(names) = parameter.detail else {
        return Ok(Vec::new());
    };
    let allowed: Vec<_> = names.iter().filter(|name| modifier.is_none_or(|modifier| **name == modifier)).collect();
    if allowed.is_empty() {
        return Err(unsupported(parameter, modifier.unwrap_or_default()));
    }
    Ok(allowed.iter().map(|name| name.parse().expect("a test reads every name in the table")).collect())
}

fn unsupported(parameter: &'static Parameter, modifier: &str) -> SearchError {
    let mut supported: Vec<&str> = match (parameter.kind, parameter.detail) {
        (ParameterKind::Token, Detail::Identifiers) => vec!["not", "of-type"],
        (ParameterKind::Token, _) => vec!["not"],
        (ParameterKind::String, _) => vec!["contains", "exact"],
        (_, Detail::References(names)) => [&["identifier"], names].concat(),
        _ => Vec::new(),
    };
    supported.push("missing");
    let supported = supported.iter().map(|name| format!("':{name}'")).collect::<Vec<_>>().join(", ");
    SearchError::Modifier { name: parameter.name, modifier: shortened(modifier), supported }
}
