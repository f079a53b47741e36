//! `CapabilityStatement.rest.resource`: one type, what may be done with it and what it is searched or filtered by.

use serde_json::{Value, json};
use shared::fhir::ResourceType;
use shared::fhir::search::{self, Parameter};

use super::operations;
use crate::definitions::Level;

/// The element of one type.
pub fn resource(resource_type: ResourceType) -> Value {
    let name = resource_type.name();
    let profile = format!("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-{}", name.to_lowercase());
    let mut codes = vec!["read", "vread", "history-instance"];
    let documentation = if resource_type == ResourceType::GROUP {
        codes.push("search-type");
        "A search and a history give a Group without its members, with the tag SUBSETTED; reading it gives them all."
    } else {
        "The search parameters are for _typeFilter of the export operations; there is no search for this type."
    };
    let interactions: Vec<Value> = codes.into_iter().map(|code| json!({"code": code})).collect();
    let mut element = json!({
        "type": name,
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{name}"),
        "supportedProfile": [profile],
        "documentation": documentation,
        "interaction": interactions,
        "versioning": "versioned",
        "readHistory": true,
        "updateCreate": false,
        "conditionalRead": "full-support",
        "searchParam": search_parameters(resource_type),
    });
    let operations = operations(
        |level| matches!(level, Level::Type(called_on) | Level::Instance(called_on) if called_on == resource_type),
    );
    // FHIR has no empty arrays.
    if !operations.is_empty() {
        element["operation"] = Value::Array(operations);
    }
    element
}

/// The parameters of `_typeFilter`, which for Groups are those of the search as well.
fn search_parameters(resource_type: ResourceType) -> Vec<Value> {
    let element = |parameter: &Parameter| {
        let mut element = json!({"name": parameter.name, "type": parameter.kind.code()});
        if let Some(definition) = parameter.definition {
            element["definition"] = json!(definition);
        }
        element
    };
    search::parameters(resource_type).iter().map(element).collect()
}
