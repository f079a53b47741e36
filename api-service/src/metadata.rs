//! `[base]/metadata`: the CapabilityStatement, which says what this server can do (standards §1.1, §3.5). Public.

mod resources;
mod security;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use shared::fhir::{Instant, ResourceType};
use url::Url;

use crate::Api;
use crate::answer::{media_type, resource};
use crate::definitions::{DEFINITIONS, Definition, Level};
use crate::error::ApiError;
use crate::parameters::of_query;

/// What a server is and can do that these guides describe.
const INSTANTIATES: [&str; 2] = [
    "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data",
    "http://hl7.org/fhir/us/davinci-atr/CapabilityStatement/atr-producer",
];

/// The guides themselves, in the versions that bind.
const GUIDES: [&str; 2] = [
    "http://hl7.org/fhir/uv/bulkdata/ImplementationGuide/hl7.fhir.uv.bulkdata|2.0.0",
    "http://hl7.org/fhir/us/davinci-atr/ImplementationGuide/davinci-atr|2.1.0",
];

/// `GET [base]/metadata`.
pub async fn capabilities(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let media_type = media_type(&request, &of_query(request.query_string()))?;
    let body = statement(api.base(), api.token_endpoint.as_ref(), api.started_at);
    Ok(HttpResponse::Ok().content_type(media_type).body(body))
}

/// The CapabilityStatement of a server with this base, which asks for the tokens of this endpoint, if any, and has been
/// what it is since `date`.
fn statement(base: &str, token_endpoint: Option<&Url>, date: Instant) -> String {
    let description = "Attribution lists of a payer and their bulk export, by Da Vinci Member Attribution (ATR) and FHIR \
                       Bulk Data Access.";
    let elements = json!({
        "url": format!("{base}/metadata"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "AttributionListExport",
        "status": "active",
        "date": date.to_string(),
        "description": description,
        "kind": "instance",
        "instantiates": INSTANTIATES,
        "software": {"name": "Attribution-list export", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": description, "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "implementationGuide": GUIDES,
        "rest": [{
            "mode": "server",
            "documentation": "Resources are read here and exported in bulk; nothing is written.",
            "security": security::security(token_endpoint),
            "resource": ResourceType::ATTRIBUTION.map(resources::resource),
            "operation": operations(|level| level == Level::System),
        }],
    });
    resource("CapabilityStatement", elements)
}

/// The operations of the levels that `wanted` says, under their codes and, where it differs, under the name that the
/// guide's text gives them: some clients look for `export`, others for `group-export`.
fn operations(wanted: impl Fn(Level) -> bool) -> Vec<Value> {
    let named = |definition: &'static Definition| {
        let second = (definition.id != definition.code).then_some(definition.id);
        let names = std::iter::once(definition.code).chain(second);
        names.map(|name| json!({"name": name, "definition": definition.canonical}))
    };
    DEFINITIONS.iter().filter(|definition| wanted(definition.level)).flat_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(token_endpoint: Option<&str>) -> Value {
        let token_endpoint = token_endpoint.map(|url| Url::parse(url).expect("it is a URL"));
        let date = Instant::from_unix_millis(1_767_607_200_000);
        let text = statement("https://api.example.org/fhir", token_endpoint.as_ref(), date);
        assert!(text.starts_with(r#"{"resourceType":"CapabilityStatement","#), "{text}");
        serde_json::from_str(&text).expect("it is JSON")
    }

    fn of_type<'a>(statement: &'a Value, name: &str) -> &'a Value {
        let resources = statement["rest"][0]["resource"].as_array().expect("resources are an array");
        resources.iter().find(|resource| resource["type"] == name).expect(name)
    }

    #[test]
    fn the_capability_statement_says_what_it_instantiates_and_where_it_is() {
        let statement = read(None);
        assert_eq!(statement["instantiates"], json!(INSTANTIATES));
        assert_eq!(statement["fhirVersion"], "4.0.1");
        assert_eq!(statement["kind"], "instance");
        assert_eq!(statement["date"], "2026-01-05T10:00:00.000Z");
        assert_eq!(statement["implementation"]["url"], "https://api.example.org/fhir");
    }

    #[test]
    fn the_operations_stand_with_what_they_are_called_on_under_both_of_their_names() {
        let statement = read(None);
        let bulk = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";
        assert_eq!(
            statement["rest"][0]["operation"],
            json!([{"name": "export", "definition": format!("{bulk}/export")}])
        );
        let patient = format!("{bulk}/patient-export");
        assert_eq!(
            of_type(&statement, "Patient")["operation"],
            json!([{"name": "export", "definition": patient}, {"name": "patient-export", "definition": patient}])
        );
        let group = format!("{bulk}/group-export");
        assert_eq!(
            of_type(&statement, "Group")["operation"],
            json!([
                {"name": "export", "definition": group},
                {"name": "group-export", "definition": group},
                {
                    "name": "davinci-data-export",
                    "definition": "http://hl7.org/fhir/us/davinci-atr/OperationDefinition/davinci-data-export",
                },
            ])
        );
        assert!(of_type(&statement, "Coverage").get("operation").is_none(), "an empty array is no FHIR");
    }

    #[test]
    fn all_eight_types_are_read_with_their_history_and_only_groups_are_searched() {
        let statement = read(None);
        for resource_type in ResourceType::ATTRIBUTION {
            let resource = of_type(&statement, resource_type.name());
            let interactions = resource["interaction"].as_array().expect("interactions are an array");
            for code in ["read", "vread", "history-instance"] {
                assert!(interactions.contains(&json!({"code": code})), "{resource_type} {code}");
            }
            let searches = interactions.contains(&json!({"code": "search-type"}));
            assert_eq!(searches, resource_type == ResourceType::GROUP, "{resource_type}");
        }
    }

    #[test]
    fn every_type_names_its_atr_profile_and_its_search_parameters() {
        let statement = read(None);
        let role = of_type(&statement, "PractitionerRole");
        assert_eq!(
            role["supportedProfile"],
            json!(["http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-practitionerrole"])
        );
        for resource_type in ResourceType::ATTRIBUTION {
            let resource = of_type(&statement, resource_type.name());
            let parameters = resource["searchParam"].as_array().expect("parameters are an array");
            let is_complete = |parameter: &Value| parameter["name"].is_string() && parameter["type"].is_string();
            assert!(!parameters.is_empty() && parameters.iter().all(is_complete), "{resource_type}");
        }
        let group = of_type(&statement, "Group")["searchParam"].as_array().expect("parameters are an array");
        for name in ["identifier", "characteristic", "name", "_id"] {
            assert!(group.iter().any(|parameter| parameter["name"] == name), "{name}");
        }
    }

    #[test]
    fn the_token_endpoint_is_named_when_there_is_one() {
        let statement = read(Some("https://login.example.org/token"));
        let security = &statement["rest"][0]["security"];
        assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
        assert_eq!(
            security["extension"],
            json!([{
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": "token", "valueUri": "https://login.example.org/token"}],
            }])
        );
    }

    #[test]
    fn a_server_that_asks_for_no_token_claims_no_security_service() {
        let statement = read(None);
        let security = &statement["rest"][0]["security"];
        assert!(security.get("service").is_none() && security.get("extension").is_none());
        assert!(security["description"].as_str().is_some_and(|text| text.contains("no access token")));
    }
}
