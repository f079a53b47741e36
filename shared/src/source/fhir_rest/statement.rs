//! What the server says that it can do: its CapabilityStatement (R4 `capabilitystatement.html`).
//!
//! Statements are not always true. What one denies is not tried; what it promises is tried, and given up when it fails.

use std::collections::HashMap;

use serde::Deserialize;

use crate::fhir::ResourceType;

/// What of it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Whether it takes a Bundle of requests.
    pub batch: bool,
    types: HashMap<String, Abilities>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Abilities {
    ids: bool,
    history: bool,
    type_history: bool,
}

impl Statement {
    /// Reads a CapabilityStatement. The reason why it is none has nothing of its content.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Text {
            #[serde(default)]
            resource_type: String,
            #[serde(default)]
            rest: Vec<Rest>,
        }
        #[derive(Deserialize)]
        struct Rest {
            #[serde(default)]
            mode: String,
            #[serde(default)]
            interaction: Vec<Interaction>,
            #[serde(default)]
            resource: Vec<OfType>,
        }
        #[derive(Deserialize)]
        struct Interaction {
            #[serde(default)]
            code: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OfType {
            #[serde(rename = "type")]
            name: String,
            #[serde(default)]
            interaction: Vec<Interaction>,
            #[serde(default)]
            search_param: Vec<Parameter>,
        }
        #[derive(Deserialize)]
        struct Parameter {
            #[serde(default)]
            name: String,
        }
        let text: Text = serde_json::from_slice(json).map_err(|error| crate::fhir::json::reason(&error))?;
        if text.resource_type != "CapabilityStatement" {
            return Err("it is no CapabilityStatement".to_owned());
        }
        let Some(rest) = text.rest.into_iter().find(|rest| rest.mode == "server") else { return Ok(Self::default()) };
        let has = |interactions: &[Interaction], code: &str| interactions.iter().any(|known| known.code == code);
        let abilities = |of_type: &OfType| Abilities {
            // Parameters that all types have are often left out.
            ids: has(&of_type.interaction, "search-type")
                && (of_type.search_param.iter().any(|parameter| parameter.name == "_id")
                    || !of_type.search_param.iter().any(|parameter| parameter.name.starts_with('_'))),
            history: has(&of_type.interaction, "history-instance"),
            type_history: has(&of_type.interaction, "history-type"),
        };
        let types = rest.resource.iter().map(|of_type| (of_type.name.clone(), abilities(of_type))).collect();
        Ok(Self { batch: has(&rest.interaction, "batch"), types })
    }

    /// Whether resources of a type may be searched for by their ids. A server without a statement may do that.
    pub fn finds_ids(&self, resource_type: ResourceType) -> bool {
        self.types.is_empty() || self.of(resource_type).ids
    }

    /// Whether the versions of a resource of this type can be asked for.
    pub fn has_history(&self, resource_type: ResourceType) -> bool {
        self.of(resource_type).history
    }

    /// Whether what has happened to all resources of a type can be asked for.
    pub fn has_type_history(&self, resource_type: ResourceType) -> bool {
        self.of(resource_type).type_history
    }

    fn of(&self, resource_type: ResourceType) -> Abilities {
        self.types.get(resource_type.name()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_that_it_can_do_is_known_type_by_type() {
        let statement = Statement::read(
            br#"{"resourceType":"CapabilityStatement","rest":[{"mode":"client"},{"mode":"server",
                "interaction":[{"code":"batch"}],"resource":[
                {"type":"Patient","interaction":[{"code":"read"},{"code":"search-type"},{"code":"history-instance"}],
                 "searchParam":[{"name":"_id"},{"name":"name"}]},
                {"type":"Coverage","interaction":[{"code":"search-type"},{"code":"history-type"}],
                 "searchParam":[{"name":"beneficiary"}]},
                {"type":"Group","interaction":[{"code":"search-type"}],"searchParam":[{"name":"_lastUpdated"}]},
                {"type":"Location","interaction":[{"code":"read"}]}]}]}"#,
        )
        .expect("it is one");
        assert!(statement.batch);
        let can = |resource_type| {
            let (ids, history) = (statement.finds_ids(resource_type), statement.has_history(resource_type));
            (ids, history, statement.has_type_history(resource_type))
        };
        assert_eq!(can(ResourceType::PATIENT), (true, true, false));
        assert_eq!(can(ResourceType::COVERAGE), (true, false, true));
        assert_eq!(can(ResourceType::GROUP), (false, false, false));
        assert_eq!(can(ResourceType::LOCATION), (false, false, false));
        assert_eq!(can(ResourceType::PRACTITIONER), (false, false, false));
    }

    #[test]
    fn without_a_statement_ids_are_tried_and_nothing_else() {
        let none = Statement::default();
        assert!(none.finds_ids(ResourceType::PATIENT));
        assert!(!none.batch && !none.has_history(ResourceType::PATIENT));
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        for text in ["", "<html>", "[]", r#"{"resourceType":"OperationOutcome"}"#, r#"{"rest":7}"#] {
            assert!(Statement::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
