//! Listings, and deleting what they give.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::{StreamExt as _, stream};

use crate::on_both;
use crate::trial::{BUCKET, Trial};

on_both!(
    eleven_hundred_keys_come_in_two_pages_and_go_in_two_requests,
    a_delimiter_gathers_keys_into_prefixes,
    a_listing_starts_where_it_is_told,
    deleting_many_says_what_is_gone_unless_asked_to_be_quiet,
);

async fn keys(t: &Trial, prefix: &str) -> Vec<String> {
    let listed = t.s3.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await.unwrap();
    listed.contents.unwrap_or_default().into_iter().map(|object| object.key.unwrap()).collect()
}

fn these(keys: &[String], quiet: bool) -> Delete {
    let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    Delete::builder().set_objects(Some(objects.collect())).quiet(quiet).build().unwrap()
}

async fn eleven_hundred_keys_come_in_two_pages_and_go_in_two_requests(t: &Trial) {
    let all: Vec<String> = (0..1100).map(|number| format!("k/{number:04}")).collect();
    stream::iter(&all).for_each_concurrent(16, |key| async move { drop(t.put(key, "x").await) }).await;

    let first = t.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert_eq!((first.key_count, first.is_truncated), (Some(1000), Some(true)));
    let token = first.next_continuation_token.clone().unwrap();
    let second = t.s3.list_objects_v2().bucket(BUCKET).continuation_token(token).send().await.unwrap();
    assert_eq!((second.key_count, second.is_truncated), (Some(100), Some(false)));
    let listed = first.contents().iter().chain(second.contents());
    assert!(listed.clone().all(|object| object.size == Some(1) && object.e_tag.is_some()));
    assert!(listed.map(|object| object.key.clone().unwrap()).eq(all.iter().cloned()));

    for half in all.chunks(1000) {
        let deleted = t.s3.delete_objects().bucket(BUCKET).delete(these(half, false)).send().await.unwrap();
        assert_eq!((deleted.deleted().len(), deleted.errors().len()), (half.len(), 0));
    }
    assert!(keys(t, "").await.is_empty());
}

async fn a_delimiter_gathers_keys_into_prefixes(t: &Trial) {
    for key in ["a", "a/b", "a/c/d", "b/c", "z"] {
        t.put(key, "x").await;
    }
    let top = t.s3.list_objects_v2().bucket(BUCKET).delimiter("/").send().await.unwrap();
    let prefixes: Vec<_> = top.common_prefixes().iter().map(|group| group.prefix().unwrap()).collect();
    assert_eq!(prefixes, ["a/", "b/"]);
    assert_eq!(top.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), ["a", "z"]);

    let page = |token: Option<String>| {
        let page = t.s3.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(2).set_continuation_token(token);
        page.send()
    };
    let first = page(None).await.unwrap();
    assert_eq!((first.contents().len(), first.common_prefixes().len()), (1, 1));
    let second = page(first.next_continuation_token).await.unwrap();
    assert_eq!(second.common_prefixes()[0].prefix(), Some("b/"));
    assert_eq!(second.contents()[0].key(), Some("z"));
    assert_eq!(second.is_truncated, Some(false));
}

async fn a_listing_starts_where_it_is_told(t: &Trial) {
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        t.put(key, "x").await;
    }
    assert_eq!(keys(t, "a/").await, ["a/1", "a/2", "a/3"]);
    let after = t.s3.list_objects_v2().bucket(BUCKET).prefix("a/").start_after("a/2").send().await.unwrap();
    assert_eq!(after.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), ["a/3"]);
    assert!(t.s3.list_objects_v2().bucket(BUCKET).continuation_token("rubbish").send().await.is_err());
}

async fn deleting_many_says_what_is_gone_unless_asked_to_be_quiet(t: &Trial) {
    t.put("a", "x").await;
    t.put("b", "x").await;
    let named = ["a".to_owned(), "never".to_owned(), "a".to_owned()];
    let deleted = t.s3.delete_objects().bucket(BUCKET).delete(these(&named, false)).send().await.unwrap();
    assert_eq!(deleted.deleted().len(), 3);
    let quiet = t.s3.delete_objects().bucket(BUCKET).delete(these(&["b".to_owned()], true)).send().await.unwrap();
    assert_eq!(quiet.deleted().len(), 0);
    assert!(keys(t, "").await.is_empty());
}
