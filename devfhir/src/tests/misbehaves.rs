use std::time::Duration;

use serde_json::{Value, json};

use super::{client, get, next, pages, rows, sent, with_patients};
use crate::{Fault, FhirServer, Harm, Requests};

/// Five Patients, and a fault.
fn spoiled(fault: Fault) -> FhirServer {
    let server = with_patients(&["a", "b", "c", "d", "e"]);
    server.misbehave(fault);
    server
}

fn patients(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| format!("Patient/{id}")).collect()
}

#[tokio::test]
async fn a_status_comes_with_an_outcome_as_often_as_it_was_told_and_then_no_more() {
    let server = spoiled(Fault::new(Harm::Status(503, Some("7".to_owned()))).on(Requests::Search).first(1));
    assert_eq!(get(&server, "Patient/a").await.status, 200);
    let refused = get(&server, "Patient").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "7"));
    assert_eq!(refused.json()["resourceType"], "OperationOutcome");
    assert_eq!(get(&server, "Patient").await.status, 200);
    assert_eq!(server.met(), 1);
    let statuses: Vec<_> = server.requests().iter().map(|asked| asked.status).collect();
    assert_eq!(statuses, [Some(200), Some(503), Some(200)]);
}

#[tokio::test]
async fn a_server_that_is_told_to_behave_does() {
    let server = spoiled(Fault::new(Harm::NotJson));
    let page = get(&server, "metadata").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert!(page.text.starts_with("<!DOCTYPE html>"));
    server.behave();
    server.misbehave(Fault::new(Harm::NoServer));
    let page = get(&server, "metadata").await;
    assert_eq!((page.status, page.header("content-type")), (404, "text/html"));
    server.behave();
    assert_eq!(get(&server, "metadata").await.json()["resourceType"], "CapabilityStatement");
    assert_eq!(server.met(), 2);
}

#[tokio::test]
async fn a_total_is_one_too_many() {
    let server = spoiled(Fault::new(Harm::WrongTotal));
    assert_eq!(get(&server, "Patient?_id=a,b").await.json()["total"], 3);
}

#[tokio::test]
async fn rows_come_twice_and_the_first_of_a_page_on_the_next_again() {
    let server = spoiled(Fault::new(Harm::DuplicateRows));
    let pages = pages(&server, "Patient?_count=2").await;
    let expected = [patients(&["a", "a", "b", "b"]), patients(&["a", "c", "c", "d", "d"]), patients(&["c", "e", "e"])];
    assert_eq!(pages.iter().map(rows).collect::<Vec<_>>(), expected);
    assert_eq!(server.met(), 3);
}

#[tokio::test]
async fn the_last_page_leads_to_the_first() {
    let server = spoiled(Fault::new(Harm::CyclicNext).first(1));
    let pages = pages(&server, "Patient?_count=3").await;
    let all: Vec<_> = pages.iter().flat_map(rows).collect();
    assert_eq!(all, patients(&["a", "b", "c", "d", "e", "a", "b", "c", "d", "e"]));
    assert_eq!(server.met(), 1);
}

#[tokio::test]
async fn the_next_page_is_said_to_be_elsewhere() {
    let server = spoiled(Fault::new(Harm::NextElsewhere("https://elsewhere/r4".to_owned())));
    let url = next(&get(&server, "Patient?_count=3").await.json()).expect("there is more");
    assert!(url.starts_with("https://elsewhere/r4?_page="), "{url}");
    get(&server, "Patient").await;
    assert_eq!(server.met(), 1, "a page without a next one cannot be spoiled so");
}

#[tokio::test]
async fn a_slow_body_comes_whole_in_pieces_and_is_in_progress_until_then() {
    let server = spoiled(Fault::new(Harm::SlowBody(Duration::from_millis(1), 4)));
    assert_eq!(get(&server, "Patient").await.rows(), patients(&["a", "b", "c", "d", "e"]));
    let held = spoiled(Fault::new(Harm::SlowBody(Duration::from_hours(1), 2)));
    let url = format!("{}/Patient", held.base());
    let client = client();
    let [first, second] = [client.get(&url).send().await, client.get(&url).send().await];
    assert!([&first, &second].iter().all(|response| response.as_ref().is_ok_and(|response| response.status() == 200)));
    assert_eq!(held.most_at_once(), 2);
}

#[tokio::test]
async fn nothing_is_answered_before_a_slow_head() {
    let server = spoiled(Fault::new(Harm::SlowHead(Duration::from_hours(1))).containing("Patient/a"));
    let client = client();
    let mut slow = std::pin::pin!(client.get(format!("{}/Patient/a", server.base())).send());
    while server.requests().is_empty() {
        tokio::select! {
            _ = &mut slow => panic!("it is answered"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(get(&server, "Patient/b").await.status, 200);
    assert_eq!((server.requests()[0].status, server.most_at_once()), (None, 2));
}

#[tokio::test]
async fn a_truncated_body_is_framed_well_and_ends_in_the_middle() {
    let server = spoiled(Fault::new(Harm::TruncatedJson));
    let got = get(&server, "Patient").await;
    assert_eq!(got.header("content-length"), got.text.len().to_string());
    assert!(serde_json::from_str::<Value>(&got.text).is_err_and(|error| error.is_eof()), "{}", got.text);
}

#[tokio::test]
async fn a_broken_body_is_shorter_than_announced() {
    let server = spoiled(Fault::new(Harm::BrokenBody).first(1));
    let mut response = client().get(format!("{}/Patient", server.base())).send().await.expect("the head comes");
    let announced = response.content_length().expect("the length is announced");
    let mut read = 0;
    while let Ok(piece) = response.chunk().await {
        read += piece.expect("the body does not end, it breaks").len() as u64;
    }
    assert_eq!(read, announced / 2);
    assert_eq!((get(&server, "Patient").await.status, server.met()), (200, 1));
}

#[tokio::test]
async fn shuffled_rows_are_the_same_rows() {
    let server = spoiled(Fault::new(Harm::ShuffledRows));
    let mut rows = get(&server, "Patient").await.rows();
    let expected = patients(&["a", "b", "c", "d", "e"]);
    assert_ne!(rows, expected);
    rows.sort();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn missing_rows_are_missed_silently() {
    let server = spoiled(Fault::new(Harm::MissingRows));
    let bundle = get(&server, "Patient?_id=a,b,c,d,e").await.json();
    assert_eq!((rows(&bundle), &bundle["total"]), (patients(&["a", "c", "e"]), &Value::Null));
}

#[tokio::test]
async fn foreign_rows_are_of_the_same_and_of_another_type() {
    let server = spoiled(Fault::new(Harm::ForeignRows));
    let bundle = get(&server, "Patient?_id=a").await.json();
    let expected = ["Patient/nobody-asked-for-this", "Patient/a", "Basic/nobody-asked-for-this", "OperationOutcome/"];
    assert_eq!(rows(&bundle), expected);
    assert_eq!(bundle["entry"][3]["search"]["mode"], "outcome");
    assert_eq!(get(&server, "Patient?_count=1").await.rows().len(), 3);
}

#[tokio::test]
async fn a_server_that_ignores_ids_gives_all_on_every_page() {
    let server = spoiled(Fault::new(Harm::IgnoresId));
    let pages = pages(&server, "Patient?_id=b&_count=3").await;
    assert_eq!(pages.iter().flat_map(rows).collect::<Vec<_>>(), patients(&["a", "b", "c", "d", "e"]));
}

#[tokio::test]
async fn a_redirect_leads_elsewhere_or_to_where_it_is_answered() {
    let server = spoiled(Fault::new(Harm::Redirect { status: 307, to: "/moved".to_owned() }).first(1));
    let moved = get(&server, "Patient?_id=a").await;
    assert_eq!(moved.status, 307);
    assert_eq!(moved.header("location"), server.base().replace("/fhir", "/moved/Patient?_id=a"));
    assert_eq!(sent(client().get(moved.header("location"))).await.rows(), patients(&["a"]));
    let to = "https://elsewhere/r4".to_owned();
    server.misbehave(Fault::new(Harm::Redirect { status: 302, to }).on(Requests::Read));
    let elsewhere = get(&server, "Patient/a").await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (302, "https://elsewhere/r4/Patient/a"));
}

#[tokio::test]
async fn a_read_gives_something_else() {
    let server = spoiled(Fault::new(Harm::WrongType));
    let other = get(&server, "Patient/a").await.json();
    assert_eq!((&other["resourceType"], &other["id"]), (&json!("Basic"), &json!("a")));
    assert_eq!(get(&server, "Patient/never").await.status, 404);
    assert_eq!(get(&server, "Patient?_id=a").await.rows(), patients(&["a"]));
    assert_eq!(server.met(), 1);
}

#[tokio::test]
async fn small_pages_have_all_rows_in_the_end() {
    let server = spoiled(Fault::new(Harm::SmallPages(2)));
    let pages = pages(&server, "Patient?_count=4").await;
    let expected = [patients(&["a", "b"]), patients(&["c", "d"]), patients(&["e"])];
    assert_eq!(pages.iter().map(rows).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn too_many_ids_are_refused_whoever_asks_and_however() {
    let server = spoiled(Fault::new(Harm::TooManyIds(2)));
    assert_eq!(get(&server, "Patient?_id=a,b").await.status, 200);
    assert_eq!(get(&server, "Patient?_id=a,b,c").await.status, 413);
    let form = client().post(format!("{}/Patient/_search", server.base())).form(&[("_id", "a,b,c")]);
    assert_eq!(sent(form).await.status, 413);
    assert_eq!(server.met(), 2);
}

#[tokio::test]
async fn a_search_for_many_ids_is_slow() {
    let server = spoiled(Fault::new(Harm::SlowAboveIds(2, Duration::from_hours(1))));
    assert_eq!(get(&server, "Patient?_id=a,b").await.status, 200);
    let client = client();
    let mut slow = std::pin::pin!(client.get(format!("{}/Patient?_id=a,b,c", server.base())).send());
    while server.requests().len() < 2 {
        tokio::select! {
            _ = &mut slow => panic!("it is answered"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(server.requests()[1].status, None);
}

#[tokio::test]
async fn harms_add_up_and_each_spoiled_answer_counts_once() {
    let server = spoiled(Fault::new(Harm::ShuffledRows));
    server.misbehave(Fault::new(Harm::WrongTotal).containing("_count=2"));
    let pages = pages(&server, "Patient?_count=2").await;
    assert!(pages.iter().all(|page| page["total"] == 6), "the pages behind the first are matched as it is");
    assert_eq!(server.met(), 3);
}
