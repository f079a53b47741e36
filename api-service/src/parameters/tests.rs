//! What the parameters of a kick-off mean, and which of them are refused.

use shared::export::Encoding;
use shared::fhir::Elements;

use super::*;

const NOW: Instant = Instant::from_unix_millis(1_767_607_200_000);

fn context(start: StartPoint) -> Context {
    Context { start, is_post: false, handling: Handling::Strict, now: NOW }
}

fn check(context: Context, query: &str) -> Result<Parameters, String> {
    Parameters::check(&of_query(query), context).map_err(|error| error.to_string())
}

fn strict(start: StartPoint, query: &str) -> Result<Parameters, String> {
    check(context(start), query)
}

fn lenient(start: StartPoint, query: &str) -> Result<Parameters, String> {
    check(Context { handling: Handling::Lenient, is_post: true, ..context(start) }, query)
}

/// The name and the code of a refusal.
fn refusal(context: Context, query: &str) -> Option<(String, IssueCode)> {
    match Parameters::check(&of_query(query), context) {
        Err(ApiError::Parameter { name, code, .. }) => Some((name, code)),
        _ => None,
    }
}

#[test]
fn nothing_asked_is_everything_at_every_start_point() {
    for start in StartPoint::ALL {
        assert_eq!(strict(start, ""), Ok(Parameters::default()), "{start}");
    }
}

#[test]
fn every_spelling_of_ndjson_is_taken_with_a_plus_that_became_a_space_too() {
    for value in ["ndjson", "application/ndjson", "application/fhir%2Bndjson", "application/fhir+ndjson"] {
        assert!(strict(StartPoint::Group, &format!("_outputFormat={value}")).is_ok(), "{value}");
    }
}

#[test]
fn every_spelling_of_the_export_type_is_taken_by_both_operations_on_a_list() {
    for start in [StartPoint::Group, StartPoint::Attribution] {
        for value in ["hl7.fhir.us.davinci-atr", "http://hl7.org/fhir/us/davinci-atr"] {
            assert!(strict(start, &format!("exportType={value}")).is_ok(), "{start} {value}");
        }
    }
}

#[test]
fn repeated_lists_are_one_list() {
    let types = |query| strict(StartPoint::Attribution, query).map(|read| read.selection.types);
    let expected = Some([ResourceType::PATIENT, ResourceType::GROUP, ResourceType::COVERAGE].into());
    assert_eq!(types("_type=Patient,Group&_type=Coverage"), Ok(expected.clone()));
    assert_eq!(types("_type=Patient, Group&resourceTypes=Coverage,Patient"), Ok(expected));
    let mut elements = Elements::default();
    elements.extend("id,Patient.name").expect("they are elements");
    let read = strict(StartPoint::System, "_elements=id&_elements=Patient.name").expect("they are elements");
    assert_eq!(read.selection.elements, elements);
}

#[test]
fn filters_keep_their_commas_and_stand_by_their_type() {
    let query = "_typeFilter=Patient%3Fgender%3Dmale,female&_typeFilter=Patient%3Factive%3Dtrue&_typeFilter=Coverage%3Fstatus%3Dactive";
    let filters = strict(StartPoint::Group, query).expect("they are searches").selection.filters;
    let counts: Vec<_> = filters.iter().map(|(resource_type, queries)| (resource_type.name(), queries.len())).collect();
    assert_eq!(counts, [("Coverage", 1), ("Patient", 2)]);
}

#[test]
fn a_zone_survives_a_plus_that_became_a_space() {
    let since =
        strict(StartPoint::Group, "_since=2026-01-01T00:00:00+01:00").expect("it is an instant").selection.since;
    assert_eq!(since.map(|since| since.to_string()), Some("2025-12-31T23:00:00.000Z".to_owned()));
}

#[test]
fn until_may_lie_in_the_future_but_not_before_since() {
    let until = |query| strict(StartPoint::Group, query).map(|read| read.selection.until.is_some());
    assert_eq!(until("_until=2999-01-01T00:00:00Z"), Ok(true));
    assert_eq!(until("_since=2025-01-01T00:00:00Z&_until=2025-01-01T00:00:01Z"), Ok(true));
    for query in [
        "_since=2025-01-01T00:00:00Z&_until=2025-01-01T00:00:00Z",
        "_until=2024-01-01T00:00:00Z&_since=2025-01-01T00:00:00Z",
    ] {
        assert_eq!(
            refusal(context(StartPoint::Group), query),
            Some(("_until".to_owned(), IssueCode::Value)),
            "{query}"
        );
    }
}

#[test]
fn the_form_of_delivery_is_read() {
    let query = "organizeOutputBy=Patient&allowPartialManifests=true&_outputEncoding=gzip";
    let expected = Delivery {
        organized_by_patient: true,
        partial_manifests: true,
        separate_status: false,
        encoding: Encoding::Gzip,
    };
    assert_eq!(strict(StartPoint::Group, query).map(|read| read.delivery), Ok(expected));
    let query = "allowPartialManifests=false&_outputEncoding=identity";
    assert_eq!(strict(StartPoint::System, query).map(|read| read.delivery), Ok(Delivery::default()));
}

#[test]
fn patients_are_named_by_post_and_on_the_atr_operation_by_get_too() {
    let query = "patient=Patient/2,Patient/1&patient=Patient/1";
    let expected: BTreeSet<String> = ["Patient/1".to_owned(), "Patient/2".to_owned()].into();
    for (start, is_post, taken) in [
        (StartPoint::System, false, false),
        (StartPoint::System, true, false),
        (StartPoint::Patients, false, false),
        (StartPoint::Patients, true, true),
        (StartPoint::Group, false, false),
        (StartPoint::Group, true, true),
        (StartPoint::Attribution, false, true),
        (StartPoint::Attribution, true, true),
    ] {
        let patients = check(Context { is_post, ..context(start) }, query).map(|read| read.patients);
        let expected = taken.then(|| Some(expected.clone()));
        assert_eq!(patients.ok(), expected, "{start}, by POST: {is_post}");
    }
}

#[test]
fn whose_data_is_sent_is_never_passed_over() {
    for (start, is_post) in [(StartPoint::System, true), (StartPoint::Group, false), (StartPoint::Patients, false)] {
        let context = Context { is_post, handling: Handling::Lenient, ..context(start) };
        let expected = Some(("patient".to_owned(), IssueCode::NotSupported));
        assert_eq!(refusal(context, "patient=Patient/1"), expected, "{start}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_a_sentence_even_when_handling_is_lenient() {
    for (start, query, part) in [
        (StartPoint::Group, "_since=yesterday", "_since: 'yesterday' is not an instant"),
        (StartPoint::Group, "_since=2026-01-05", "is not an instant"),
        (StartPoint::Group, "_since=", "is not an instant"),
        (StartPoint::Group, "_since=2030-01-01T00:00:00Z", "in the future: the time here is 2026-01-05T10:00:00.000Z"),
        (StartPoint::Group, "_since=2020-01-01T00:00:00Z&_since=2020-01-01T00:00:00Z", "more than once"),
        (StartPoint::Group, "_until=tomorrow", "_until: 'tomorrow' is not an instant"),
        (StartPoint::Group, "_type=", "'', which is not a resource type"),
        (StartPoint::Group, "_type=Patient,", "''"),
        (StartPoint::Group, "_type=Patients", "'Patients', which is not a resource type; choose from Group, Patient"),
        (StartPoint::Group, "_elements=", "_elements: an element has no name"),
        (StartPoint::Group, "_typeFilter=active", "_typeFilter: a query names one resource type"),
        (StartPoint::Group, "_type=Group&_typeFilter=Patient?active=true", "which _type leaves out"),
        (StartPoint::Group, "allowPartialManifests=1", "takes true or false, and not '1'"),
        (StartPoint::Attribution, "_type=Group,Patient", "Coverage is missing"),
        (StartPoint::Attribution, "resourceTypes=Patient,Coverage", "Group is missing"),
    ] {
        for check in [strict, lenient] {
            let problem = check(start, query).expect_err(query);
            assert!(problem.contains(part), "{query}: {problem}");
        }
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name_or_passed_over_with_a_notice() {
    for (start, query, name, part) in [
        (
            StartPoint::Group,
            "_count=7",
            "_count",
            "'_count' is not supported here; Group/[id]/$export takes _outputFormat",
        ),
        (StartPoint::Group, "resourceTypes=Patient", "resourceTypes", "not supported here"),
        (StartPoint::System, "exportType=hl7.fhir.us.davinci-atr", "exportType", "$export takes"),
        (StartPoint::Patients, "organizeOutputBy=Patient", "organizeOutputBy", "Patient/$export takes"),
        (StartPoint::Group, "organizeOutputBy=Coverage", "organizeOutputBy", "use Patient"),
        (
            StartPoint::Attribution,
            "organizeOutputBy=Patient&patient=Patient/1",
            "organizeOutputBy",
            "together with patient",
        ),
        (StartPoint::Group, "_type=Patient,Observation", "_type", "Observation"),
        (
            StartPoint::Group,
            "_outputFormat=text/csv",
            "_outputFormat",
            "'text/csv' is not supported; use application/fhir+ndjson",
        ),
        (StartPoint::Group, "exportType=hl7.fhir.us.davinci-pdex", "exportType", "use hl7.fhir.us.davinci-atr"),
        (StartPoint::Group, "_outputEncoding=br", "_outputEncoding", "use gzip or identity"),
        (StartPoint::Group, "_elements=Patient.nonsense", "_elements", "nonsense"),
        (StartPoint::Group, "_typeFilter=Patient?nonsense=1", "_typeFilter", "nonsense"),
        (StartPoint::Group, "_typeFilter=Observation?code=1", "_typeFilter", "Observation"),
        (
            StartPoint::Group,
            "includeAssociatedData=LatestProvenanceResources",
            "includeAssociatedData",
            "no Provenance",
        ),
        (StartPoint::Group, "includeAssociatedData=_custom", "includeAssociatedData", "_custom"),
    ] {
        let problem = strict(start, query).expect_err(query);
        assert!(problem.contains(part), "{query}: {problem}");
        assert_eq!(refusal(context(start), query), Some((name.to_owned(), IssueCode::NotSupported)), "{query}");

        let read = lenient(start, query).expect(query);
        let [notice] = &read.notices[..] else { panic!("{query}: {} notices", read.notices.len()) };
        assert_eq!(notice.expression, [name], "{query}");
        assert!(notice.diagnostics.contains(part), "{query}: {}", notice.diagnostics);
    }
}

#[test]
fn a_list_of_types_of_which_none_is_left_is_refused_and_does_not_become_everything() {
    for check in [strict, lenient] {
        assert!(check(StartPoint::Group, "_type=Observation").is_err());
    }
}

#[test]
fn what_was_passed_over_has_no_effect() {
    let read =
        lenient(StartPoint::Group, "_type=Patient,Observation&_typeFilter=Patient?nonsense=1&_elements=nonsense");
    let read = read.expect("it is passed over");
    let selection = Selection { types: Some([ResourceType::PATIENT].into()), ..Selection::default() };
    assert_eq!((read.selection, read.notices.len()), (selection, 3));
    let read = lenient(StartPoint::Group, "organizeOutputBy=Patient&patient=Patient/1").expect("it is passed over");
    assert!(!read.delivery.organized_by_patient);
}

#[test]
fn each_value_of_a_list_that_is_passed_over_has_a_notice_of_its_own() {
    let query = "includeAssociatedData=LatestProvenanceResources,RelevantProvenanceResources&includeAssociatedData=_a";
    assert_eq!(lenient(StartPoint::Group, query).map(|read| read.notices.len()), Ok(3));
}

#[test]
fn requests_without_measure_are_refused() {
    let patients: Vec<_> = (0..=MOST).map(|patient| format!("Patient/{patient}")).collect();
    for (name, query) in [
        ("patient", format!("patient={}", patients.join(","))),
        ("x", "x&".repeat(MOST + 1)),
        ("_typeFilter", "_typeFilter=Patient?active=true&".repeat(MOST_FILTERS + 1)),
    ] {
        let context = Context { handling: Handling::Lenient, is_post: true, ..context(StartPoint::Group) };
        assert_eq!(refusal(context, &query), Some((name.to_owned(), IssueCode::TooLong)), "{name}");
    }
}
