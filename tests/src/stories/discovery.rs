//! How a client finds out what the server does, and which lists there are.

use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::settings::Settings;

use super::{member, patient, small_list};
use crate::harness::system::{PUBLIC_BASE, System, issue, with, with_settings};

async fn json(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK, "{}", response.url());
    response.json().await.expect("the answer is JSON")
}

async fn accepting(system: &System, url: &str, media_type: &str) -> Response {
    system.request(Method::GET, url).header(ACCEPT, media_type).send().await.expect("the API answers")
}

#[tokio::test]
async fn the_capability_statement_names_both_guides_and_every_operation() {
    with(&small_list(), |system| async move {
        let statement = json(system.get("/metadata").await).await;
        assert_eq!(statement["resourceType"], "CapabilityStatement");
        assert_eq!(statement["fhirVersion"], "4.0.1");
        let instantiates = statement["instantiates"].as_array().expect("it instantiates something");
        for url in [
            "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data",
            "http://hl7.org/fhir/us/davinci-atr/CapabilityStatement/atr-producer",
        ] {
            assert!(instantiates.contains(&json!(url)), "{url}");
        }
        assert_eq!(statement["rest"].as_array().map(Vec::len), Some(1), "some clients read the last one only");
        let rest = &statement["rest"][0];
        let resources = rest["resource"].as_array().expect("it names resources");
        assert_eq!(resources.len(), 8);
        let names = |operations: &Value| -> Vec<String> {
            let operations = operations.as_array().into_iter().flatten();
            operations.filter_map(|operation| operation["name"].as_str().map(str::to_owned)).collect()
        };
        let of = |name: &str| resources.iter().find(|resource| resource["type"] == name).expect("it is there");
        for (operations, expected) in [
            (&rest["operation"], &["export"][..]),
            (&of("Patient")["operation"], &["export", "patient-export"]),
            (&of("Group")["operation"], &["export", "group-export", "davinci-data-export"]),
        ] {
            let names = names(operations);
            for name in expected {
                assert!(names.contains(&(*name).to_owned()), "{name} in {names:?}");
            }
        }
        let parameters = of("Group")["searchParam"].as_array().expect("Groups can be searched");
        for name in ["identifier", "characteristic", "name", "_id"] {
            assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_capability_statement_comes_in_the_form_that_is_asked_for() {
    with(&small_list(), |system| async move {
        for (url, accept, media_type) in [
            ("/metadata", "application/fhir+json", "application/fhir+json"),
            ("/metadata", "application/json", "application/json"),
            ("/metadata", "text/html, application/json;q=0.9, */*;q=0.1", "application/json"),
            ("/metadata?_format=json", "*/*", "application/fhir+json"),
            ("/metadata?_format=application/fhir+json", "*/*", "application/fhir+json"),
        ] {
            let response = accepting(&system, url, accept).await;
            assert_eq!(response.status(), StatusCode::OK, "{url} {accept}");
            let found = response.headers()[CONTENT_TYPE].to_str().expect("it is text");
            assert!(found.starts_with(media_type), "{url} {accept}: {found}");
        }
        for (url, accept) in [("/metadata", "application/fhir+xml"), ("/metadata?_format=xml", "*/*")] {
            let response = accepting(&system, url, accept).await;
            assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE, "{url} {accept}");
            issue(response).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_smart_configuration_is_there_when_there_is_somewhere_to_get_a_token() {
    let with_token = |settings: &mut Settings| settings.token_url = "https://login.example.org/token".to_owned();
    with_settings(&small_list(), with_token, |system| async move {
        let response = accepting(&system, "/.well-known/smart-configuration", "text/html").await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let configuration = json(response).await;
        assert_eq!(configuration["token_endpoint"], "https://login.example.org/token");
        assert_eq!(configuration["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
        assert_eq!(configuration["token_endpoint_auth_signing_alg_values_supported"], json!(["RS384", "ES384"]));
        let scopes = configuration["scopes_supported"].as_array().expect("scopes are listed");
        assert!(scopes.contains(&json!("system/*.read")) && scopes.contains(&json!("system/Patient.rs")));
        let statement = json(system.get("/metadata").await).await;
        let security = statement["rest"][0]["security"].to_string();
        assert!(security.contains("oauth-uris") && security.contains("https://login.example.org/token"), "{security}");
    })
    .await;
    with(&small_list(), |system| async move {
        let response = system.get("/.well-known/smart-configuration").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        issue(response).await;
    })
    .await;
}

#[tokio::test]
async fn the_definitions_of_the_operations_can_be_read() {
    with(&small_list(), |system| async move {
        let bundle = json(system.get("/OperationDefinition").await).await;
        let entries = bundle["entry"].as_array().expect("there are some");
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let url = entry["resource"]["url"].as_str().expect("it has a url");
            let definition = json(system.get(url).await).await;
            assert_eq!(definition["resourceType"], "OperationDefinition");
            assert!(definition["parameter"].as_array().is_some_and(|parameters| !parameters.is_empty()), "{url}");
        }
    })
    .await;
}

/// Three lists of two organizations.
fn lists() -> Vec<String> {
    let list = |id: &str, name: &str, npi: &str, tin: &str| {
        format!(
            r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":true,"name":"{name}","identifier":[{{"system":"http://hl7.org/fhir/sid/us-npi","value":"{npi}","type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"NPI"}}]}}}},{{"system":"urn:oid:2.16.840.1.113883.4.4","value":"{tin}"}}],"characteristic":[{{"code":{{"coding":[{{"system":"c","code":"attributed-to"}}]}},"valueReference":{{"reference":"Organization/1"}},"exclude":false}}],"member":[{}]}}"#,
            member("Patient/1", "Coverage/1", "Organization/1")
        )
    };
    vec![
        list("a", "North Clinic 2026", "111", "9-1"),
        list("b", "North Clinic 2025", "111", "9-2"),
        list("c", "South Clinic 2026", "222", "9-1"),
        patient("1"),
    ]
}

async fn found(system: &System, query: &str) -> Vec<String> {
    let bundle = json(system.get(&format!("/Group?{query}")).await).await;
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&json!("Bundle"), &json!("searchset")), "{query}");
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["search"]["mode"], "match");
            assert_eq!(entry["resource"]["member"], Value::Null, "a list may have millions of members");
            let id = entry["resource"]["id"].as_str().expect("it has an id").to_owned();
            assert_eq!(entry["fullUrl"], json!(format!("{PUBLIC_BASE}/Group/{id}")));
            id
        })
        .collect()
}

#[tokio::test]
async fn lists_are_found_by_identifier_in_both_forms_by_name_characteristic_and_id() {
    with(&lists(), |system| async move {
        for (query, expected) in [
            ("identifier=http://hl7.org/fhir/sid/us-npi|111", &["a", "b"][..]),
            ("identifier=http://hl7.org/fhir/sid/us-npi%7C111&identifier=urn:oid:2.16.840.1.113883.4.4%7C9-1", &["a"]),
            ("identifier=http://terminology.hl7.org/CodeSystem/v2-0203|NPI|222", &["c"]),
            ("identifier=111,222", &["a", "b", "c"]),
            ("identifier=urn:oid:2.16.840.1.113883.4.4|111", &[]),
            ("name=north", &["a", "b"]),
            ("name:contains=2026", &["a", "c"]),
            ("_id=b,c", &["b", "c"]),
            ("characteristic=attributed-to&name=South", &["c"]),
            ("", &["a", "b", "c"]),
        ] {
            assert_eq!(found(&system, query).await, expected, "{query}");
        }
        let by_post = system
            .request(Method::POST, "/Group/_search")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("name=South")
            .send()
            .await
            .expect("the API answers");
        assert_eq!(json(by_post).await["entry"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_search_is_paged_by_links_below_the_public_base() {
    with(&lists(), |system| async move {
        let mut url = format!("{PUBLIC_BASE}/Group?_count=2");
        let mut seen = Vec::new();
        loop {
            let bundle = json(system.get(&url).await).await;
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            assert!(entries.len() <= 2);
            seen.extend(entries.iter().filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned)));
            let links = bundle["link"].as_array().expect("there is always a self link");
            match links.iter().find(|link| link["relation"] == "next") {
                Some(next) => next["url"].as_str().expect("a link has a url").clone_into(&mut url),
                None => break,
            }
            assert!(url.starts_with(PUBLIC_BASE), "{url}");
        }
        assert_eq!(seen, ["a", "b", "c"]);
        let count = json(system.get("/Group?_summary=count").await).await;
        assert_eq!((&count["total"], &count["entry"]), (&json!(3), &Value::Null));
        let summary = json(system.get("/Group?_id=a&_summary=true").await).await;
        assert_eq!(summary["entry"][0]["resource"]["meta"]["tag"][0]["code"], "SUBSETTED");
    })
    .await;
}

#[tokio::test]
async fn a_search_that_is_not_understood_is_refused_by_the_name_of_the_parameter() {
    with(&lists(), |system| async move {
        for query in ["nonsense=1", "member=Patient/1", "_count=many", "_summary=perhaps", "period=yesterday"] {
            let response = system.get(&format!("/Group?{query}")).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
            let name = query.split('=').next().expect("it has a name");
            assert!(issue(response).await.1.contains(name), "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_resource_is_read_with_its_version_and_read_again_only_when_it_has_changed() {
    with(&small_list(), |system| async move {
        for key in ["Patient/1", "Coverage/1", "Organization/payer", "Location/1", "Group/g"] {
            let response = system.get(&format!("/{key}")).await;
            assert_eq!(response.status(), StatusCode::OK, "{key}");
            assert_eq!(response.headers()[ETAG], "W/\"1\"");
            assert!(response.headers()[LAST_MODIFIED].to_str().is_ok_and(|date| date.ends_with(" GMT")));
            let resource = json(response).await;
            assert_eq!(
                format!(
                    "{}/{}",
                    resource["resourceType"].as_str().unwrap_or_default(),
                    resource["id"].as_str().unwrap_or_default()
                ),
                key
            );
            assert_eq!(resource["meta"]["versionId"], "1");
            let request = system.request(Method::GET, &format!("/{key}")).header(IF_NONE_MATCH, "W/\"1\"");
            assert_eq!(request.send().await.expect("the API answers").status(), StatusCode::NOT_MODIFIED, "{key}");
        }
        let group = json(system.get("/Group/g").await).await;
        assert_eq!(group["member"].as_array().map(Vec::len), Some(2), "a Group is read with its members");
        let summary = json(system.get("/Group/g?_summary=true").await).await;
        assert_eq!((&summary["member"], &summary["meta"]["tag"][0]["code"]), (&Value::Null, &json!("SUBSETTED")));
        let text = system.get("/Patient/1").await.text().await.expect("it is text");
        assert!(text.contains("1.10"), "numbers keep their digits: {text}");
    })
    .await;
}

#[tokio::test]
async fn every_version_of_a_resource_can_be_read_and_its_end_is_told() {
    with(&small_list(), |system| async move {
        system.load(&[r#"{"resourceType":"Patient","id":"1","active":false}"#.to_owned()]).await;
        let first = json(system.get("/Patient/1/_history/1").await).await;
        assert_eq!(first["active"], json!(true));
        let second = json(system.get("/Patient/1/_history/2").await).await;
        assert_eq!(second["active"], json!(false));
        assert_eq!(system.get("/Patient/1/_history/3").await.status(), StatusCode::NOT_FOUND);
        system.unload("Patient/1").await;
        let gone = system.get("/Patient/1").await;
        assert_eq!(gone.status(), StatusCode::GONE);
        issue(gone).await;
        let history = json(system.get("/Patient/1/_history").await).await;
        assert_eq!(history["type"], "history");
        let methods: Vec<&str> = history["entry"]
            .as_array()
            .expect("it has entries")
            .iter()
            .filter_map(|entry| entry["request"]["method"].as_str())
            .collect();
        assert_eq!(methods, ["DELETE", "PUT", "POST"]);
    })
    .await;
}

#[tokio::test]
async fn a_group_is_read_as_it_was_in_each_version_with_the_members_of_that_time() {
    with(&small_list(), |system| async move {
        system.load(&[super::group(&[member("Patient/1", "Coverage/1", "Organization/clinic")])]).await;
        let first = json(system.get("/Group/g/_history/1").await).await;
        assert_eq!(first["member"].as_array().map(Vec::len), Some(2));
        let second = json(system.get("/Group/g").await).await;
        assert_eq!((second["member"].as_array().map(Vec::len), &second["meta"]["versionId"]), (Some(1), &json!("2")));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_to_be_read_is_404() {
    with(&small_list(), |system| async move {
        for url in
            ["/Patient/unknown", "/Observation/1", "/Patient/1/_history/x", "/Nonsense/1", "/Patient/unknown/_history"]
        {
            let response = system.get(url).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{url}");
            issue(response).await;
        }
    })
    .await;
}
