//! The payer's own FHIR server as the source: what it adds to the stories that are told of every source.

mod access;
mod programs;

use devfhir::Harm::{BrokenBody, DuplicateRows, MissingRows, ShuffledRows, SmallPages, Status, TruncatedJson};
use devfhir::{Fault, FhirServer, Options, Requests};
use reqwest::StatusCode;
use serde_json::Value;

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::system::{issue, on_fhir_server};

fn server() -> FhirServer {
    FhirServer::start(Options::default()).expect("there is a free port")
}

/// Members with a Coverage each, all of one payer.
fn many(members: usize) -> Vec<String> {
    let named: Vec<String> = (0..members)
        .map(|n| member(&format!("Patient/{n}"), &format!("Coverage/{n}"), "Organization/clinic"))
        .collect();
    let payor = r#""payor":[{"reference":"Organization/payer"}]"#;
    let resources = (0..members).flat_map(|n| [patient(&n.to_string()), coverage(&n.to_string(), payor)]);
    let organizations = ["payer", "clinic"].map(|id| plain("Organization", id));
    resources.chain(organizations).chain([group(&named)]).collect()
}

#[tokio::test]
async fn a_server_that_misbehaves_now_and_then_is_exported_whole() {
    let settings = |settings: &mut shared::settings::Settings| {
        (settings.slice_ids, settings.page_ids, settings.source_request_ids) = (40, 30, 7);
    };
    on_fhir_server(server(), settings, |system| async move {
        system.load(&many(150)).await;
        let faults = [
            Fault::new(Status(500, None)).every(7),
            Fault::new(Status(429, Some("0".to_owned()))).every(13),
            Fault::new(BrokenBody).every(11),
            Fault::new(TruncatedJson).every(17),
            Fault::new(SmallPages(3)).on(Requests::Search).every(2),
            Fault::new(DuplicateRows).on(Requests::Search).every(3),
            Fault::new(ShuffledRows).on(Requests::Search).every(2),
            Fault::new(MissingRows).on(Requests::Search).every(5),
        ];
        system.fhir_server(|server| faults.into_iter().for_each(|fault| server.misbehave(fault))).await;
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.reached, system.expected("g").await);
        assert!(system.fhir_server(FhirServer::met).await > 10);
    })
    .await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_fails_its_job_and_says_why() {
    let few_tries = |settings: &mut shared::settings::Settings| settings.task_attempts = 2;
    on_fhir_server(server(), few_tries, |system| async move {
        system.load(&small_list()).await;
        // The kick-off finds the list as it should be.
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        let cut_short = Fault::new(TruncatedJson).containing("Group/g");
        system.fhir_server(|server| server.misbehave(cut_short)).await;
        system.start_worker().await;
        let ended = system.ended(&polling).await;
        assert_eq!(ended.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let (_, diagnostics) = issue(ended).await;
        assert!(diagnostics.contains("cannot be read"), "{diagnostics}");
    })
    .await;
}

#[tokio::test]
async fn absolute_references_to_the_server_are_its_own_and_others_are_told_and_never_fetched() {
    let other = server();
    let elsewhere = format!("{}/Organization/foreign", other.base());
    on_fhir_server(
        server(),
        |_| {},
        |system| async move {
            let base = system.fhir_server(FhirServer::base).await;
            let payors =
                format!(r#""payor":[{{"reference":"{base}/Organization/payer"}},{{"reference":"{elsewhere}"}}]"#);
            let listed = member(&format!("{base}/Patient/1"), "Coverage/1", &format!("{base}/Organization/clinic"));
            let lines = [
                group(&[listed]),
                patient("1"),
                coverage("1", &payors),
                plain("Organization", "payer"),
                plain("Organization", "clinic"),
            ];
            system.load(&lines).await;
            let exported = system.export("/Group/g/$export").await;
            let expected = ["Coverage/1", "Group/g", "Organization/clinic", "Organization/payer", "Patient/1"];
            assert_eq!(exported.keys(), expected);
            let told: Vec<&Value> = exported.issues.iter().map(|issue| &issue["issue"][0]["diagnostics"]).collect();
            assert!(told.len() == 1 && told[0].as_str().is_some_and(|text| text.contains(&elsewhere)), "{told:?}");
        },
    )
    .await;
    assert_eq!(other.requests(), []);
}

#[tokio::test]
async fn what_an_interrupted_attempt_has_claimed_is_written_by_the_next_one() {
    on_fhir_server(
        server(),
        |_| {},
        |system| async move {
            let led_to = |payer: &str| coverage("1", &format!(r#""payor":[{{"reference":"Organization/{payer}"}}]"#));
            let lines = [
                group(&[member("Patient/1", "Coverage/1", "Organization/clinic")]),
                patient("1"),
                led_to("first"),
                plain("Organization", "first"),
                plain("Organization", "second"),
                plain("Organization", "clinic"),
            ];
            system.load(&lines).await;
            let refuse = |server: &FhirServer| {
                server.abilities(|abilities| abilities.history = false);
                // The claim is made before it is asked for what was claimed.
                server.misbehave(Fault::new(Status(500, None)).containing("Organization?_id=first"));
            };
            system.fhir_server(refuse).await;
            let polling = system.kick_off("/Group/g/$export").await;
            let failed = async || system.metrics.attempts.with_label_values(&["listed", "retried"]).get() > 0;
            system.eventually("an attempt fails behind its claims", failed).await;
            // The next attempt is led elsewhere.
            system.load(&[led_to("second")]).await;
            system.fhir_server(FhirServer::behave).await;
            let exported = system.exported(&polling).await;
            let organizations: Vec<&str> =
                exported.keys().into_iter().filter(|key| key.starts_with("Organization/")).collect();
            assert_eq!(organizations, ["Organization/clinic", "Organization/first", "Organization/second"]);
        },
    )
    .await;
}
