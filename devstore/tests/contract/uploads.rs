//! Uploads in parts.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::future::join_all;

use crate::on_both;
use crate::trial::{BUCKET, PART, Trial, bytes, refusal, refused};

on_both!(
    parts_that_come_in_any_order_stand_in_theirs,
    an_upload_is_completed_twice_with_one_result,
    a_part_that_comes_again_replaces_the_first,
    parts_must_be_listed_in_order_and_as_they_came,
    a_part_under_5_mib_must_be_the_last,
    an_aborted_upload_is_gone_and_takes_no_part,
    uploads_and_parts_are_listed,
    an_upload_that_lost_the_race_changes_nothing,
    a_range_may_cross_parts,
);

fn complete(t: &Trial, key: &str, id: &str, parts: &[(i32, &str)]) -> CompleteMultipartUploadFluentBuilder {
    let parts = parts.iter().map(|(number, etag)| CompletedPart::builder().part_number(*number).e_tag(*etag).build());
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
    t.s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(parts)
}

async fn parts_that_come_in_any_order_stand_in_theirs(t: &Trial) {
    let begin = t.s3.create_multipart_upload().bucket(BUCKET).key("k").content_type("text/plain").metadata("a", "b");
    let id = begin.send().await.unwrap().upload_id.unwrap();
    assert_eq!(t.store.unfinished_uploads(), 1);
    // With a gap, and one that the client uploads and does not list.
    let sent = [(7, bytes(9, 7)), (1, bytes(PART, 1)), (5, bytes(PART, 5)), (3, bytes(PART + 1, 3))];
    let etags = join_all(sent.iter().map(|(number, body)| t.part("k", &id, *number, body.clone()))).await;
    assert!(!t.is_there("k").await);
    let listed = [(1, etags[1].as_str()), (3, &etags[3]), (7, &etags[0])];
    complete(t, "k", &id, &listed).send().await.unwrap();

    assert_eq!(t.store.unfinished_uploads(), 0);
    let got = t.get("k").send().await.unwrap();
    assert_eq!(got.content_type.as_deref(), Some("text/plain"));
    assert_eq!(got.metadata.as_ref().unwrap()["a"], "b");
    assert!(got.e_tag.as_deref().unwrap().ends_with("-3\""));
    assert!(got.body.collect().await.unwrap().to_vec() == [bytes(PART, 1), bytes(PART + 1, 3), bytes(9, 7)].concat());
}

async fn an_upload_is_completed_twice_with_one_result(t: &Trial) {
    let id = t.begin("k").await;
    let etag = t.part("k", &id, 1, "text").await;
    let first = complete(t, "k", &id, &[(1, &etag)]).send().await.unwrap();
    let again = complete(t, "k", &id, &[(1, &etag)]).send().await.unwrap();
    assert_eq!(first.e_tag, again.e_tag);
    t.put("k", "other").await;
    assert_eq!(refusal(complete(t, "k", &id, &[(1, &etag)]).send().await), refused(404, "NoSuchUpload"));
    assert_eq!(t.body("k").await, b"other");
}

async fn a_part_that_comes_again_replaces_the_first(t: &Trial) {
    let id = t.begin("k").await;
    let first = t.part("k", &id, 1, "first").await;
    let second = t.part("k", &id, 1, "second").await;
    assert_eq!(refusal(complete(t, "k", &id, &[(1, &first)]).send().await), refused(400, "InvalidPart"));
    complete(t, "k", &id, &[(1, &second)]).send().await.unwrap();
    assert_eq!(t.body("k").await, b"second");
}

async fn parts_must_be_listed_in_order_and_as_they_came(t: &Trial) {
    let id = t.begin("k").await;
    let one = t.part("k", &id, 1, bytes(PART, 1)).await;
    let two = t.part("k", &id, 2, "2").await;
    for (listed, code) in [
        (vec![(2, two.as_str()), (1, one.as_str())], "InvalidPartOrder"),
        (vec![(1, &one), (1, &one)], "InvalidPartOrder"),
        (vec![(1, &two), (2, &one)], "InvalidPart"),
        (vec![(1, &one), (2, &two), (3, &two)], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        assert_eq!(refusal(complete(t, "k", &id, &listed).send().await), refused(400, code));
    }
    complete(t, "k", &id, &[(1, &one), (2, &two)]).send().await.unwrap();
}

async fn a_part_under_5_mib_must_be_the_last(t: &Trial) {
    let id = t.begin("k").await;
    let one = t.part("k", &id, 1, bytes(PART - 1, 1)).await;
    let two = t.part("k", &id, 2, "2").await;
    let refusal = refusal(complete(t, "k", &id, &[(1, &one), (2, &two)]).send().await);
    assert_eq!(refusal, refused(400, "EntityTooSmall"));
    assert_eq!(t.store.unfinished_uploads(), 1, "a refused completion leaves the upload as it was");
}

async fn an_aborted_upload_is_gone_and_takes_no_part(t: &Trial) {
    let id = t.begin("k").await;
    let etag = t.part("k", &id, 1, "text").await;
    let abort = || t.s3.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&id).send();
    abort().await.unwrap();
    assert_eq!(t.store.unfinished_uploads(), 0);
    let part = t.s3.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(2);
    assert_eq!(refusal(part.body(ByteStream::from_static(b"x")).send().await), refused(404, "NoSuchUpload"));
    assert_eq!(refusal(complete(t, "k", &id, &[(1, &etag)]).send().await), refused(404, "NoSuchUpload"));
    assert_eq!(refusal(abort().await), refused(404, "NoSuchUpload"));
    assert!(!t.is_there("k").await);
}

async fn uploads_and_parts_are_listed(t: &Trial) {
    let first = t.begin("in/a").await;
    let second = t.begin("in/b").await;
    t.begin("out/c").await;
    for number in [2, 1, 4] {
        t.part("in/a", &first, number, "text").await;
    }
    let uploads = || t.s3.list_multipart_uploads().bucket(BUCKET).prefix("in/");
    let page = uploads().max_uploads(1).send().await.unwrap();
    assert_eq!((page.is_truncated, page.uploads()[0].upload_id()), (Some(true), Some(first.as_str())));
    let rest =
        uploads().key_marker(page.next_key_marker.unwrap()).upload_id_marker(page.next_upload_id_marker.unwrap());
    let rest = rest.send().await.unwrap();
    assert_eq!((rest.is_truncated, rest.uploads().len()), (Some(false), 1));
    assert_eq!(rest.uploads()[0].upload_id(), Some(second.as_str()));

    let parts = || t.s3.list_parts().bucket(BUCKET).key("in/a").upload_id(&first);
    let all = parts().send().await.unwrap();
    assert_eq!(all.parts().iter().map(|part| part.part_number.unwrap()).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(all.parts().iter().all(|part| part.size == Some(4) && part.e_tag.is_some()));
    let page = parts().max_parts(2).send().await.unwrap();
    assert_eq!(page.next_part_number_marker.as_deref(), Some("2"));
    let rest = parts().part_number_marker("2").send().await.unwrap();
    assert_eq!(rest.parts().len(), 1);
    let other_key = t.s3.list_parts().bucket(BUCKET).key("in/b").upload_id(&first).send().await;
    assert_eq!(refusal(other_key), refused(404, "NoSuchUpload"));
}

async fn an_upload_that_lost_the_race_changes_nothing(t: &Trial) {
    let id = t.begin("k").await;
    let etag = t.part("k", &id, 1, "mine").await;
    t.put("k", "theirs").await;
    let late = complete(t, "k", &id, &[(1, &etag)]).if_none_match("*").send().await;
    assert_eq!(refusal(late), refused(412, "PreconditionFailed"));
    assert_eq!(t.body("k").await, b"theirs");
}

async fn a_range_may_cross_parts(t: &Trial) {
    let id = t.begin("k").await;
    let (head, tail) = (bytes(PART, 1), bytes(2 * PART, 2));
    let etags = [t.part("k", &id, 1, head.clone()).await, t.part("k", &id, 2, tail.clone()).await];
    complete(t, "k", &id, &[(1, &etags[0]), (2, &etags[1])]).send().await.unwrap();
    let whole = [head, tail].concat();
    for (first, last) in [(PART - 1, PART), (PART, PART), (10, 3 * PART - 10), (0, 3 * PART - 1)] {
        let got = t.get("k").range(format!("bytes={first}-{last}")).send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == whole[first..=last], "{first}-{last}");
    }
}
