//! The audit trail: an event for each thing that it has to tell of, and nothing of any member.

use std::path::Path;
use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::access::key_pair::KeyKind;
use shared::settings::{Links, Settings};

use super::small_list;
use crate::harness::clients::{Client, RegisterFile};
use crate::harness::system::{System, issue, with_settings};
use crate::oracle::by_key;

/// An event in short: its codes, its outcome, who, which list, whether a job is named, and the file.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    codes: Vec<String>,
    outcome: String,
    who: Option<String>,
    claimed: Option<String>,
    list: Option<String>,
    job: Option<String>,
    file: Option<String>,
}

fn told(file: &Path) -> Vec<Told> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let read = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("each line is an event");
        assert_eq!(event["resourceType"], "AuditEvent");
        let entities: Vec<&Value> = event["entity"].as_array().into_iter().flatten().collect();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let job = entities.iter().find(|entity| entity["what"]["identifier"].is_object());
        Told {
            codes: event["subtype"].as_array().into_iter().flatten().filter_map(|one| text(&one["code"])).collect(),
            outcome: text(&event["outcome"]).expect("an event has an outcome"),
            who: text(&event["agent"][0]["who"]["identifier"]["value"]),
            claimed: text(&event["agent"][0]["altId"]),
            list: entities.iter().find_map(|entity| text(&entity["what"]["reference"])),
            job: job.and_then(|job| text(&job["what"]["identifier"]["value"])),
            file: job.and_then(|job| text(&job["name"])),
        }
    };
    text.lines().map(read).collect()
}

/// What is new since so many events.
fn since(file: &Path, known: &mut usize) -> Vec<Told> {
    let mut all = told(file);
    let new = all.split_off(*known);
    *known = all.len() + new.len();
    new
}

struct Trail {
    folder: tempfile::TempDir,
    north: Client,
    register: RegisterFile,
}

impl Trail {
    fn new() -> Self {
        let north = Client::new("north", KeyKind::Es384);
        let register = RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
        Self { folder: tempfile::tempdir().expect("a folder for temporary files can be had"), north, register }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("audit.ndjson")
    }

    fn settings(&self, settings: &mut Settings) {
        self.register.smart(settings);
        settings.audit = format!("file:{}", self.file().display());
    }
}

/// As [`with_settings`], with this trail.
async fn with_trail<F: Future<Output = ()>>(lines: &[String], trail: &Trail, story: impl FnOnce(Arc<System>) -> F) {
    with_settings(lines, |settings| trail.settings(settings), story).await;
}

fn event(codes: &[&str], outcome: &str, who: Option<&str>, list: Option<&str>, job: Option<&str>) -> Told {
    Told {
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        outcome: outcome.to_owned(),
        who: who.map(str::to_owned),
        claimed: None,
        list: list.map(str::to_owned),
        job: job.map(str::to_owned),
        file: None,
    }
}

#[tokio::test]
async fn each_step_of_an_export_is_one_event() {
    for links in [Links::Signed, Links::Gated] {
        let trail = &Trail::new();
        let (file, mut known) = (trail.file(), 0);
        let change = |settings: &mut Settings| {
            trail.settings(settings);
            settings.links = Some(links);
        };
        with_settings(&small_list(), change, |system| async move {
            let (who, list) = (Some("north"), Some("Group/g"));
            trail.north.acts(&system, "system/*.read").await;
            assert_eq!(since(&file, &mut known), [event(&["token"], "0", who, None, None)]);

            let polling = system.kick_off("/Group/g/$export?_type=Group,Patient").await;
            let job = polling.rsplit('/').next().map(str::to_owned);
            let job = job.as_deref();
            assert_eq!(since(&file, &mut known), [event(&["kick-off"], "0", who, list, job)]);

            let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
            let mut events = since(&file, &mut known).into_iter();
            assert_eq!(events.next(), Some(event(&["manifest"], "0", who, list, job)), "polls before it are no event");
            let items: Vec<&Value> = manifest["output"].as_array().into_iter().flatten().collect();
            assert_eq!(items.len(), 2);
            let expected = if links == Links::Signed { items.len() } else { 0 };
            let events: Vec<Told> = events.collect();
            assert_eq!(events.len(), expected, "a link that needs no token is an event, one that does is not");
            for (event, name) in events.iter().zip(["Group/", "Patient/"]) {
                assert_eq!((&event.codes[..], event.job.as_deref()), (&["link".to_owned()][..], job));
                assert!(event.file.as_ref().is_some_and(|file| file.starts_with(name)), "{event:?}");
            }

            for item in items {
                assert_eq!(system.download(item).await.status(), StatusCode::OK);
            }
            let downloads = since(&file, &mut known);
            assert_eq!(downloads.len(), if links == Links::Gated { 2 } else { 0 });
            assert!(downloads.iter().all(|event| event.codes == ["download"] && event.file.is_some()), "{downloads:?}");

            assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);
            assert_eq!(since(&file, &mut known), [event(&["delete"], "0", who, list, job)]);
        })
        .await;
    }
}

#[tokio::test]
async fn each_refusal_is_one_event_that_says_who_it_was_as_far_as_that_is_known() {
    let trail = &Trail::new();
    let (file, mut known) = (trail.file(), 0);
    with_trail(&small_list(), trail, |system| async move {
        let impostor = Client::new("north", KeyKind::Es384);
        let stranger = Client::new("stranger", KeyKind::Es384);
        for (client, claimed) in [(&impostor, Some("north")), (&stranger, None)] {
            assert_eq!(client.ask(&system, "system/*.read").await.status(), StatusCode::BAD_REQUEST);
            let refused = event(&["token", "refusal"], "4", None, None, None);
            let claimed = claimed.map(str::to_owned);
            assert_eq!(since(&file, &mut known), [Told { claimed, ..refused }]);
        }
        for (path, codes, list) in [
            ("/Group/g/$export", &["kick-off", "refusal"][..], Some("Group/g")),
            ("/Group/g", &["read", "refusal"], Some("Group/g")),
            ("/Patient/1", &["read", "refusal"], None),
            ("/Group?identifier=1", &["read", "refusal"], None),
        ] {
            assert_eq!(system.get(path).await.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(since(&file, &mut known), [event(codes, "4", None, list, None)], "{path}");
        }
        trail.north.acts(&system, "system/Group.read").await;
        since(&file, &mut known);
        let who = Some("north");
        let unknown = "00000000-0000-4000-8000-000000000000";
        for (path, status, codes, list, job) in [
            ("/Group/g/$export?_type=Patient", 403, &["kick-off", "refusal"][..], Some("Group/g"), None),
            ("/Group/x/$export", 404, &["kick-off", "refusal"], Some("Group/x"), None),
            ("/Group/g/$export?_since=yesterday", 400, &["kick-off"], Some("Group/g"), None),
            ("/Patient/1", 403, &["read", "refusal"], None, None),
            (&format!("/export/{unknown}"), 404, &["poll", "refusal"], None, Some(unknown)),
            (&format!("/export/{unknown}/Patient/1.1.1.ndjson"), 404, &["download", "refusal"], None, Some(unknown)),
        ] {
            assert_eq!(system.get(path).await.status().as_u16(), status, "{path}");
            assert_eq!(since(&file, &mut known), [event(codes, "4", who, list, job)], "{path}");
        }
        assert_eq!(system.delete(&format!("/export/{unknown}")).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(since(&file, &mut known), [event(&["delete", "refusal"], "4", who, None, Some(unknown))]);
        // What everybody may know is no event.
        assert_eq!(system.get("/metadata").await.status(), StatusCode::OK);
        assert_eq!(since(&file, &mut known), []);
    })
    .await;
}

#[tokio::test]
async fn each_read_and_search_is_one_event() {
    let trail = &Trail::new();
    let (file, mut known) = (trail.file(), 0);
    with_trail(&small_list(), trail, |system| async move {
        trail.north.acts(&system, "system/*.read").await;
        since(&file, &mut known);
        for (path, list) in [
            ("/Group/g", Some("Group/g")),
            ("/Group/g/_history", Some("Group/g")),
            ("/Group/g/_history/1", Some("Group/g")),
            ("/Patient/1", None),
            ("/Group?_id=g", None),
        ] {
            assert_eq!(system.get(path).await.status(), StatusCode::OK, "{path}");
            assert_eq!(since(&file, &mut known), [event(&["read"], "0", Some("north"), list, None)], "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_trail_says_nothing_of_any_member() {
    let trail = &Trail::new();
    let lines: Vec<String> = small_list().iter().map(|line| line.replace("Patient/1", "Patient/member-one")).collect();
    let lines: Vec<String> =
        lines.iter().map(|line| line.replace(r#""Patient","id":"1""#, r#""Patient","id":"member-one""#)).collect();
    with_trail(&lines, trail, |system| async move {
        trail.north.acts(&system, "system/*.read").await;
        let patient = json!({"name": "patient", "valueReference": {"reference": "Patient/member-one"}});
        system.export_by("/Group/g/$davinci-data-export", &[patient]).await;
        system.get("/Patient/member-one").await;
        system.get("/Patient/member-one/_history/9").await;
        system.get("/Group/g/$export?_typeFilter=Patient%3F_id%3Dmember-one").await;
        system.act_with(None);
        system.get("/Patient/member-one").await;
        system.get("/Patient/member-one/$export").await;
    })
    .await;
    let text = std::fs::read_to_string(trail.file()).expect("it was written");
    assert!(text.lines().count() > 5 && !text.contains("member-one"), "{text}");
    for key in by_key(lines).keys().filter(|key| !key.starts_with("Group/")) {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[tokio::test]
async fn when_the_trail_is_required_nothing_is_done_that_it_does_not_tell_of() {
    for required in [true, false] {
        // Linux has a device that is always full.
        let change = |settings: &mut Settings| {
            settings.audit = "file:/dev/full".to_owned();
            settings.audit_required = required;
        };
        with_settings(&small_list(), change, |system| async move {
            let response = system.get("/Group/g/$export").await;
            let jobs = system.platform.jobs.backlog(system.platform.clock.now()).await.expect("the store answers").jobs;
            if required {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(issue(response).await.0, "transient");
                assert_eq!(jobs, 0, "no job has begun");
                assert_eq!(system.get("/Group/not-there").await.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(system.get("/Group/g").await.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(system.get("/metadata").await.status(), StatusCode::OK, "what needs no event is answered");
            } else {
                assert_eq!((response.status(), jobs), (StatusCode::ACCEPTED, 1));
            }
        })
        .await;
    }
}

#[tokio::test]
async fn neither_a_manifest_nor_a_deletion_passes_without_its_event() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let file = &folder.path().join("audit.ndjson");
    let change = |settings: &mut Settings| {
        settings.audit = format!("file:{}", file.display());
        settings.audit_required = true;
    };
    with_settings(&small_list(), change, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        assert_eq!(system.ended(&polling).await.status(), StatusCode::OK);
        // From now on there is no way to write it.
        std::fs::remove_file(file).expect("it is there");
        std::os::unix::fs::symlink("/dev/full", file).expect("links can be made");
        assert_eq!(system.get(&polling).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(system.delete(&polling).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        std::fs::remove_file(file).expect("it is there");
        assert_eq!(system.get(&polling).await.status(), StatusCode::OK, "the job was not deleted");
        assert!(told(file).iter().any(|event| event.codes == ["manifest"]));
    })
    .await;
}
