//! Searches as clients write them.

use serde_json::{Value, json};

use super::*;

fn query(text: &str) -> Query {
    Query::parse(text).expect("the test writes a query")
}

fn patient() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "p1",
        "meta": {
            "lastUpdated": "2026-01-05T10:00:00.000Z",
            "profile": ["http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-patient"],
            "tag": [{"system": "http://tags", "code": "gold"}]
        },
        "active": true,
        "identifier": [{"system": "http://members", "value": "M-1"}],
        "name": [{"family": "Núñez", "given": ["Ana", "Lu & Co"]}, {"text": "Nan, the"}],
        "telecom": [{"system": "phone", "value": "555-0100"}, {"system": "email", "value": "ana@example.org"}],
        "gender": "female",
        "birthDate": "1961-03-04",
        "_maritalStatus": {"extension": []},
        "address": [
            {"use": "home", "line": ["1 Main St"], "city": "Springfield", "state": "IL", "postalCode": "62701"}
        ],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "es"}]}}],
        "generalPractitioner": [
            {"reference": "Practitioner/d1"},
            {"identifier": {"system": "http://npi", "value": "7"}}
        ],
        "managingOrganization": {"reference": "Organization/o1"}
    })
}

fn concept(code: &str) -> Value {
    json!({"coding": [{"code": code}]})
}

fn group() -> Value {
    json!({
        "resourceType": "Group",
        "id": "g1",
        "type": "person",
        "actual": true,
        "name": "Northwind list",
        "identifier": [
            {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NPI"}]},
             "system": "http://hl7.org/fhir/sid/us-npi", "value": "1316206220"},
            {"system": "http://contracts", "value": "C,1"}
        ],
        "extension": [{
            "url": "http://hl7.org/fhir/us/davinci-atr/StructureDefinition/ext-contractValidityPeriod",
            "valuePeriod": {"start": "2026-01-01", "end": "2026-12-31"}
        }],
        "managingEntity": {"reference": "Organization/o1"},
        "characteristic": [
            {"code": concept("team"), "valueCodeableConcept": concept("red"), "exclude": false},
            {"code": concept("doctor"), "valueReference": {"reference": "Practitioner/d1"}, "exclude": true},
            {"code": concept("final"), "valueBoolean": true, "exclude": false}
        ]
    })
}

fn is_found(text: &str, resource: &Value) -> bool {
    query(text).matches_value(resource)
}

#[test]
fn a_patient_is_found_by_each_kind_of_parameter() {
    for text in [
        "Patient?",
        "Patient?_id=p1",
        "Patient?_id=p0,p1",
        "Patient?_lastUpdated=ge2026-01-05",
        "Patient?_profile=http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-patient",
        "Patient?_tag=http://tags|gold",
        "Patient?active=true&gender=female",
        "Patient?gender=http://hl7.org/fhir/administrative-gender|female",
        "Patient?gender:not=male,other",
        "Patient?identifier=http://members|M-1",
        "Patient?name=nunez",
        "Patient?name=an",
        "Patient?family:exact=Núñez",
        "Patient?family:contains=UNE",
        "Patient?given=lu%20%26%20co",
        r"Patient?name=nan\, the",
        "Patient?phone=555-0100&email=ANA@example.org&telecom=555-0100",
        "Patient?address=1%20main&address-city=spring&address-state=IL&address-postalcode=62&address-use=home",
        "Patient?birthdate=1961&birthdate=lt1962-01-01",
        "Patient?deceased=false&death-date:missing=true",
        "Patient?language=es",
        "Patient?general-practitioner=d1",
        "Patient?general-practitioner:Practitioner=d1",
        "Patient?general-practitioner:identifier=http://npi|7",
        "Patient?organization=Organization/o1&organization:missing=false",
    ] {
        assert!(is_found(text, &patient()), "{text}");
    }
}

#[test]
fn one_clause_that_does_not_match_is_enough_not_to_be_found() {
    for text in [
        "Patient?active=true&gender=male",
        "Patient?gender:not=male,female",
        "Patient?identifier=m-1",
        "Patient?family:exact=nunez",
        "Patient?family:contains=ana",
        "Patient?phone=ana@example.org",
        "Patient?birthdate=1961&birthdate=gt1962",
        "Patient?deceased=true",
        "Patient?deceased:missing=true",
        "Patient?general-practitioner:Organization=d1",
        "Patient?address-country:missing=false",
        "Patient?_profile=http://hl7.org/fhir",
        "Group?",
    ] {
        assert!(!is_found(text, &patient()), "{text}");
    }
}

#[test]
fn a_patient_who_died_is_deceased_however_it_is_said() {
    for (deceased, value) in [
        (json!({"deceasedDateTime": "2020"}), "true"),
        (json!({"deceasedBoolean": true}), "true"),
        (json!({"deceasedBoolean": false}), "false"),
    ] {
        let mut resource = json!({"resourceType": "Patient"});
        resource.as_object_mut().expect("it is an object").extend(deceased.as_object().expect("it is one").clone());
        assert!(is_found(&format!("Patient?deceased={value}"), &resource), "{resource}");
    }
}

#[test]
fn an_element_that_has_extensions_only_is_missing() {
    let coverage = json!({"resourceType": "Coverage", "payor": [{"extension": [{"url": "http://e"}]}]});
    assert!(is_found("Coverage?payor:missing=true&status:missing=true", &coverage));
}

#[test]
fn a_group_is_found_as_the_guide_asks_for_it() {
    for text in [
        "Group?identifier=http://hl7.org/fhir/sid/us-npi|1316206220",
        "Group?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|NPI|1316206220",
        // The form of ATR 1.0.0.
        "Group?identifier=http://terminology.hl7.org/CodeSystem/v2-0203|NPI|1316206220",
        r"Group?identifier=http://contracts|C\,1",
        "Group?name=north&type=person&actual=true",
        "Group?period=2026&period=sa2025-12-31",
        "Group?managing-entity=Organization/o1",
        "Group?characteristic=team&value=red&exclude=true",
        "Group?characteristic-value=team$red",
        "Group?characteristic-value=team$blue,final$true",
        "Group?characteristic-value=doctor$Practitioner/d1",
        "Group?characteristic-value=doctor$d1",
    ] {
        assert!(is_found(text, &group()), "{text}");
    }
    for text in [
        "Group?characteristic-value=team$true",
        "Group?characteristic-value=doctor$Practitioner/d2",
        "Group?period=2025",
        "Group?identifier=http://terminology.hl7.org/CodeSystem/v2-0203|TAX|1316206220",
    ] {
        assert!(!is_found(text, &group()), "{text}");
    }
}

#[test]
fn the_other_types_are_found_by_their_references() {
    let coverage = json!({
        "resourceType": "Coverage", "status": "active", "beneficiary": {"reference": "Patient/p1"},
        "subscriber": {"reference": "RelatedPerson/r1"}, "payor": [{"reference": "Organization/o1"}],
        "class": [{"type": {"coding": [{"code": "plan"}]}, "value": "B37FC"}]
    });
    assert!(is_found("Coverage?status=active&patient=p1&beneficiary=Patient/p1&payor=o1&class-type=plan", &coverage));
    assert!(is_found("Coverage?subscriber:RelatedPerson=r1&class-value=b37", &coverage));
    assert!(!is_found("Coverage?subscriber:Patient=r1", &coverage));
    let role = json!({
        "resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/d1"},
        "location": [{"reference": "Location/l1"}, {"reference": "Location/l2"}], "period": {"start": "2020-01-01"}
    });
    assert!(is_found("PractitionerRole?practitioner=d1&location=l2&date=ge2026", &role));
    let organization = json!({"resourceType": "Organization", "name": "Northwind", "alias": ["NW Health"]});
    assert!(is_found("Organization?name=nw", &organization));
}

#[test]
fn an_index_is_told_the_tokens_that_each_clause_demands() {
    let query = query("Group?identifier=a|1,2&identifier:of-type=t|NPI|3&identifier:not=4&identifier:missing=false");
    let token = |system: System, code: &str| Token { system, code: Some(code.to_owned()) };
    assert_eq!(
        query.tokens("identifier"),
        [vec![token(System::Is("a".to_owned()), "1"), token(System::Any, "2")], vec![token(System::Any, "3")],]
    );
    assert!(query.tokens("code").is_empty());
}

#[test]
fn the_ids_that_are_left_are_those_of_all_clauses() {
    let ids = |text: &str| query(text).ids().map(|ids| ids.into_iter().map(String::from).collect::<Vec<_>>().join(" "));
    assert_eq!(ids("Patient?active=true&_id:not=a"), None);
    assert_eq!(ids("Patient?_id=b,a,b").as_deref(), Some("a b"));
    assert_eq!(ids("Patient?_id=a,b&_id=b,c").as_deref(), Some("b"));
    assert_eq!(ids("Patient?_id=not_legal,x|a").as_deref(), Some(""));
}

#[test]
fn a_text_that_is_not_the_json_of_the_type_is_not_found() {
    for json in ["", "{", "[]", "null", "7", r#"{"resourceType":"Group"}"#, r#"{"active":true}"#] {
        assert!(!query("Patient?").matches(json), "{json}");
    }
    assert!(query("Patient?active:missing=true").matches(r#"{"resourceType":"Patient"}"#));
}
