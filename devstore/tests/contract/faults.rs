//! Failing on demand.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use devstore::{Failure, Requests};

use crate::on_both;
use crate::trial::{BUCKET, SECRET, Trial, bytes, client, refusal, refused};

on_both!(
    requests_are_refused_as_often_as_told,
    a_client_that_retries_gets_through,
    a_request_that_broke_off_was_not_carried_out,
    an_answer_that_broke_off_was_carried_out,
    a_download_breaks_off_halfway,
    a_delayed_request_is_carried_out,
);

fn puts() -> Requests {
    Requests::any().with_verb("PUT")
}

async fn requests_are_refused_as_often_as_told(t: &Trial) {
    t.store.faults().fail_next(1, puts().to_key("in/*"), Failure::SlowDown);
    t.store.faults().fail_next(1, puts().to_key("in/*"), Failure::InternalError);
    t.store.faults().fail_next(1, puts().to_key("in/*"), Failure::Refusal(507, "XMinioStorageFull"));
    t.store.faults().fail_next(1, puts().to_key("in/*"), Failure::Refusal(400, "ExpiredToken"));
    let put = |key: &str| t.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes(2_000_000, 1))).send();
    put("out/k").await.unwrap();
    assert_eq!(refusal(put("in/k").await), refused(503, "SlowDown"));
    assert_eq!(refusal(put("in/k").await), refused(500, "InternalError"));
    assert_eq!(refusal(put("in/k").await), refused(507, "XMinioStorageFull"));
    assert_eq!(refusal(put("in/k").await), refused(400, "ExpiredToken"));
    assert!(!t.is_there("in/k").await);
    put("in/k").await.unwrap();
    assert_eq!((t.store.faults().struck(), t.store.faults().pending()), (4, 0));
}

async fn a_client_that_retries_gets_through(t: &Trial) {
    t.store.faults().fail_next(2, puts(), Failure::SlowDown);
    let patient = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)).with_max_attempts(3);
    let patient = client(&t.store, SECRET, patient);
    patient.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x")).send().await.unwrap();
    assert_eq!(t.store.faults().struck(), 2);
}

async fn a_request_that_broke_off_was_not_carried_out(t: &Trial) {
    t.store.faults().fail_next(1, puts(), Failure::BreakRequest);
    let put = || t.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from(bytes(4_000_000, 1))).send();
    assert_eq!(refusal(put().await).0, 0, "no answer came at all");
    assert!(!t.is_there("k").await);
    put().await.unwrap();
    assert!(t.body("k").await == bytes(4_000_000, 1));
}

async fn an_answer_that_broke_off_was_carried_out(t: &Trial) {
    t.store.faults().fail_next(1, puts(), Failure::BreakAnswer);
    let put = t.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"text")).send().await;
    assert_eq!(refusal(put).0, 0, "no answer came at all");
    assert_eq!(t.body("k").await, b"text");
}

async fn a_download_breaks_off_halfway(t: &Trial) {
    t.put("long", bytes(4_000_000, 1)).await;
    t.put("short", "0123456789").await;
    t.store.faults().fail_next(2, Requests::any().with_verb("GET"), Failure::BreakAnswer);
    // Of the long one, what stands in the sockets' buffers may be lost, as it is with a true reset.
    for (key, most) in [("long", 2_000_000), ("short", 5)] {
        let mut body = t.get(key).send().await.unwrap().body;
        let mut read = 0;
        while let Ok(chunk) = body.next().await.expect("the body ends with an error") {
            read += chunk.len();
        }
        assert!((1..=most).contains(&read), "{read} bytes of {key}");
    }
    assert!(t.body("long").await == bytes(4_000_000, 1));
}

async fn a_delayed_request_is_carried_out(t: &Trial) {
    t.store.faults().fail_next(usize::MAX, puts(), Failure::Delay(Duration::from_millis(1)));
    t.put("k", "x").await;
    t.put("k", "y").await;
    assert_eq!(t.store.faults().struck(), 2);
    t.store.faults().clear();
    t.put("k", "z").await;
    assert_eq!(t.store.faults().struck(), 2);
}
