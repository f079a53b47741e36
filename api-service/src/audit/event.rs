//! One event as a FHIR R4 AuditEvent: a line of JSON. Pure.
//!
//! It says who (`agent`: `who` is the client, `altId` one that was only claimed, `network` where the request came from),
//! what (`entity`: list, job and file), when and with which outcome. It never says a member's id or anything of a member: of
//! requests that name one, only the type of action is kept.

use std::net::IpAddr;

use serde_json::{Value, json};
use shared::export::{ClientId, JobId};
use shared::fhir::{Instant, ResourceId, ResourceType};
use uuid::Uuid;

use crate::answer::resource;

/// The code system of the types of resources.
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";

/// What was done, or was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An export was asked for.
    KickOff,
    /// The manifest of an export was given.
    Manifest,
    /// A link that needs no token was given to a file.
    Link,
    /// A file was asked for by a link of this server (links in mode `gated`).
    Download,
    /// An export was deleted.
    Delete,
    /// An access token was asked for.
    Token,
    /// A job was asked after; recorded only when it is refused.
    Poll,
    /// A resource, its history or a search was asked for.
    Read,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub action: Action,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Who, as far as that is proven.
    pub client: Option<ClientId>,
    /// Who it claims to be, without a proof.
    pub claimed: Option<ClientId>,
    /// From where: the other end of the connection, which may be a proxy.
    pub address: Option<IpAddr>,
    /// Of which type, when a resource was asked for.
    pub resource_type: Option<ResourceType>,
    /// Of which list.
    pub list: Option<ResourceId>,
    /// Of which job.
    pub job: Option<JobId>,
    /// Of which file of the job.
    pub file: Option<String>,
    /// With which scope.
    pub scope: Option<String>,
}

/// Whether an answer keeps something from somebody: 401, 403, and 404, which is also what somebody else's list or job is;
/// and whatever is wrong with a request for a token.
pub fn is_refusal(action: Action, status: u16) -> bool {
    match action {
        Action::Token => (400..500).contains(&status),
        _ => matches!(status, 401 | 403 | 404),
    }
}

impl Action {
    /// The code in this server's own code system.
    fn code(self) -> &'static str {
        match self {
            Self::KickOff => "kick-off",
            Self::Manifest => "manifest",
            Self::Link => "link",
            Self::Download => "download",
            Self::Delete => "delete",
            Self::Token => "token",
            Self::Poll => "poll",
            Self::Read => "read",
        }
    }

    /// `AuditEvent.type`: what programs know that collect such events.
    fn kind(self) -> Value {
        const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
        match self {
            Self::KickOff | Self::Manifest | Self::Link | Self::Download => {
                json!({"system": DICOM, "code": "110106", "display": "Export"})
            }
            Self::Token => json!({"system": DICOM, "code": "110114", "display": "User Authentication"}),
            Self::Delete | Self::Poll | Self::Read => json!({
                "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
                "code": "rest",
                "display": "RESTful Operation",
            }),
        }
    }

    /// `AuditEvent.action`: execute, read or delete.
    fn letter(self) -> &'static str {
        match self {
            Self::KickOff | Self::Token => "E",
            Self::Manifest | Self::Link | Self::Download | Self::Poll | Self::Read => "R",
            Self::Delete => "D",
        }
    }
}

impl Event {
    /// The line, without its end. `base` is the FHIR base without a slash at the end.
    pub fn line(&self, base: &str) -> String {
        let own = |code: &str| json!({"system": format!("{base}/CodeSystem/audit-event"), "code": code});
        let refusal = is_refusal(self.action, self.status).then(|| own("refusal"));
        let subtypes: Vec<Value> = std::iter::once(own(self.action.code())).chain(refusal).collect();
        let outcome = match self.status {
            ..400 => "0",
            400..500 => "4",
            _ => "8",
        };
        let mut event = json!({
            "id": Uuid::new_v4().to_string(),
            "type": self.action.kind(),
            "subtype": subtypes,
            "action": self.action.letter(),
            "recorded": self.at.to_string(),
            "outcome": outcome,
            "outcomeDesc": format!("HTTP {}", self.status),
            "agent": [self.agent()],
            "source": {
                "observer": {"display": "api-service"},
                "type": [{
                    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }],
            },
        });
        let entities = self.entities(base);
        if !entities.is_empty() {
            event["entity"] = json!(entities);
        }
        resource("AuditEvent", event)
    }

    fn agent(&self) -> Value {
        let mut agent = json!({"requestor": true});
        if let Some(client) = &self.client {
            agent["who"] = json!({"identifier": {"value": client.0}});
        }
        if let Some(claimed) = &self.claimed {
            agent["altId"] = json!(claimed.0);
        }
        if let Some(address) = self.address {
            // R4 `network-type`: 2 is an IP address.
            agent["network"] = json!({"address": address.to_string(), "type": "2"});
        }
        agent
    }

    fn entities(&self, base: &str) -> Vec<Value> {
        let code = |resource_type: ResourceType| json!({"system": RESOURCE_TYPES, "code": resource_type});
        let list = self
            .list
            .as_ref()
            .map(|list| json!({"what": {"reference": format!("Group/{list}")}, "type": code(ResourceType::GROUP)}));
        let other = self.resource_type.filter(|_| self.list.is_none()).map(|of_type| json!({"type": code(of_type)}));
        let job = self.job.map(|job| {
            let mut entity =
                json!({"what": {"identifier": {"system": format!("{base}/export"), "value": job.to_string()}}});
            if let Some(file) = &self.file {
                entity["name"] = json!(file);
            }
            entity
        });
        let scope = self.scope.as_ref().map(|scope| json!({"detail": [{"type": "scope", "valueString": scope}]}));
        list.into_iter().chain(other).chain(job).chain(scope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: Action, status: u16) -> Event {
        Event {
            at: Instant::from_unix_millis(1_767_607_200_000),
            action,
            status,
            client: Some(ClientId("north".to_owned())),
            claimed: None,
            address: Some(IpAddr::from([127, 0, 0, 1])),
            resource_type: None,
            list: None,
            job: None,
            file: None,
            scope: None,
        }
    }

    fn line(event: &Event) -> Value {
        let line = event.line("https://api.example.org/fhir");
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).expect("it is JSON")
    }

    fn codes(line: &Value) -> Vec<&str> {
        line["subtype"].as_array().expect("it is one").iter().filter_map(|subtype| subtype["code"].as_str()).collect()
    }

    #[test]
    fn an_event_says_who_what_when_and_with_which_outcome() {
        let job = JobId::random();
        let line = line(&Event {
            list: Some("g".parse().expect("an id")),
            job: Some(job),
            file: Some("Patient/1.1.1.ndjson".to_owned()),
            ..event(Action::Link, 200)
        });
        assert_eq!(line["resourceType"], "AuditEvent");
        assert_eq!(line["recorded"], "2026-01-05T10:00:00.000Z");
        assert_eq!((&line["outcome"], &line["action"], codes(&line)), (&json!("0"), &json!("R"), vec!["link"]));
        assert_eq!(line["agent"][0]["who"]["identifier"]["value"], "north");
        assert_eq!(line["agent"][0]["network"], json!({"address": "127.0.0.1", "type": "2"}));
        assert_eq!(line["entity"][0]["what"]["reference"], "Group/g");
        let of_job = &line["entity"][1];
        assert_eq!(of_job["what"]["identifier"]["value"], job.to_string());
        assert_eq!(of_job["name"], "Patient/1.1.1.ndjson");
    }

    #[test]
    fn what_r4_demands_of_an_audit_event_is_always_there() {
        for action in [
            Action::KickOff,
            Action::Manifest,
            Action::Link,
            Action::Download,
            Action::Delete,
            Action::Token,
            Action::Poll,
            Action::Read,
        ] {
            let line = line(&Event { client: None, address: None, ..event(action, 500) });
            assert!(line["type"]["code"].is_string() && line["recorded"].is_string(), "{line}");
            assert_eq!(line["agent"][0]["requestor"], true);
            assert!(line["source"]["observer"].is_object());
            assert!(line.get("entity").is_none(), "an empty array is no FHIR");
            assert_eq!(line["outcome"], "8");
        }
    }

    #[test]
    fn whoever_has_not_proven_who_it_is_is_not_told_as_who() {
        let claimed = Some(ClientId("north".to_owned()));
        let line = line(&Event { client: None, claimed, ..event(Action::Token, 400) });
        assert_eq!((&line["agent"][0]["altId"], line["agent"][0].get("who")), (&json!("north"), None));
    }

    #[test]
    fn a_refusal_is_marked_as_one() {
        for (action, status, codes_of, outcome) in [
            (Action::KickOff, 202, vec!["kick-off"], "0"),
            (Action::KickOff, 400, vec!["kick-off"], "4"),
            (Action::KickOff, 401, vec!["kick-off", "refusal"], "4"),
            (Action::KickOff, 403, vec!["kick-off", "refusal"], "4"),
            (Action::KickOff, 404, vec!["kick-off", "refusal"], "4"),
            (Action::KickOff, 503, vec!["kick-off"], "8"),
            (Action::Token, 400, vec!["token", "refusal"], "4"),
            (Action::Token, 503, vec!["token"], "8"),
        ] {
            let line = line(&event(action, status));
            assert_eq!((codes(&line), line["outcome"].as_str()), (codes_of, Some(outcome)), "{status}");
        }
    }
}
