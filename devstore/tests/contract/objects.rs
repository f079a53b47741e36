//! Buckets and whole objects.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::MetadataDirective;
use futures_util::future::join_all;

use crate::on_both;
use crate::trial::{BUCKET, Trial, bytes, refusal, refused};

on_both!(
    an_object_comes_back_with_all_that_was_said_of_it,
    an_empty_object_is_an_object,
    a_range_gives_its_part_or_416,
    a_wrong_digest_is_refused_and_nothing_is_stored,
    a_body_that_is_streamed_is_checked_by_its_trailer,
    of_many_writers_that_want_to_be_first_one_wins,
    if_match_replaces_only_the_object_it_names,
    a_reader_that_knows_the_object_is_told_so,
    a_key_and_keys_below_it_stand_side_by_side,
    keys_may_be_long_and_strange,
    what_is_not_there_is_said_to_be_missing,
    deleting_twice_is_no_error,
    a_copy_lives_on_without_its_source,
    a_reader_keeps_the_object_that_it_began_to_read,
    a_bucket_with_objects_is_not_deleted,
);

async fn an_object_comes_back_with_all_that_was_said_of_it(t: &Trial) {
    let body = bytes(3_000_000, 1);
    let put = t.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from(body.clone()));
    let put = put.content_type("application/fhir+ndjson").content_encoding("gzip").cache_control("no-store");
    let put = put.content_disposition("attachment; filename=\"k\"").metadata("job", "17").content_language("en");
    let etag = put.send().await.unwrap().e_tag;

    let head = t.s3.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(head.content_length, Some(3_000_000));
    let got = t.get("k").send().await.unwrap();
    assert_eq!((&got.e_tag, &head.e_tag), (&etag, &etag));
    assert_eq!(got.content_type.as_deref(), Some("application/fhir+ndjson"));
    assert_eq!(got.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(got.cache_control.as_deref(), Some("no-store"));
    assert_eq!(got.content_language.as_deref(), Some("en"));
    assert_eq!(got.content_disposition.as_deref(), Some("attachment; filename=\"k\""));
    assert_eq!(got.metadata.unwrap()["job"], "17");
    assert!(got.body.collect().await.unwrap().to_vec() == body);
}

async fn an_empty_object_is_an_object(t: &Trial) {
    t.put("empty", "").await;
    assert_eq!(t.body("empty").await, b"");
    assert_eq!(refusal(t.get("empty").range("bytes=0-0").send().await).0, 416);
}

async fn a_range_gives_its_part_or_416(t: &Trial) {
    t.put("k", "0123456789").await;
    for (range, part, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
    ] {
        let got = t.get("k").range(range).send().await.unwrap();
        assert_eq!(got.content_range.as_deref(), Some(content_range));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), part.as_bytes());
    }
    assert_eq!(refusal(t.get("k").range("bytes=10-").send().await), refused(416, "InvalidRange"));
}

async fn a_wrong_digest_is_refused_and_nothing_is_stored(t: &Trial) {
    let put = || t.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"hello"));
    let wrong_md5 = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    assert_eq!(refusal(wrong_md5), refused(400, "BadDigest"));
    assert_eq!(refusal(put().content_md5("rubbish").send().await), refused(400, "InvalidDigest"));
    assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send().await), refused(400, "BadDigest"));
    assert!(!t.is_there("k").await);

    put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
    assert_eq!(t.body("k").await, b"hello");
}

async fn a_body_that_is_streamed_is_checked_by_its_trailer(t: &Trial) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes(700_000, 2)).unwrap();
    let body = ByteStream::from_path(file.path()).await.unwrap();
    let put = t.s3.put_object().bucket(BUCKET).key("k").body(body).send().await.unwrap();
    assert!(put.checksum_crc32.is_some(), "the SDK sends a CRC-32 behind the body, which is given back when verified");
    assert!(t.body("k").await == bytes(700_000, 2));
}

async fn of_many_writers_that_want_to_be_first_one_wins(t: &Trial) {
    let writers = (0..8_u8).map(|writer| {
        let body = ByteStream::from(bytes(100_000, writer));
        t.s3.put_object().bucket(BUCKET).key("k").if_none_match("*").body(body).send()
    });
    let results = join_all(writers).await;
    let winners: Vec<u8> =
        (0..8).zip(&results).filter(|(_, result)| result.is_ok()).map(|(writer, _)| writer).collect();
    assert_eq!(winners.len(), 1);
    for lost in results.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(lost), refused(412, "PreconditionFailed"));
    }
    assert!(t.body("k").await == bytes(100_000, winners[0]));
}

async fn if_match_replaces_only_the_object_it_names(t: &Trial) {
    let put =
        |etag: &str| t.s3.put_object().bucket(BUCKET).key("k").if_match(etag).body(ByteStream::from_static(b"new"));
    assert_eq!(refusal(put("\"any\"").send().await), refused(404, "NoSuchKey"));
    let etag = t.put("k", "old").await;
    assert_eq!(refusal(put("\"other\"").send().await), refused(412, "PreconditionFailed"));
    assert_eq!(t.body("k").await, b"old");
    put(&etag).send().await.unwrap();
    assert_eq!(t.body("k").await, b"new");
}

async fn a_reader_that_knows_the_object_is_told_so(t: &Trial) {
    let etag = t.put("k", "text").await;
    assert_eq!(refusal(t.get("k").if_none_match(&etag).send().await).0, 304);
    assert!(t.get("k").if_none_match("\"other\"").send().await.is_ok());
    assert_eq!(refusal(t.get("k").if_match("\"other\"").send().await).0, 412);
    let modified = t.get("k").send().await.unwrap().last_modified.unwrap();
    assert_eq!(refusal(t.get("k").if_modified_since(modified).send().await).0, 304);
    let earlier = DateTime::from_secs(modified.secs() - 1);
    assert!(t.get("k").if_modified_since(earlier).send().await.is_ok());
    assert_eq!(refusal(t.get("k").if_unmodified_since(earlier).send().await).0, 412);
}

async fn a_key_and_keys_below_it_stand_side_by_side(t: &Trial) {
    for key in ["a", "a/b", "a/b/c", "a/"] {
        t.put(key, key).await;
    }
    t.s3.delete_object().bucket(BUCKET).key("a/b").send().await.unwrap();
    for key in ["a", "a/b/c", "a/"] {
        assert_eq!(t.body(key).await, key.as_bytes());
    }
}

async fn keys_may_be_long_and_strange(t: &Trial) {
    let longest = "k".repeat(1024);
    for key in [longest.as_str(), "ü/日本 + & = % ? #;'()*!~", "..", "./a//b", "x\"<>y", "C:\\d"] {
        t.put(key, key).await;
        assert_eq!(t.body(key).await, key.as_bytes(), "{key}");
    }
    let too_long = t.s3.put_object().bucket(BUCKET).key("k".repeat(1025)).send().await;
    assert_eq!(refusal(too_long), refused(400, "KeyTooLongError"));
}

async fn what_is_not_there_is_said_to_be_missing(t: &Trial) {
    assert_eq!(refusal(t.get("k").send().await), refused(404, "NoSuchKey"));
    assert_eq!(refusal(t.s3.head_object().bucket(BUCKET).key("k").send().await).0, 404);
    assert_eq!(refusal(t.s3.head_bucket().bucket("absent").send().await).0, 404);
    let put = t.s3.put_object().bucket("absent").key("k").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(refusal(put), refused(404, "NoSuchBucket"));
    assert_eq!(refusal(t.s3.list_objects_v2().bucket("absent").send().await), refused(404, "NoSuchBucket"));
}

async fn deleting_twice_is_no_error(t: &Trial) {
    t.put("k", "text").await;
    for _ in 0..2 {
        t.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        assert!(!t.is_there("k").await);
    }
}

async fn a_copy_lives_on_without_its_source(t: &Trial) {
    let put = t.s3.put_object().bucket(BUCKET).key("from").content_type("text/plain");
    put.body(ByteStream::from_static(b"text")).send().await.unwrap();
    let copy = |to: &str| t.s3.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/from"));
    copy("same").send().await.unwrap();
    copy("other").metadata_directive(MetadataDirective::Replace).content_type("text/html").send().await.unwrap();
    t.s3.delete_object().bucket(BUCKET).key("from").send().await.unwrap();
    for (key, kind) in [("same", "text/plain"), ("other", "text/html")] {
        let got = t.get(key).send().await.unwrap();
        assert_eq!(got.content_type.as_deref(), Some(kind));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"text");
    }
    assert_eq!(refusal(copy("third").send().await), refused(404, "NoSuchKey"));
}

async fn a_reader_keeps_the_object_that_it_began_to_read(t: &Trial) {
    // More than the sockets between can hold, so that most of it is read after the change.
    let old = bytes(24 * 1024 * 1024, 3);
    t.put("k", old.clone()).await;
    let replaced = t.get("k").send().await.unwrap();
    t.put("k", "new").await;
    let deleted = t.get("k").send().await.unwrap();
    t.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert!(replaced.body.collect().await.unwrap().to_vec() == old);
    assert_eq!(deleted.body.collect().await.unwrap().to_vec(), b"new");
    assert!(!t.is_there("k").await);
}

async fn a_bucket_with_objects_is_not_deleted(t: &Trial) {
    t.s3.create_bucket().bucket("second").send().await.unwrap();
    let again = t.s3.create_bucket().bucket("second").send().await;
    assert_eq!(refusal(again), refused(409, "BucketAlreadyOwnedByYou"));
    let names =
        t.s3.list_buckets().send().await.unwrap().buckets.unwrap().into_iter().map(|bucket| bucket.name.unwrap());
    assert_eq!(names.collect::<Vec<_>>(), [BUCKET, "second"]);

    let put = t.s3.put_object().bucket("second").key("k").body(ByteStream::from_static(b"x"));
    put.send().await.unwrap();
    assert_eq!(refusal(t.s3.delete_bucket().bucket("second").send().await), refused(409, "BucketNotEmpty"));
    t.s3.delete_object().bucket("second").key("k").send().await.unwrap();
    t.s3.delete_bucket().bucket("second").send().await.unwrap();
    assert_eq!(refusal(t.s3.head_bucket().bucket("second").send().await).0, 404);
}
