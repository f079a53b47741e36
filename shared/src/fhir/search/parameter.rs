//! What a search parameter is.

use std::fmt;

/// One search parameter of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a query, for example `birthdate`.
    pub name: &'static str,
    /// How its values are written and compared.
    pub kind: ParameterKind,
    /// The canonical URL of its `SearchParameter`. `None` for `name` and `period` of Group, which the narrative of the
    /// ATR guide asks for and nobody has defined (standards §5.60).
    pub definition: Option<&'static str>,
    /// Where its values are, from the root of the resource: names of JSON members with dots between them, behind them
    /// `[member=text]` when only those that hold it count, and ` | ` between several places.
    pub path: &'static str,
    pub(super) detail: Detail,
}

/// How the values of a parameter are written and compared (R4 `search-param-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// A code or an identifier, with or without the system that it is from.
    Token,
    /// A text.
    String,
    /// A date or a time, or a period of it.
    Date,
    /// A reference to a resource.
    Reference,
    /// A URI, compared letter by letter.
    Uri,
    /// Two values that one element has together, joined by `$`.
    Composite,
}

impl ParameterKind {
    /// Its code in a CapabilityStatement, for example `token`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::String => "string",
            Self::Date => "date",
            Self::Reference => "reference",
            Self::Uri => "uri",
            Self::Composite => "composite",
        }
    }
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What the kind does not say about the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Nothing more.
    Nothing,
    /// The values are plain codes, all of this system.
    CodesOf(&'static str),
    /// The values are Identifiers, which have a type besides their system.
    Identifiers,
    /// The values are references to resources of these types, spelled as FHIR does.
    References(&'static [&'static str]),
}
