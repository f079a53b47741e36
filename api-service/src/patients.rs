//! The patients that a kick-off names: which of them the export is for, and what becomes of the others.
//!
//! One that is unknown or not on the list is passed over and reported, as ATR has it (standards §5.19): Bulk Data would
//! rather refuse it, but clients that were seen keep lists of their own and go on with what there is (decision 0014). No
//! reference of a client is logged.

use std::collections::BTreeSet;

use shared::export::Anchor;
use shared::fault::Fault;
use shared::fhir::{
    Instant, Issue, IssueCode, OwnBases, Reference, ResourceId, ResourceKey, ResourceType, Target, Unresolvable,
};
use shared::source::ResourceSource;

use crate::error::shown;
use crate::parameters::passed_over;
use crate::start::StartPoint;

/// How many patients the source is asked about at a time.
const AT_A_TIME: usize = 1_000;

/// A reference of the parameter `patient` and the id that it leads to, or why it leads to none.
pub struct Named {
    text: String,
    id: Result<ResourceId, String>,
}

/// Reads references: `Patient/id`, or the same below one of the server's own base URLs.
pub fn named(references: BTreeSet<String>, own: &OwnBases) -> Vec<Named> {
    let id_of = |text: &str| match Reference::literal(text).target(own) {
        Ok(Target::Local(key)) if key.resource_type == ResourceType::PATIENT => Ok(key.id),
        Ok(Target::Local(_) | Target::Contained) | Err(Unresolvable::Empty) => {
            Err("it is no reference to a Patient".to_owned())
        }
        Err(why) => Err(why.to_string()),
    };
    references.into_iter().map(|text| Named { id: id_of(&text), text }).collect()
}

/// Those of the patients that are on the list, or, without one, that there are.
pub async fn known(
    source: &dyn ResourceSource,
    anchor: &Anchor,
    as_of: Instant,
    named: &[Named],
) -> Result<BTreeSet<ResourceId>, Fault> {
    let ids: Vec<ResourceId> = named.iter().filter_map(|named| named.id.clone().ok()).collect();
    let mut known = BTreeSet::new();
    for ids in ids.chunks(AT_A_TIME) {
        match anchor {
            Anchor::Group(list) => {
                known.extend(source.members_of(list, as_of, ids).await?.into_iter().map(|(patient, _)| patient));
            }
            Anchor::Patient | Anchor::System => {
                let key = |id: &ResourceId| ResourceKey::new(ResourceType::PATIENT, id.clone());
                let keys: Vec<ResourceKey> = ids.iter().map(key).collect();
                known.extend(source.fetch(as_of, &keys).await?.into_iter().map(|stored| stored.resource.key.id));
            }
        }
    }
    Ok(known)
}

/// A notice for each that is not known.
pub fn unknown(named: &[Named], known: &BTreeSet<ResourceId>, start: StartPoint) -> Vec<Issue> {
    let mut notices = Vec::new();
    for Named { text, id } in named {
        let why = match id {
            Ok(id) if known.contains(id) => continue,
            Ok(_) if start == StartPoint::Patients => "there is no such Patient",
            Ok(_) => "it is not on the list",
            Err(why) => why,
        };
        let problem = format!("patient names '{}': {why}", shown(text));
        notices.push(Issue { code: IssueCode::NotFound, ..passed_over("patient", &problem) });
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(references: &[&str]) -> Vec<Named> {
        let references = references.iter().map(|text| (*text).to_owned()).collect();
        named(references, &OwnBases::new(["https://api.example.org/fhir"]))
    }

    fn id(text: &str) -> ResourceId {
        text.parse().expect("the test writes an id")
    }

    #[test]
    fn references_to_patients_of_this_server_are_read_in_both_forms() {
        for (text, expected) in [
            ("Patient/1", Some("1")),
            ("https://api.example.org/fhir/Patient/1", Some("1")),
            ("Patient/1/_history/2", Some("1")),
            ("1", None),
            ("", None),
            ("Practitioner/1", None),
            ("https://elsewhere.example.org/fhir/Patient/1", None),
            ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", None),
            ("Patient/a b", None),
        ] {
            let read = read(&[text]);
            assert_eq!(read[0].id.as_ref().ok(), expected.map(id).as_ref(), "{text}");
        }
    }

    #[test]
    fn whom_the_list_does_not_hold_is_passed_over_with_a_notice_each() {
        let named = read(&["Patient/1", "Patient/2", "nobody"]);
        for start in [StartPoint::Group, StartPoint::Patients, StartPoint::Attribution] {
            assert_eq!(unknown(&named, &[id("1")].into(), start).len(), 2, "{start}");
        }
    }

    #[test]
    fn a_notice_repeats_the_reference_as_it_came() {
        let notices = unknown(&read(&["Patient/2"]), &BTreeSet::new(), StartPoint::Attribution);
        assert_eq!(notices[0].diagnostics, "ignored: patient names 'Patient/2': it is not on the list");
        assert_eq!((notices[0].code, &notices[0].expression[..]), (IssueCode::NotFound, &["patient".to_owned()][..]));
    }
}
