//! Whatever a client sends is read or refused, and never panics: the first byte chooses the parser, the rest is its input.

#![no_main]

use api_service::fuzzing;
use libfuzzer_sys::fuzz_target;
use shared::access::Scopes;
use shared::access::assertion::ALGORITHMS;
use shared::access::clients::Clients;
use shared::access::jwt::Unverified;
use shared::fhir::search::Query;
use shared::fhir::{Elements, Identifier, Instant, Member, OwnBases, Reference, ResourceType, edit, summarize};

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(input);
    match choice % 10 {
        0 => fuzzing::query(&text),
        1 => fuzzing::body(input),
        2 => fuzzing::headers(&text),
        3 => {
            if let Ok(query) = Query::parse(&text) {
                let _ = query.matches(r#"{"resourceType":"Patient","id":"1","name":[{"family":"Ä"}],"birthDate":"1970"}"#);
            }
        }
        4 => {
            let (query, json) = text.split_once('\n').unwrap_or((&text, ""));
            if let Ok(query) = Query::parse(query) {
                let _ = query.matches(json);
            }
        }
        5 => {
            let own = OwnBases::new(["https://a.example.org/fhir"]);
            let _ = Reference::literal(&*text).target(&own);
            let _ = Member::read(&text);
        }
        6 => {
            let mut elements = Elements::default();
            let (list, json) = text.split_once('\n').unwrap_or((&text, ""));
            if elements.extend(list).is_ok() {
                let _ = elements.subset(ResourceType::PATIENT, json);
            }
            let _ = edit::subsetted(json);
        }
        7 => {
            let _ = Unverified::read(&text, &ALGORITHMS);
            let _ = Scopes::known_in(&text).within(&Scopes::known_in("system/*.r system/Patient.s")).to_string();
        }
        8 => {
            let _ = Clients::read(&text);
            let _ = Identifier::all_of(&text);
        }
        _ => {
            let _ = text.parse::<Instant>();
            let _ = text.parse().map(|summary| summarize(ResourceType::GROUP, &text, summary));
        }
    }
});
