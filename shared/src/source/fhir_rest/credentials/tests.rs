use std::path::Path;

use reqwest::Client;
use reqwest::header::AUTHORIZATION;

use super::*;

fn base() -> Url {
    Url::parse("https://fhir.example.org/r4").expect("it is a URL")
}

/// The `Authorization` with which a request to the server is sent, empty when there is none, and what tells it from others.
async fn sent(credentials: &Credentials) -> (String, Sent) {
    let request = Client::new().get("https://fhir.example.org/r4/Group/1");
    let authorized = credentials.authorize(request).await;
    let (request, sent) = authorized.unwrap_or_else(|fault| panic!("{fault}"));
    let request = request.build().expect("it can be built");
    let header = request.headers().get(AUTHORIZATION).map_or("", |value| value.to_str().expect("it is ASCII"));
    (header.to_owned(), sent)
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the folder for temporary files can be written to");
}

#[tokio::test]
async fn nobody_sends_nothing_anywhere() {
    let nobody = Credentials::nobody(&base());
    let (header, sent) = sent(&nobody).await;
    assert_eq!(header, "");
    assert!(!nobody.refused(sent).await);
}

#[tokio::test]
async fn a_password_is_sent_as_http_has_it_and_there_is_no_other() {
    // The example of RFC 7617 §2.
    let credentials = Credentials::password(&base(), "Aladdin", "open sesame").expect("HTTP can send it");
    let (header, sent) = sent(&credentials).await;
    assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(!credentials.refused(sent).await);
    assert_eq!(format!("{credentials:?}"), "Password");
    let fault = Credentials::password(&base(), "a:b", "s3cret").expect_err("HTTP cannot send it");
    assert!(fault.kind() == FaultKind::Invalid && !fault.to_string().contains("s3cret"), "{fault}");
}

#[tokio::test]
async fn credentials_are_sent_to_their_server_only() {
    let credentials = Credentials::password(&base(), "user", "s3cret").expect("HTTP can send it");
    let elsewhere = credentials.authorize(Client::new().get("https://other.example.org/r4/Group/1")).await;
    let fault = elsewhere.expect_err("it is another server");
    assert!(fault.kind() == FaultKind::Invalid && !fault.to_string().contains("s3cret"), "{fault}");
}

#[tokio::test]
async fn a_token_file_that_changes_is_read_again_and_makes_a_second_try_worth_it() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let file = folder.path().join("token");
    write(&file, "one\n");
    let credentials = Credentials::token_file(&base(), file.clone()).await.expect("there is a token");
    let (header, first) = sent(&credentials).await;
    assert_eq!(header, "Bearer one");
    assert!(!credentials.refused(first).await, "the file holds no other");
    write(&file, "two");
    assert!(credentials.refused(first).await);
    let (header, second) = sent(&credentials).await;
    assert_eq!(header, "Bearer two");
    assert!(credentials.refused(first).await, "somebody who comes later is to try with the new one");
    assert!(!credentials.refused(second).await);
    for broken in ["", "two words"] {
        write(&file, broken);
        assert_eq!(sent(&credentials).await, ("Bearer two".to_owned(), second), "{broken:?}");
    }
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!(sent(&credentials).await, ("Bearer two".to_owned(), second));
    write(&file, "three");
    assert_eq!(sent(&credentials).await.0, "Bearer three");
}

#[tokio::test]
async fn a_token_file_without_a_token_is_named_and_not_quoted() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let file = folder.path().join("token");
    for text in [None, Some(""), Some("s3cret s3cret"), Some("s3crét")] {
        if let Some(text) = text {
            write(&file, text);
        }
        let fault = Credentials::token_file(&base(), file.clone()).await.expect_err("there is no token");
        let said = fault.to_string();
        assert!(fault.kind() == FaultKind::Invalid && said.contains("token") && !said.contains("s3cr"), "{said}");
    }
}
