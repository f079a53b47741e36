//! The lines of error files that tell of references: of which list, by which path, to which target (standards §5.9 to §5.14).
//! Of types that the client's token did not allow, no line tells an id.

use std::borrow::Cow;

use shared::export::Grounds;
use shared::fhir::{Issue, IssueCode, ResourceKey, Unresolvable, Unsound};

use crate::frame::Frame;

/// The line for a resource that is not there.
pub fn missing(frame: &Frame<'_>, path: &str, target: &ResourceKey) -> Issue {
    let target = named(&frame.request.grounds, target);
    let text = format!("{}: {path} -> {target}: there is no such resource as of {}", frame.request.anchor, frame.as_of);
    Issue::warning(IssueCode::NotFound, text).at(path)
}

/// The line for a list inside a list. The profile has only Patients as entities; a list is exported by its own id.
pub fn nested_list(frame: &Frame<'_>, path: &str, target: &ResourceKey) -> Issue {
    let target = named(&frame.request.grounds, target);
    let text = format!("{}: {path} -> {target}: another Group is not exported with this one", frame.request.anchor);
    Issue::information(IssueCode::NotSupported, text).at(path)
}

/// The line for a reference that leads to no resource of this server.
pub fn unresolvable(frame: &Frame<'_>, path: &str, target: &str, why: Unresolvable) -> Issue {
    let target = quoted(&frame.request.grounds, target);
    let text = format!("{}: {path} -> {target}: {why}", frame.request.anchor);
    match why {
        // Somebody else's resource is no loss of this server's.
        Unresolvable::Foreign => Issue::information(IssueCode::NotSupported, text),
        Unresolvable::Logical => Issue::warning(IssueCode::NotSupported, text),
        Unresolvable::Urn | Unresolvable::Empty | Unresolvable::Malformed => Issue::warning(IssueCode::Value, text),
    }
}

/// The line for a member that names what is contained in the Group.
pub fn contained(frame: &Frame<'_>, place: &str, target: &str) -> Issue {
    let target = quoted(&frame.request.grounds, target);
    let text = format!("{}: {place} -> {target}: it is contained in the Group and stays there", frame.request.anchor);
    Issue::information(IssueCode::Informational, text)
}

/// The line for a resource whose references cannot be read.
pub fn unreadable(frame: &Frame<'_>, key: &ResourceKey, reason: &str) -> Issue {
    let named = named(&frame.request.grounds, key);
    let anchor = &frame.request.anchor;
    let text = format!("{anchor}: the references of {named} cannot be read, so they are not followed: {reason}");
    Issue::warning(IssueCode::Structure, text).at(key.resource_type.name())
}

/// The line for a resource that is not what its row in the source says.
pub fn unsound(frame: &Frame<'_>, key: &ResourceKey, why: &Unsound) -> Issue {
    let named = named(&frame.request.grounds, key);
    let text = format!(
        "{}: {named} cannot be exported: {why}; the operator of the server has to mend it",
        frame.request.anchor
    );
    Issue::error(IssueCode::Structure, text).at(key.resource_type.name())
}

/// The line for a member of the list that is no JSON of one. `which` is its element, `why` has nothing of its text.
pub fn unreadable_member(frame: &Frame<'_>, which: &str, why: &str) -> Issue {
    let text = format!("{}: {which} cannot be read, so it is left out: {why}", frame.request.anchor);
    Issue::error(IssueCode::Structure, text).at(format!("Group.{which}"))
}

/// A resource by its key, or by its type alone.
fn named(grounds: &Grounds, key: &ResourceKey) -> String {
    if grounds.allow(key.resource_type) {
        return key.to_string();
    }
    format!("{} (the token does not allow the type, so its id is left out)", key.resource_type)
}

/// A reference as it was written. What type it is of nobody knows, so it is told only to whom all types are.
fn quoted<'a>(grounds: &Grounds, reference: &'a str) -> Cow<'a, str> {
    if grounds.types.is_none() {
        return reference.into();
    }
    "(the token does not allow all types, so the reference is left out)".into()
}

#[cfg(test)]
mod tests {
    use shared::fhir::ResourceType;

    use super::*;

    #[test]
    fn ids_are_told_of_the_types_that_the_token_allowed() {
        let patient = ResourceKey::new(ResourceType::PATIENT, "secret".parse().expect("an id"));
        let organization = ResourceKey::new(ResourceType::ORGANIZATION, "clinic".parse().expect("an id"));
        let limited = Grounds { types: Some([ResourceType::ORGANIZATION].into()), ..Grounds::default() };
        for (grounds, key, expected) in [
            (&Grounds::default(), &patient, "Patient/secret"),
            (&limited, &organization, "Organization/clinic"),
            (&limited, &patient, "Patient (the token does not allow the type, so its id is left out)"),
        ] {
            assert_eq!(named(grounds, key), expected);
        }
        assert_eq!(quoted(&Grounds::default(), "urn:uuid:secret"), "urn:uuid:secret");
        assert!(!quoted(&limited, "urn:uuid:secret").contains("secret"));
    }
}
