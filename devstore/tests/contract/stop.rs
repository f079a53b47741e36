//! How a store ends.

use aws_sdk_s3::primitives::ByteStream;
use devstore::{Devstore, Storage};
use futures_util::future::join;

use crate::trial::{BUCKET, Trial, bytes, settings};

#[tokio::test]
async fn a_stop_waits_for_the_answer_under_way() {
    let t = Trial::in_memory().await;
    let long = bytes(24 * 1024 * 1024, 1);
    t.put("k", long.clone()).await;
    let begun = t.get("k").send().await.unwrap();
    let address = t.store.address();
    let (body, ()) = join(begun.body.collect(), t.store.stop()).await;
    assert!(body.unwrap().to_vec() == long);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let t = Trial::in_memory().await;
    t.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x")).send().await.unwrap();
    let silent = tokio::net::TcpStream::connect(t.store.address()).await.unwrap();
    t.store.stop().await;
    drop(silent);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_named_so_fails_the_start() {
    let settings = devstore::Settings { buckets: vec!["No_Bucket".to_owned()], ..settings(Storage::Memory) };
    assert!(Devstore::start(settings).await.is_err());
}
