//! Scopes of SMART (standards §2.4): which types a client may read and search, in the forms of SMART 1 and 2. Pure.
//!
//! Only what a backend service needs to read is a scope here: `system/Patient.read` (SMART 1), `system/Patient.rs`, `.r`,
//! `.s` (SMART 2), and `*` for all types of attribution lists. What writes is understood and grants nothing; what is
//! narrower than a type (`?category=…`) is not understood, so that nobody gets more than it says.

use std::collections::BTreeSet;
use std::fmt;

use crate::fhir::ResourceType;

/// What may be done with the resources of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    /// `r`: read, vread, history.
    pub read: bool,
    /// `s`: search.
    pub search: bool,
}

impl Permission {
    /// `r` alone.
    pub const READ: Self = Self { read: true, search: false };
    /// `s` alone.
    pub const SEARCH: Self = Self { read: false, search: true };
    /// Both, which is what an export takes.
    pub const EXPORT: Self = Self { read: true, search: true };
    const NONE: Self = Self { read: false, search: false };

    /// Whether this is enough for `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        (self.read || !needed.read) && (self.search || !needed.search)
    }

    fn or(self, other: Self) -> Self {
        Self { read: self.read || other.read, search: self.search || other.search }
    }

    fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, search: self.search && other.search }
    }

    fn letters(self) -> &'static str {
        match (self.read, self.search) {
            (true, true) => "rs",
            (true, false) => "r",
            (false, true) => "s",
            (false, false) => "",
        }
    }
}

/// One scope, `system/{Type or *}.{permission}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scope {
    /// `None` is `*`.
    resource_type: Option<ResourceType>,
    permission: Permission,
    /// Whether it is written as in SMART 1.
    is_v1: bool,
}

/// What a client may do: a set of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All that there is.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![Scope { resource_type: None, permission: Permission::EXPORT, is_v1: true }])
    }

    /// The scopes in a text, separated by blanks (RFC 6749 §3.3). What is no scope of this server is left out, and what
    /// is given twice.
    #[must_use]
    pub fn known_in(text: &str) -> Self {
        let mut scopes = Self::default();
        text.split_ascii_whitespace().filter_map(|word| scope(word).ok()).for_each(|scope| scopes.add(scope));
        scopes
    }

    /// Reads a text that somebody wrote for this server: fails when a word grants nothing here, or there
    /// is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Self::default();
        for word in text.split_ascii_whitespace() {
            let read = scope(word).map_err(|why| format!("'{word}' {why}"))?;
            scopes.add(read);
        }
        if scopes.is_empty() { Err("it names no scope; for example system/*.read".to_owned()) } else { Ok(scopes) }
    }

    fn add(&mut self, scope: Scope) {
        if scope.permission != Permission::NONE && !self.0.contains(&scope) {
            self.0.push(scope);
        }
    }

    /// Whether nothing may be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `needed` may be done with a type.
    #[must_use]
    pub fn allows(&self, resource_type: ResourceType, needed: Permission) -> bool {
        self.permission(resource_type).covers(needed)
    }

    /// The types of attribution lists that may be exported.
    #[must_use]
    pub fn exportable(&self) -> BTreeSet<ResourceType> {
        let types = ResourceType::ATTRIBUTION.into_iter();
        types.filter(|resource_type| self.allows(*resource_type, Permission::EXPORT)).collect()
    }

    /// What of these scopes `most` allows too. A scope that it allows whole stays as it is written; of another, the part
    /// that it allows is left, so that `system/*.read` becomes the types that may be read (RFC 6749 §3.3).
    #[must_use]
    pub fn within(&self, most: &Self) -> Self {
        let mut within = Self::default();
        for scope in &self.0 {
            match scope.resource_type {
                Some(resource_type) if resource_type.is_attribution() => {
                    let permission = scope.permission.and(most.permission(resource_type));
                    within.add(Scope { permission, ..*scope });
                }
                Some(_) => {}
                None => {
                    let of_every_type = scope.permission.and(most.of_every_type());
                    within.add(Scope { permission: of_every_type, ..*scope });
                    for resource_type in ResourceType::ATTRIBUTION {
                        let permission = scope.permission.and(most.permission(resource_type));
                        if !of_every_type.covers(permission) {
                            within.add(Scope { resource_type: Some(resource_type), permission, ..*scope });
                        }
                    }
                }
            }
        }
        within
    }

    fn permission(&self, resource_type: ResourceType) -> Permission {
        let of_it = self.0.iter().filter(|scope| scope.resource_type.is_none_or(|named| named == resource_type));
        of_it.fold(Permission::NONE, |sum, scope| sum.or(scope.permission))
    }

    fn of_every_type(&self) -> Permission {
        let of_every_type = self.0.iter().filter(|scope| scope.resource_type.is_none());
        of_every_type.fold(Permission::NONE, |sum, scope| sum.or(scope.permission))
    }
}

/// Reads one scope; fails with what is wrong with it.
fn scope(word: &str) -> Result<Scope, &'static str> {
    let rest = word.strip_prefix("system/").ok_or("is no scope of a backend service: those begin with system/")?;
    let (name, permission) = rest.split_once('.').ok_or("has no permission; write system/Type.read")?;
    let resource_type = match name {
        "*" => None,
        name => {
            let known = name.parse::<ResourceType>().ok().filter(|known| known.is_attribution());
            Some(known.ok_or("names no type that attribution lists lead to")?)
        }
    };
    let (permission, is_v1) = permission_of(permission).ok_or("has a permission that is not known here; use read")?;
    if permission == Permission::NONE {
        return Err("grants nothing here: nothing is written on this server");
    }
    Ok(Scope { resource_type, permission, is_v1 })
}

/// The permission, and whether it is written as in SMART 1. In SMART 2 it is some of `cruds` in this order.
fn permission_of(text: &str) -> Option<(Permission, bool)> {
    match text {
        "read" | "*" => Some((Permission::EXPORT, true)),
        "write" => Some((Permission::NONE, true)),
        letters => {
            let mut left = "cruds".chars();
            let is_ordered = letters.chars().all(|letter| left.any(|known| known == letter));
            let permission = Permission { read: letters.contains('r'), search: letters.contains('s') };
            (is_ordered && !letters.is_empty()).then_some((permission, false))
        }
    }
}

impl fmt::Display for Permission {
    /// As SMART 2 writes it: `rs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letters())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.resource_type.map_or("*", ResourceType::name);
        // SMART 1 has no word for less than both.
        let permission =
            if self.is_v1 && self.permission == Permission::EXPORT { "read" } else { self.permission.letters() };
        write!(f, "system/{name}.{permission}")
    }
}

impl fmt::Display for Scopes {
    /// As the `scope` of a token says it; [`Scopes::known_in`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, scope) in self.0.iter().enumerate() {
            let blank = if number > 0 { " " } else { "" };
            write!(f, "{blank}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_smart_are_read_and_written() {
        for (text, expected) in [
            ("system/*.read", "system/*.read"),
            ("system/Patient.read  system/Group.rs", "system/Patient.read system/Group.rs"),
            ("system/Patient.*", "system/Patient.read"),
            ("system/Patient.cruds", "system/Patient.rs"),
            ("system/Patient.r system/Patient.s system/Patient.r", "system/Patient.r system/Patient.s"),
            ("system/Patient.write system/Patient.cud", ""),
            ("patient/Patient.read user/*.rs launch openid", ""),
            ("system/Patient.sr", ""),
            ("system/Patient.", ""),
            ("system/Patient", ""),
            ("system/Observation.read", ""),
            ("system/patient.read", ""),
            ("system/Patient.rs?active=true", ""),
            ("", ""),
        ] {
            assert_eq!(Scopes::known_in(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_text_written_for_this_server_is_refused_by_the_word_that_grants_nothing() {
        for (text, part) in [
            ("", "no scope"),
            ("system/*.read patient/*.read", "'patient/*.read'"),
            ("system/Observation.read", "attribution lists"),
            ("system/*.write", "nothing is written"),
            ("system/*.raed", "not known"),
        ] {
            let problem = Scopes::parse(text).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn a_type_may_be_exported_when_it_may_be_read_and_searched() {
        for (text, expected) in [
            ("system/Patient.read", vec![ResourceType::PATIENT]),
            ("system/Patient.r", vec![]),
            ("system/Patient.r system/Patient.s", vec![ResourceType::PATIENT]),
            ("system/*.s system/Coverage.r", vec![ResourceType::COVERAGE]),
        ] {
            assert_eq!(Scopes::known_in(text).exportable().into_iter().collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(Scopes::all().exportable(), BTreeSet::from(ResourceType::ATTRIBUTION));
    }

    #[test]
    fn nobody_is_granted_more_than_is_registered() {
        for (asked, registered, granted) in [
            ("system/*.read", "system/*.read", "system/*.read"),
            ("system/*.rs", "system/*.read", "system/*.rs"),
            ("system/*.cruds", "system/*.read", "system/*.rs"),
            ("system/*.read", "system/Patient.read system/Group.rs", "system/Group.read system/Patient.read"),
            ("system/*.read", "system/*.r system/Patient.s", "system/*.r system/Patient.read"),
            ("system/Patient.read", "system/*.read", "system/Patient.read"),
            ("system/Patient.read", "system/Patient.r", "system/Patient.r"),
            ("system/Patient.read system/Coverage.read", "system/Coverage.rs", "system/Coverage.read"),
            ("system/Patient.s", "system/*.r", ""),
            ("system/Patient.read", "system/Group.read", ""),
        ] {
            assert_eq!(Scopes::known_in(asked).within(&Scopes::known_in(registered)).to_string(), granted, "{asked}");
        }
    }

    #[test]
    fn what_is_granted_never_allows_what_is_not_registered() {
        let words = ["", "system/*.r", "system/*.s", "system/Patient.rs", "system/Group.r", "system/Patient.s"];
        for asked in words {
            for registered in words {
                let registered = Scopes::known_in(registered);
                let granted = Scopes::known_in(asked).within(&registered);
                for resource_type in ResourceType::ATTRIBUTION {
                    for needed in [Permission::READ, Permission::SEARCH, Permission::EXPORT] {
                        let both = Scopes::known_in(asked).allows(resource_type, needed)
                            && registered.allows(resource_type, needed);
                        assert_eq!(granted.allows(resource_type, needed), both, "{asked} {registered} {resource_type}");
                    }
                }
            }
        }
    }
}
