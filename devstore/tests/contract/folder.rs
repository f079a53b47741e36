//! What only a folder promises: it outlives its store, and holds no more than it should.

use std::fs;
use std::path::{Path, PathBuf};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use devstore::{Devstore, Storage};

use crate::trial::{BUCKET, PART, Trial, bytes, settings};

/// All files below `folder`, but the lock and the record of the bucket.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.retain(|path| !path.ends_with("devstore.lock") && !path.ends_with("bucket.json"));
    found
}

fn root(trial: &Trial) -> &Path {
    trial.folder.as_ref().expect("a trial in a folder").path()
}

async fn complete(t: &Trial, key: &str, id: &str, parts: &[(i32, String)]) {
    let parts = parts.iter().map(|(number, etag)| CompletedPart::builder().part_number(*number).e_tag(etag).build());
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
    let complete = t.s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(parts);
    complete.send().await.unwrap();
}

#[tokio::test]
async fn objects_and_unfinished_uploads_outlive_the_store() {
    let t = Trial::in_folder().await;
    let etag = t.put("dir/k", "text").await;
    let id = t.begin("big").await;
    let first = t.part("big", &id, 1, bytes(PART, 1)).await;

    let t = t.restarted().await;
    assert_eq!(t.body("dir/k").await, b"text");
    assert_eq!(t.get("dir/k").send().await.unwrap().e_tag, Some(etag));
    assert_eq!(t.store.unfinished_uploads(), 1);
    let second = t.part("big", &id, 2, bytes(100, 2)).await;
    complete(&t, "big", &id, &[(1, first), (2, second)]).await;

    let t = t.restarted().await;
    assert!(t.body("big").await == [bytes(PART, 1), bytes(100, 2)].concat());
    assert_eq!(t.store.unfinished_uploads(), 0);
    t.end().await;
}

#[tokio::test]
async fn what_is_deleted_replaced_refused_or_aborted_leaves_no_file() {
    let t = Trial::in_folder().await;
    t.put("k", "first").await;
    t.put("k", "second").await;
    t.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/k")).send().await.unwrap();
    let refused = t.s3.put_object().bucket(BUCKET).key("k").if_none_match("*").send().await;
    assert!(refused.is_err());
    let aborted = t.begin("a").await;
    t.part("a", &aborted, 1, "text").await;
    t.s3.abort_multipart_upload().bucket(BUCKET).key("a").upload_id(aborted).send().await.unwrap();
    let id = t.begin("b").await;
    let etag = t.part("b", &id, 1, "listed").await;
    t.part("b", &id, 2, "not listed").await;
    complete(&t, "b", &id, &[(1, etag)]).await;
    assert_eq!(files(root(&t)).len(), 6, "three objects, each with its record and its bytes");
    for key in ["k", "copy", "b"] {
        t.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    assert_eq!(files(root(&t)), Vec::<PathBuf>::new());
    t.end().await;
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_and_what_is_damaged_is_not_served() {
    let t = Trial::in_folder().await;
    t.put("whole", "text").await;
    t.put("torn", "a longer text").await;
    for path in files(&root(&t).join("pieces")) {
        if fs::metadata(&path).unwrap().len() == "a longer text".len() as u64 {
            fs::write(&path, "a lon").unwrap();
        }
    }
    fs::create_dir_all(root(&t).join("pieces/ff")).unwrap();
    fs::write(root(&t).join("pieces/ff/ffff"), "nobody's").unwrap();
    fs::write(root(&t).join("incoming/half"), "{").unwrap();
    fs::create_dir_all(root(&t).join("uploads/without-record")).unwrap();

    let t = t.restarted().await;
    assert_eq!(t.body("whole").await, b"text");
    assert!(!t.is_there("torn").await);
    assert_eq!(files(root(&t)).len(), 2);
    assert!(!root(&t).join("uploads/without-record").exists());
    t.end().await;
}

#[tokio::test]
async fn a_folder_serves_one_store_at_a_time() {
    let t = Trial::in_folder().await;
    let second = Devstore::start(settings(Storage::Folder(root(&t).to_owned()))).await;
    assert!(second.is_err());
    t.restarted().await.end().await;
}

#[tokio::test]
async fn a_folder_that_holds_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("pieces")).unwrap();
    fs::write(folder.path().join("pieces/letter.txt"), "not ours").unwrap();
    let refused = Devstore::start(settings(Storage::Folder(folder.path().to_owned()))).await;
    assert!(refused.is_err());
    assert_eq!(fs::read_to_string(folder.path().join("pieces/letter.txt")).unwrap(), "not ours");
}
