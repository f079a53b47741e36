//! Stories: what a client sees, over real HTTP, on real servers.

mod access;
mod answers;
mod audit;
mod bad_input;
mod benchmark;
mod content;
mod discovery;
mod expiry;
mod fhir_server;
mod files;
mod golden;
mod issuers;
mod levels;
mod lifecycle;
mod metrics;
mod poison;
mod processes;
mod rights;
mod selection;
mod since;
mod telemetry;
mod tls;

/// A Patient with a number whose digits tell whether somebody has parsed it.
fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","extension":[{{"url":"u","valueDecimal":1.10}}],"active":true}}"#)
}

/// A resource without anything that leads further.
fn plain(resource_type: &str, id: &str) -> String {
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}"}}"#)
}

/// A Coverage with these fields beside type and id.
fn coverage(id: &str, fields: &str) -> String {
    format!(r#"{{"resourceType":"Coverage","id":"{id}",{fields}}}"#)
}

/// A member with its Patient, Coverage and provider.
fn member(patient: &str, coverage: &str, provider: &str) -> String {
    let url = "http://hl7.org/fhir/us/davinci-atr/StructureDefinition";
    format!(
        r#"{{"extension":[{{"url":"{url}/ext-coverageReference","valueReference":{{"reference":"{coverage}"}}}},{{"url":"{url}/ext-attributedProvider","valueReference":{{"reference":"{provider}"}}}}],"entity":{{"reference":"{patient}"}}}}"#
    )
}

/// The list `Group/g` with these members.
fn group(members: &[String]) -> String {
    format!(r#"{{"resourceType":"Group","id":"g","type":"person","member":[{}],"actual":true}}"#, members.join(","))
}

/// A small list in which everything resolves: two members, a subscriber who is none, a payer and a role.
pub fn small_list() -> Vec<String> {
    vec![
        group(&[member("Patient/1", "Coverage/1", "PractitionerRole/1"), member("Patient/2", "Coverage/2", "Organization/clinic")]),
        patient("1"),
        patient("2"),
        patient("not-on-the-list"),
        coverage("1", r#""beneficiary":{"reference":"Patient/1"},"payor":[{"reference":"Organization/payer"}],"x":25.00"#),
        coverage(
            "2",
            r#""subscriber":{"reference":"RelatedPerson/1"},"beneficiary":{"reference":"Patient/2"},"payor":[{"reference":"Organization/payer"}]"#,
        ),
        plain("RelatedPerson", "1"),
        plain("Organization", "payer"),
        plain("Organization", "clinic"),
        r#"{"resourceType":"PractitionerRole","id":"1","practitioner":{"reference":"Practitioner/1"},"location":[{"reference":"Location/1"}]}"#.to_owned(),
        plain("Practitioner", "1"),
        plain("Location", "1"),
    ]
}
