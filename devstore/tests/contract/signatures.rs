//! Who may: signatures, expiry, and links that work for exactly what they were made for.

use aws_sdk_s3::config::retry::RetryConfig;
use reqwest::StatusCode;

use crate::on_both;
use crate::trial::{BUCKET, Trial, client, expired, refusal, refused, valid};

on_both!(
    a_link_works_for_whoever_has_it,
    a_link_may_say_how_the_answer_is_presented,
    a_link_past_its_time_is_refused,
    a_link_that_was_changed_is_refused,
    another_secret_is_refused,
    nobody_is_refused,
);

async fn link(t: &Trial) -> String {
    t.put("dir/k", "0123456789").await;
    t.get("dir/k").presigned(valid()).await.unwrap().uri().to_owned()
}

async fn status(url: &str) -> StatusCode {
    reqwest::get(url).await.unwrap().status()
}

async fn a_link_works_for_whoever_has_it(t: &Trial) {
    let url = link(t).await;
    let got = reqwest::get(&url).await.unwrap();
    assert_eq!(got.status(), 200);
    assert_eq!(got.headers()["content-length"], "10");
    assert_eq!(got.text().await.unwrap(), "0123456789");
    let part = reqwest::Client::new().get(&url).header("range", "bytes=2-3").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-3/10");
    assert_eq!(part.text().await.unwrap(), "23");

    let put = t.s3.put_object().bucket(BUCKET).key("up").presigned(valid()).await.unwrap();
    let put = reqwest::Client::new().put(put.uri()).body("by link").send().await.unwrap();
    assert_eq!(put.status(), 200);
    let up = t.get("up").send().await.unwrap();
    assert_eq!(up.content_type.as_deref(), Some("binary/octet-stream"), "what AWS says when nobody said a type");
    assert_eq!(up.body.collect().await.unwrap().to_vec(), b"by link");
}

async fn a_link_may_say_how_the_answer_is_presented(t: &Trial) {
    t.put("k", "{}").await;
    let get = t.get("k").response_content_type("application/fhir+ndjson").response_content_encoding("identity");
    let get = get.response_content_disposition("attachment").response_cache_control("private");
    let got = reqwest::get(get.presigned(valid()).await.unwrap().uri()).await.unwrap();
    for (header, value) in [
        ("content-type", "application/fhir+ndjson"),
        ("content-encoding", "identity"),
        ("content-disposition", "attachment"),
        ("cache-control", "private"),
    ] {
        assert_eq!(got.headers().get_all(header).iter().collect::<Vec<_>>(), [value]);
    }
}

async fn a_link_past_its_time_is_refused(t: &Trial) {
    t.put("k", "x").await;
    let old = t.get("k").presigned(expired()).await.unwrap();
    let got = reqwest::get(old.uri()).await.unwrap();
    assert_eq!(got.status(), 403);
    assert!(got.text().await.unwrap().contains("AccessDenied"));
}

async fn a_link_that_was_changed_is_refused(t: &Trial) {
    let url = link(t).await;
    t.put("dir/other", "secret").await;
    assert_eq!(status(&url.replace("dir/k", "dir/other")).await, 403);
    assert_eq!(status(&url.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000")).await, 403);
    assert_eq!(status(&format!("{url}&response-content-type=text%2Fhtml")).await, 403);
    let (start, last) = url.split_at(url.len() - 1);
    let forged = if last == "0" { "1" } else { "0" };
    assert!(start.contains("X-Amz-Signature"), "the signature stands last, or this test forges something else");
    assert_eq!(status(&format!("{start}{forged}")).await, 403);
    let head = reqwest::Client::new().head(&url).send().await.unwrap();
    assert_eq!(head.status(), 403, "a link to GET is no link to HEAD");
}

async fn another_secret_is_refused(t: &Trial) {
    t.put("k", "x").await;
    let stranger = client(&t.store, "guessed", RetryConfig::disabled());
    let get = || stranger.get_object().bucket(BUCKET).key("k");
    assert_eq!(refusal(get().send().await), refused(403, "SignatureDoesNotMatch"));
    assert_eq!(status(get().presigned(valid()).await.unwrap().uri()).await, 403);
}

async fn nobody_is_refused(t: &Trial) {
    t.put("k", "x").await;
    let object = format!("{}/{BUCKET}/k", t.store.endpoint());
    assert_eq!(status(&object).await, 403);
    assert_eq!(status(&format!("{}/{BUCKET}?list-type=2", t.store.endpoint())).await, 403);
    let put = reqwest::Client::new().put(&object).body("y").send().await.unwrap();
    assert_eq!(put.status(), 403);
    assert_eq!(t.body("k").await, b"x");
}
