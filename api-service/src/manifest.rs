//! The manifest: computed from the job and its outputs at every poll, never stored (design §4.4). Pure.

use serde::Serialize;
use shared::export::{Job, Output, OutputKind};
use shared::fhir::ResourceType;

/// A file and the link to it.
pub struct Link {
    /// The file.
    pub output: Output,
    /// Where a client gets it.
    pub url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    transaction_time: String,
    request: &'a str,
    requires_access_token: bool,
    output: Vec<Item>,
    deleted: [Item; 0],
    error: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    r#type: ResourceType,
    url: String,
    count: u64,
}

/// The manifest of a completed job as JSON (standards §1.5): all arrays are there, also when they are empty; files of one
/// type stand together, the types in the order of the ATR guide.
pub fn manifest(job: &Job, mut links: Vec<Link>, requires_access_token: bool) -> String {
    let rank = |resource_type: ResourceType| {
        ResourceType::ATTRIBUTION
            .iter()
            .position(|listed| *listed == resource_type)
            .unwrap_or(ResourceType::ATTRIBUTION.len())
    };
    links.sort_by_key(|Link { output, .. }| (rank(output.key.resource_type), output.key.clone()));
    let (mut output, mut error) = (Vec::new(), Vec::new());
    for Link { output: Output { key, kind, lines, .. }, url } in links {
        let item = Item { r#type: key.resource_type, url, count: lines };
        match kind {
            OutputKind::Output => output.push(item),
            OutputKind::Error => error.push(item),
        }
    }
    let transaction_time = job.transaction_time.unwrap_or(job.created_at).to_string();
    let manifest =
        Manifest { transaction_time, request: &job.request.url, requires_access_token, output, deleted: [], error };
    serde_json::to_string(&manifest).expect("a manifest is made of strings and numbers")
}

#[cfg(test)]
mod tests {
    use shared::export::{
        Anchor, Attempt, ClientId, ExportRequest, JobId, JobState, Operation, OutputKey, Progress, TaskNo,
    };
    use shared::fhir::Instant;

    use super::*;

    #[test]
    fn files_stand_in_the_order_of_the_guide_and_errors_by_themselves() {
        let now = Instant::from_unix_millis(1_767_607_200_000);
        let request = ExportRequest {
            anchor: Anchor::Group("g".parse().expect("it is an id")),
            operation: Operation::Export,
            url: "https://api.example.org/fhir/Group/g/$export".to_owned(),
            types: None,
            since: None,
        };
        let job = Job {
            id: JobId::random(),
            client: ClientId("c".to_owned()),
            request,
            created_at: now,
            state: JobState::Completed,
            transaction_time: Some(now),
            progress: Progress::default(),
            ended_at: Some(now),
            expires_at: Some(now),
            failure: None,
        };
        let link = |resource_type, kind, task, lines| Link {
            output: Output {
                key: OutputKey { job: job.id, resource_type, task: TaskNo(task), attempt: Attempt(1), number: 0 },
                kind,
                lines,
                bytes: 0,
            },
            url: format!("u{task}"),
        };
        let links = vec![
            link(ResourceType::LOCATION, OutputKind::Output, 4, 1),
            link(ResourceType::PATIENT, OutputKind::Output, 3, 5),
            link(ResourceType::OPERATION_OUTCOME, OutputKind::Error, 3, 2),
            link(ResourceType::PATIENT, OutputKind::Output, 2, 7),
            link(ResourceType::GROUP, OutputKind::Output, 1, 1),
        ];
        assert_eq!(
            manifest(&job, links, false),
            r#"{"transactionTime":"2026-01-05T10:00:00.000Z","request":"https://api.example.org/fhir/Group/g/$export","requiresAccessToken":false,"output":[{"type":"Group","url":"u1","count":1},{"type":"Patient","url":"u2","count":7},{"type":"Patient","url":"u3","count":5},{"type":"Location","url":"u4","count":1}],"deleted":[],"error":[{"type":"OperationOutcome","url":"u3","count":2}]}"#
        );
    }
}
