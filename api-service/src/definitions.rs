//! The operations of this server as OperationDefinitions, each derived from the one of its standard (standards §1.1, §3.2).
//!
//! The CapabilityStatement names the definitions of the standards, because that is what clients look for; these say which
//! parameters are taken here. They are public, as the CapabilityStatement is.

mod parameters;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use shared::fhir::ResourceType;

use crate::Api;
use crate::answer::{media_type, resource};
use crate::bundle::Bundle;
use crate::error::ApiError;
use crate::parameters::of_query;
use crate::start::StartPoint;

/// What an operation is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `[base]/$…`
    System,
    /// `[base]/{Type}/$…`
    Type(ResourceType),
    /// `[base]/{Type}/{id}/$…`
    Instance(ResourceType),
}

/// One operation on one level.
pub struct Definition {
    /// The id of its OperationDefinition, here and in the standard.
    pub id: &'static str,
    /// The last step of its URL, without the dollar sign.
    pub code: &'static str,
    /// The canonical URL of the standard's definition.
    pub canonical: &'static str,
    /// What it is called on.
    pub level: Level,
    name: &'static str,
    description: &'static str,
    start: StartPoint,
}

/// All operations.
pub const DEFINITIONS: [Definition; 4] = [
    Definition {
        id: "export",
        code: "export",
        canonical: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
        level: Level::System,
        name: "Export",
        description: "Exports all that the server holds of the resource types of attribution lists.",
        start: StartPoint::System,
    },
    Definition {
        id: "patient-export",
        code: "export",
        canonical: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export",
        level: Level::Type(ResourceType::PATIENT),
        name: "PatientExport",
        description: "Exports all patients, with what the server holds of the other resource types of attribution lists.",
        start: StartPoint::Patients,
    },
    Definition {
        id: "group-export",
        code: "export",
        canonical: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export",
        level: Level::Instance(ResourceType::GROUP),
        name: "GroupExport",
        description: "Exports an attribution list and all resources that it leads to.",
        start: StartPoint::Group,
    },
    Definition {
        id: "davinci-data-export",
        code: "davinci-data-export",
        canonical: "http://hl7.org/fhir/us/davinci-atr/OperationDefinition/davinci-data-export",
        level: Level::Instance(ResourceType::GROUP),
        name: "DavinciDataExport",
        description: "Exports an attribution list and all resources that it leads to, as the Da Vinci ATR guide has it.",
        start: StartPoint::Attribution,
    },
];

/// `GET [base]/OperationDefinition`: all of them, as a search answers.
pub async fn all(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let media_type = media_type(&request, &of_query(request.query_string()))?;
    let base = api.base();
    let mut bundle = Bundle::searchset(format!("{base}/OperationDefinition"));
    bundle.total = Some(DEFINITIONS.len() as u64);
    for definition in &DEFINITIONS {
        bundle.push_match(definition.url(base), definition.document(base))?;
    }
    Ok(HttpResponse::Ok().content_type(media_type).body(bundle.json()))
}

/// `GET [base]/OperationDefinition/{id}`.
pub async fn one(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let media_type = media_type(&request, &of_query(request.query_string()))?;
    let definition = DEFINITIONS.iter().find(|definition| definition.id == *id);
    let definition = definition.ok_or_else(|| ApiError::NoOperation(id.into_inner()))?;
    Ok(HttpResponse::Ok().content_type(media_type).body(definition.document(api.base())))
}

impl Definition {
    fn url(&self, base: &str) -> String {
        format!("{base}/OperationDefinition/{}", self.id)
    }

    fn document(&self, base: &str) -> String {
        let (resource_type, system, of_type, instance) = match self.level {
            Level::System => (None, true, false, false),
            Level::Type(resource_type) => (Some(resource_type), false, true, false),
            Level::Instance(resource_type) => (Some(resource_type), false, false, true),
        };
        let mut elements = json!({
            "id": self.id,
            "url": self.url(base),
            "version": env!("CARGO_PKG_VERSION"),
            "name": self.name,
            "status": "active",
            "kind": "operation",
            "description": self.description,
            "affectsState": false,
            "code": self.code,
            "base": self.canonical,
            "system": system,
            "type": of_type,
            "instance": instance,
            "parameter": parameters::elements(self.start),
        });
        if let Some(resource_type) = resource_type {
            elements["resource"] = json!([resource_type]);
        }
        resource("OperationDefinition", elements)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document(id: &str) -> Value {
        let definition = DEFINITIONS.iter().find(|definition| definition.id == id).expect(id);
        serde_json::from_str(&definition.document("https://api.example.org/fhir")).expect("it is JSON")
    }

    #[test]
    fn each_operation_says_on_what_it_is_called_and_what_it_is_derived_from() {
        let bulk = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";
        for (id, levels, resource, base) in [
            ("export", (true, false, false), json!(null), format!("{bulk}/export")),
            ("patient-export", (false, true, false), json!(["Patient"]), format!("{bulk}/patient-export")),
            ("group-export", (false, false, true), json!(["Group"]), format!("{bulk}/group-export")),
            (
                "davinci-data-export",
                (false, false, true),
                json!(["Group"]),
                "http://hl7.org/fhir/us/davinci-atr/OperationDefinition/davinci-data-export".to_owned(),
            ),
        ] {
            let document = document(id);
            assert_eq!((&document["resource"], &document["base"]), (&resource, &json!(base)), "{id}");
            let (system, of_type, instance) = levels;
            assert_eq!(document["system"], system, "{id}");
            assert_eq!((&document["type"], &document["instance"]), (&json!(of_type), &json!(instance)), "{id}");
            assert_eq!(document["url"], format!("https://api.example.org/fhir/OperationDefinition/{id}"));
        }
    }

    #[test]
    fn patients_are_chosen_everywhere_but_on_the_system_level_and_export_types_for_lists() {
        let takes = |id: &str, name: &str| {
            let document = document(id);
            let parameters = document["parameter"].as_array().expect("parameters are an array");
            parameters.iter().any(|parameter| parameter["name"] == name)
        };
        let ids = DEFINITIONS.map(|definition| definition.id);
        assert_eq!(ids.map(|id| takes(id, "patient")), [false, true, true, true]);
        assert_eq!(ids.map(|id| takes(id, "exportType")), [false, false, true, true]);
        assert_eq!(ids.map(|id| takes(id, "_outputEncoding")), [true; 4]);
    }
}
