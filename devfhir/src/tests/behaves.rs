use serde_json::{Value, json};

use super::{client, get, gunzipped, next, pages, patient, rows, sent, start, with_patients};
use crate::{FhirServer, Options, without_stamp};

#[tokio::test]
async fn what_is_read_is_what_was_loaded_but_for_the_stamp() {
    let server = with_patients(&["a"]);
    let got = get(&server, "Patient/a").await;
    assert_eq!(
        (got.status, got.header("content-type"), got.header("etag")),
        (200, "application/fhir+json", r#"W/"1""#)
    );
    assert!(got.header("last-modified").ends_with(" GMT"));
    assert_eq!(got.json()["meta"]["versionId"], "1");
    assert_eq!(without_stamp(&got.text), patient("a"));
    let again = client().get(format!("{}/Patient/a", server.base())).header("if-none-match", r#"W/"1""#);
    let again = sent(again).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_goes_on_counting_when_it_comes_back() {
    let server = with_patients(&["a"]);
    server.delete("Patient", "a");
    let gone = get(&server, "Patient/a").await;
    assert_eq!((gone.status, &gone.json()["resourceType"]), (410, &json!("OperationOutcome")));
    assert_eq!(get(&server, "Patient/never").await.status, 404);
    assert_eq!(get(&server, "Patient?_id=a").await.json()["total"], 0);
    server.load(&[patient("a")]);
    assert_eq!(get(&server, "Patient/a").await.header("etag"), r#"W/"2""#);
    assert_eq!(get(&server, "Patient/a/_history/1").await.status, 200);
    assert_eq!(get(&server, "Patient/a/_history/2").await.status, 200);
    assert_eq!(get(&server, "Patient/a/_history/3").await.status, 404);
}

#[tokio::test]
async fn a_history_tells_each_change_the_newest_first() {
    let server = with_patients(&["a", "b"]);
    server.load(&[r#"{"resourceType":"Patient","id":"a"}"#]);
    server.delete("Patient", "a");
    server.load(&[patient("a")]);
    let bundle = get(&server, "Patient/a/_history").await.json();
    assert_eq!((&bundle["type"], &bundle["total"]), (&json!("history"), &json!(4)));
    let entries = bundle["entry"].as_array().expect("there are changes");
    let told = |entry: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let response = &entry["response"];
        assert_eq!(entry["request"]["url"], "Patient/a");
        assert_eq!(entry["fullUrl"], format!("{}/Patient/a", server.base()));
        assert_eq!(entry["resource"].is_null(), entry["request"]["method"] == "DELETE");
        (text(&entry["request"]["method"]), text(&response["status"]), text(&response["etag"]))
    };
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        (some("PUT"), some("201"), some(r#"W/"3""#)),
        (some("DELETE"), some("204"), None),
        (some("PUT"), some("200"), some(r#"W/"2""#)),
        (some("POST"), some("201"), some(r#"W/"1""#)),
    ];
    assert_eq!(entries.iter().map(told).collect::<Vec<_>>(), expected);
    let deleted = entries[1]["response"]["lastModified"].as_str().expect("it has a time");
    let since = get(&server, &format!("Patient/_history?_since={deleted}")).await.json();
    assert_eq!(since["total"], 2, "the deletion and what came after it");
    let times: Vec<_> = pages(&server, "Patient/_history?_count=2").await;
    let times: Vec<_> = times.iter().flat_map(|page| page["entry"].as_array().cloned().unwrap_or_default()).collect();
    let times: Vec<_> = times.iter().map(|entry| entry["response"]["lastModified"].to_string()).collect();
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    assert_eq!(get(&server, "Patient/never/_history").await.status, 404);
    assert_eq!(get(&server, "Basic/_history").await.json()["total"], 0);
}

#[tokio::test]
async fn paging_visits_each_row_once_in_every_order() {
    let ids = ["e", "b", "d", "a", "c"];
    let server = with_patients(&ids);
    for (sort, expected) in [
        ("", ["e", "b", "d", "a", "c"]),
        ("&_sort=_lastUpdated", ["e", "b", "d", "a", "c"]),
        ("&_sort=-_lastUpdated", ["c", "a", "d", "b", "e"]),
        ("&_sort=_id", ["a", "b", "c", "d", "e"]),
    ] {
        let expected: Vec<_> = expected.iter().map(|id| format!("Patient/{id}")).collect();
        for only in ["", "&_id=a,b,c,d,e"] {
            let pages = pages(&server, &format!("Patient?_count=2{sort}{only}")).await;
            assert_eq!(pages.iter().map(|page| rows(page).len()).collect::<Vec<_>>(), [2, 2, 1], "{sort}{only}");
            assert_eq!(pages.iter().flat_map(rows).collect::<Vec<_>>(), expected, "{sort}{only}");
            assert!(pages.iter().all(|page| page["total"] == 5), "{sort}{only}");
        }
    }
}

#[tokio::test]
async fn a_page_is_no_longer_than_the_server_wants_it() {
    let server = FhirServer::start(Options { page: 2, ..Options::default() }).expect("a port can be had");
    server.load(&["a", "b", "c"].map(patient));
    assert_eq!(get(&server, "Patient?_count=50").await.rows(), ["Patient/a", "Patient/b"]);
    let counted = get(&server, "Patient?_summary=count").await.json();
    assert_eq!((&counted["total"], &counted["entry"], next(&counted)), (&json!(3), &Value::Null, None));
}

#[tokio::test]
async fn what_is_written_between_two_pages_comes_at_the_end_and_nothing_is_left_out() {
    let server = with_patients(&["a", "b", "c"]);
    let first = get(&server, "Patient?_count=2").await.json();
    server.load(&[r#"{"resourceType":"Patient","id":"a"}"#]);
    let second = sent(client().get(next(&first).expect("there is more"))).await;
    assert_eq!(second.rows(), ["Patient/c", "Patient/a"]);
}

#[tokio::test]
async fn a_search_tells_a_time_that_every_later_write_is_after() {
    let server = with_patients(&["a"]);
    for id in ["b", "c", "d"] {
        let bundle = get(&server, "Patient").await.json();
        let told = bundle["meta"]["lastUpdated"].as_str().expect("a time is told").to_owned();
        server.load(&[patient(id)]);
        let after = get(&server, &format!("Patient?_lastUpdated=gt{told}")).await;
        assert_eq!(after.rows(), [format!("Patient/{id}")]);
    }
}

#[tokio::test]
async fn a_search_by_post_is_the_same_search() {
    let server = with_patients(&["a", "b"]);
    let url = format!("{}/Patient/_search", server.base());
    let got = sent(client().post(&url).form(&[("_id", "b,a,never")])).await;
    assert_eq!((got.status, got.rows()), (200, vec!["Patient/a".to_owned(), "Patient/b".to_owned()]));
    let entry = &got.json()["entry"][0];
    assert_eq!(
        (&entry["search"]["mode"], &entry["fullUrl"]),
        (&json!("match"), &json!(format!("{}/Patient/a", server.base())))
    );
    assert_eq!(sent(client().post(&url).body("_id=a")).await.status, 415);
    let asked = server.requests().remove(0);
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str(), asked.status),
        ("POST", "/fhir/Patient/_search", Some(200))
    );
    assert_eq!(asked.form, [("_id".to_owned(), "b,a,never".to_owned())]);
}

#[tokio::test]
async fn only_the_elements_that_are_asked_for_come() {
    let server = start();
    server.load(&[r#"{"resourceType":"Patient","id":"a","active":true,"gender":"other"}"#]);
    let row = get(&server, "Patient?_elements=gender").await.json()["entry"][0]["resource"].clone();
    assert_eq!((&row["gender"], &row["active"], &row["id"]), (&json!("other"), &Value::Null, &json!("a")));
    assert_eq!(row["meta"]["tag"][0]["code"], "SUBSETTED");
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let server = with_patients(&["a", "b", "c"]);
    server.delete("Patient", "c");
    let ask = |method: &str, url: &str| json!({"request": {"method": method, "url": url}});
    let rows = [
        ("GET", "Patient/b"),
        ("GET", "Patient/never"),
        ("GET", "Patient/a"),
        ("GET", "Patient/c"),
        ("DELETE", "Patient/a"),
    ];
    let rows: Vec<_> = rows.iter().map(|(method, url)| ask(method, url)).collect();
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": rows});
    let got = sent(client().post(server.base()).json(&batch)).await;
    let bundle = got.json();
    assert_eq!((got.status, &bundle["type"]), (200, &json!("batch-response")));
    let entries = bundle["entry"].as_array().expect("there are answers");
    let statuses: Vec<_> =
        entries.iter().map(|entry| entry["response"]["status"].as_str().expect("it has a status")).collect();
    assert_eq!(statuses, ["200 OK", "404 Not Found", "200 OK", "410 Gone", "400 Bad Request"]);
    assert_eq!((&entries[0]["resource"]["id"], &entries[2]["resource"]["id"]), (&json!("b"), &json!("a")));
    assert_eq!(entries[1]["response"]["outcome"]["resourceType"], "OperationOutcome");
    let transaction = json!({"resourceType": "Bundle", "type": "transaction"});
    assert_eq!(sent(client().post(server.base()).json(&transaction)).await.status, 400);
}

#[tokio::test]
async fn a_client_that_takes_gzip_gets_it() {
    let server = with_patients(&["a"]);
    let request = client().get(format!("{}/Patient/a", server.base())).header("accept-encoding", "deflate, gzip;q=0.8");
    let response = request.send().await.expect("the server answers");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.expect("the body comes whole");
    assert_eq!(without_stamp(&gunzipped(&bytes)), patient("a"));
    assert_eq!(server.requests()[0].accept_encoding.as_deref(), Some("deflate, gzip;q=0.8"));
    assert_eq!(get(&server, "Patient/a").await.header("content-encoding"), "");
}

#[tokio::test]
async fn what_a_server_is_not_able_to_do_it_refuses() {
    let server = with_patients(&["a"]);
    assert_eq!(get(&server, "metadata").await.json()["rest"][0]["interaction"][0]["code"], "batch");
    server.abilities(|able| {
        able.id_search = false;
        able.post_search = false;
        able.batch = false;
        able.history = false;
        able.elements = false;
        able.last_updated = false;
        able.opaque_versions = true;
    });
    assert_eq!(get(&server, "metadata").await.json()["rest"][0]["interaction"], Value::Null);
    let refused = get(&server, "Patient?_id=a").await;
    assert_eq!((refused.status, &refused.json()["issue"][0]["code"]), (400, &json!("not-supported")));
    for (path, status) in [
        ("Patient", 200),
        ("Patient?_elements=id", 200),
        ("Patient?_lastUpdated=gt2999", 200),
        ("Patient/_history", 404),
        ("Patient/a/_history", 404),
        ("Patient/a/_history/1", 404),
    ] {
        let got = get(&server, path).await;
        assert_eq!(got.status, status, "{path}");
        assert!(status != 200 || got.rows() == ["Patient/a"], "{path}");
    }
    let strict = client().get(format!("{}/Patient?_lastUpdated=gt2999", server.base()));
    assert_eq!(sent(strict.header("prefer", "handling=strict")).await.status, 400);
    assert_eq!(
        sent(client().post(format!("{}/Patient/_search", server.base())).form(&[("_id", "a")])).await.status,
        405
    );
    assert_eq!(sent(client().post(server.base()).json(&json!({"type": "batch"}))).await.status, 405);
    server.load(&[r#"{"resourceType":"Patient","id":"a"}"#]);
    assert!(get(&server, "Patient/a").await.header("etag").len() > 15);
    server.abilities(|able| able.statement = false);
    assert_eq!(get(&server, "metadata").await.status, 404);
}

#[tokio::test]
async fn everything_else_is_not_there() {
    let server = with_patients(&["a"]);
    for path in ["", "patient/a", "Patient/a/b", "?_page=never", "Patient/a/_history/1/x"] {
        let got = get(&server, path).await;
        assert_eq!((got.status, &got.json()["resourceType"]), (404, &json!("OperationOutcome")), "{path}");
    }
    assert_eq!(sent(client().delete(format!("{}/Patient/a", server.base()))).await.status, 404);
    let outside = server.base().replace("/fhir", "/metadata");
    assert_eq!(sent(client().get(outside)).await.status, 404);
}

#[tokio::test]
async fn the_most_requests_at_once_are_counted() {
    let server = with_patients(&["a"]);
    get(&server, "Patient/a").await;
    get(&server, "Patient/a").await;
    assert_eq!(server.most_at_once(), 1);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_list_of_very_many_is_found_by_one_of_them_and_comes_whole() {
    let server = start();
    let member = |number: usize| format!(r#"{{"entity":{{"reference":"Patient/p{number}"}}}}"#);
    let members: Vec<_> = (0..200_000).map(member).collect();
    let group = format!(r#"{{"resourceType":"Group","id":"g","member":[{}]}}"#, members.join(","));
    server.load(&[&group]);
    let got = get(&server, "Group?member=Patient/p199999&_elements=type").await;
    assert_eq!(got.rows(), ["Group/g"]);
    assert!(got.text.len() < 1000, "the members were not asked for");
    assert_eq!(get(&server, "Group?member=Patient/p200000").await.json()["total"], 0);
    assert_eq!(without_stamp(&get(&server, "Group/g").await.text), group);
}

#[tokio::test]
async fn many_resources_are_found_by_their_ids() {
    let server = start();
    let patients: Vec<_> = (0..100_000).map(|number| patient(&format!("p{number}"))).collect();
    server.load(&patients);
    server.load(&patients);
    let ids: Vec<_> = (0..200).map(|number| format!("p{}", number * 499)).collect();
    let got = get(&server, &format!("Patient?_id={}", ids.join(","))).await;
    assert_eq!(got.rows().len(), 200);
    assert_eq!(got.json()["entry"][0]["resource"]["meta"]["versionId"], "1");
}
