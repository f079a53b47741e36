//! What is stored, and what may happen to it: buckets, objects, unfinished uploads, and S3's rules on them.
//!
//! Pure: no I/O, no clock. Each rule looks at the catalogue and answers with the [`Change`]s to make, or refuses in S3's own
//! words; [`Catalog::apply`] makes them and cannot fail. `store.rs` puts the record on the medium between the two.

pub mod listing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use s3s::dto::ETagCondition;
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::intake::{Checksums, Fingerprint, etag_of_parts};

/// Every part but the last must be as long as this (Amazon S3 multipart upload limits).
pub const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;

/// What a client says about its object, kept as it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// The header Content-Type.
    pub content_type: Option<String>,
    /// The header Content-Encoding.
    pub content_encoding: Option<String>,
    /// The header Content-Disposition.
    pub content_disposition: Option<String>,
    /// The header Content-Language.
    pub content_language: Option<String>,
    /// The header Cache-Control.
    pub cache_control: Option<String>,
    /// The headers `x-amz-meta-*`, without that prefix.
    pub metadata: BTreeMap<String, String>,
}

/// All of an object but its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// ETag, size, checksums.
    pub fingerprint: Fingerprint,
    /// When it was stored, in seconds since 1970: S3 gives no finer time.
    pub modified_seconds: i64,
    /// What the client said of it.
    pub attributes: Attributes,
    /// The upload that it was put together by, so that completing twice gives the same answer.
    pub upload_id: Option<String>,
}

/// An object: its details, and its bytes as pieces in order.
#[derive(Clone, Debug)]
pub struct Object<P> {
    /// All but the bytes.
    pub details: Details,
    /// Each piece with its length.
    pub pieces: Vec<(P, u64)>,
}

/// One part of an unfinished upload.
#[derive(Clone, Debug)]
pub struct Part<P> {
    /// ETag, size, checksums.
    pub fingerprint: Fingerprint,
    /// When it came, in seconds since 1970.
    pub modified_seconds: i64,
    /// Its bytes.
    pub piece: P,
}

/// An unfinished upload.
#[derive(Clone, Debug)]
pub struct Upload<P> {
    /// The bucket it will write to.
    pub bucket: String,
    /// The key it will write.
    pub key: String,
    /// What the client said of the object.
    pub attributes: Attributes,
    /// When it began, in seconds since 1970.
    pub begun_seconds: i64,
    /// The parts so far, by number.
    pub parts: BTreeMap<i32, Part<P>>,
}

/// A part as the client lists it when it completes an upload.
#[derive(Clone, Debug)]
pub struct ListedPart {
    /// Its number.
    pub number: i32,
    /// The ETag that it was given.
    pub etag: String,
    /// The checksums that it should have.
    pub checksums: Checksums,
}

/// A request to complete an upload.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The upload's bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// The parts to put together.
    pub parts: Vec<ListedPart>,
    /// The size that the client expects.
    pub size: Option<u64>,
    /// On what condition to write.
    pub condition: Condition,
}

/// One step from one catalogue to the next.
#[derive(Clone, Debug)]
pub enum Change<P> {
    /// A bucket is there.
    BucketMade {
        /// Its name.
        name: String,
        /// When, in seconds since 1970.
        made_seconds: i64,
    },
    /// A bucket is gone.
    BucketRemoved {
        /// Its name.
        name: String,
    },
    /// An object is there, in the place of any before it. If it names an upload, that upload is over.
    ObjectPut {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The object.
        object: Arc<Object<P>>,
    },
    /// An object is gone.
    ObjectRemoved {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// An upload has begun.
    UploadBegun {
        /// Its id.
        id: String,
        /// The upload, without parts.
        upload: Upload<P>,
    },
    /// A part of an upload is there, in the place of any before it.
    PartPut {
        /// The upload.
        id: String,
        /// The number of the part.
        number: i32,
        /// The part.
        part: Part<P>,
    },
    /// An upload is given up, with its parts.
    UploadRemoved {
        /// The upload.
        id: String,
    },
}

/// On what condition to write: `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// The object must be this one.
    pub if_match: Option<ETagCondition>,
    /// The object must not be this one; `*` stands for any.
    pub if_none_match: Option<ETagCondition>,
}

impl Condition {
    /// `PreconditionFailed`, or `NoSuchKey` where AWS says so: If-Match and nothing there.
    pub fn check(&self, current: Option<&Details>) -> S3Result<()> {
        if let Some(wanted) = &self.if_match {
            let current = current.ok_or_else(|| s3_error!(NoSuchKey))?;
            if !is_meant(wanted, current) {
                return Err(s3_error!(PreconditionFailed, "the object is not the one that If-Match names"));
            }
        }
        if let (Some(unwanted), Some(current)) = (&self.if_none_match, current)
            && is_meant(unwanted, current)
        {
            return Err(s3_error!(PreconditionFailed, "the object is there already"));
        }
        Ok(())
    }
}

/// Whether a condition names this object.
pub fn is_meant(condition: &ETagCondition, details: &Details) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == details.fingerprint.etag)
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket<P> {
    /// When it was made, in seconds since 1970.
    pub made_seconds: i64,
    /// The objects by key, in S3's order: that of the UTF-8 bytes.
    pub objects: BTreeMap<String, Arc<Object<P>>>,
}

/// All that is stored.
#[derive(Debug)]
pub struct Catalog<P> {
    buckets: BTreeMap<String, Bucket<P>>,
    uploads: BTreeMap<String, Upload<P>>,
}

impl<P> Default for Catalog<P> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new(), uploads: BTreeMap::new() }
    }
}

impl<P: Clone> Catalog<P> {
    /// All buckets by name.
    pub fn buckets(&self) -> impl Iterator<Item = (&String, &Bucket<P>)> {
        self.buckets.iter()
    }

    /// A bucket, or `NoSuchBucket`.
    pub fn bucket(&self, name: &str) -> S3Result<&Bucket<P>> {
        self.buckets.get(name).ok_or_else(|| s3_error!(NoSuchBucket, "there is no bucket {name}"))
    }

    /// An object, or `NoSuchBucket`, `NoSuchKey`.
    pub fn object(&self, bucket: &str, key: &str) -> S3Result<&Arc<Object<P>>> {
        self.bucket(bucket)?.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// All unfinished uploads by id.
    pub fn uploads(&self) -> &BTreeMap<String, Upload<P>> {
        &self.uploads
    }

    /// The unfinished upload `id` of this bucket and key, or `NoSuchBucket`, `NoSuchUpload`.
    pub fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<&Upload<P>> {
        self.bucket(bucket)?;
        let upload = self.uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.ok_or_else(|| s3_error!(NoSuchUpload, "there is no unfinished upload {id} of this key"))
    }

    /// Makes a bucket; `BucketAlreadyOwnedByYou` if it is there.
    pub fn make_bucket(&self, name: String, made_seconds: i64) -> S3Result<Change<P>> {
        if self.buckets.contains_key(&name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(Change::BucketMade { name, made_seconds })
    }

    /// Removes a bucket and gives up the uploads to it; `BucketNotEmpty` if it holds an object.
    pub fn remove_bucket(&self, name: &str) -> S3Result<Vec<Change<P>>> {
        if !self.bucket(name)?.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        let theirs = self.uploads.iter().filter(|(_, upload)| upload.bucket == name);
        let mut changes: Vec<_> = theirs.map(|(id, _)| Change::UploadRemoved { id: id.clone() }).collect();
        changes.push(Change::BucketRemoved { name: name.to_owned() });
        Ok(changes)
    }

    /// Puts an object if the condition holds of the one before.
    pub fn put(&self, bucket: String, key: String, object: Object<P>, condition: &Condition) -> S3Result<Change<P>> {
        let before = self.bucket(&bucket)?.objects.get(&key);
        condition.check(before.map(|before| &before.details))?;
        Ok(Change::ObjectPut { bucket, key, object: Arc::new(object) })
    }

    /// Removes those of `keys` that are there.
    pub fn remove(&self, bucket: &str, keys: impl IntoIterator<Item = String>) -> S3Result<Vec<Change<P>>> {
        let objects = &self.bucket(bucket)?.objects;
        // A set, because a client may name a key twice and the second removal would find nothing.
        let keys: BTreeSet<String> = keys.into_iter().filter(|key| objects.contains_key(key)).collect();
        Ok(keys.into_iter().map(|key| Change::ObjectRemoved { bucket: bucket.to_owned(), key }).collect())
    }

    /// Puts together the listed parts. Gives the ETag, and no change if the upload had been completed so before.
    ///
    /// Refuses with `MalformedXML` (no parts), `InvalidPartOrder`, `NoSuchUpload`, `InvalidPart` (not there, or not that
    /// ETag), `EntityTooSmall`, `PreconditionFailed`.
    pub fn complete(&self, wish: Completion, now_seconds: i64) -> S3Result<(Option<Change<P>>, Fingerprint)> {
        if wish.parts.is_empty() {
            return Err(s3_error!(MalformedXML, "at least one part must be listed"));
        }
        if !wish.parts.is_sorted_by(|one, next| one.number < next.number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let etag = etag_of_parts(wish.parts.iter().map(|part| part.etag.as_str()));
        let upload = match self.upload(&wish.bucket, &wish.key, &wish.upload_id) {
            Ok(upload) => upload,
            Err(refusal) => return self.completed(&wish, &etag).map(|before| (None, before)).ok_or(refusal),
        };
        let pieces = pieces(upload, &wish.parts)?;
        let size = pieces.iter().map(|(_, length)| length).sum();
        if wish.size.is_some_and(|expected| expected != size) {
            return Err(s3_error!(InvalidRequest, "the parts make {size} bytes, not as announced"));
        }
        let fingerprint = Fingerprint { etag, size, checksums: Checksums::default() };
        let details = Details {
            fingerprint: fingerprint.clone(),
            modified_seconds: now_seconds,
            attributes: upload.attributes.clone(),
            upload_id: Some(wish.upload_id),
        };
        let change = self.put(wish.bucket, wish.key, Object { details, pieces }, &wish.condition)?;
        Ok((Some(change), fingerprint))
    }

    /// What an upload was completed to, if its object still stands and was made of the same parts.
    fn completed(&self, wish: &Completion, etag: &str) -> Option<Fingerprint> {
        let details = &self.object(&wish.bucket, &wish.key).ok()?.details;
        let same = details.upload_id.as_ref() == Some(&wish.upload_id) && details.fingerprint.etag == etag;
        same.then(|| details.fingerprint.clone())
    }

    /// Makes a change that was decided on this catalogue.
    pub fn apply(&mut self, change: Change<P>) {
        match change {
            Change::BucketMade { name, made_seconds } => {
                self.buckets.insert(name, Bucket { made_seconds, objects: BTreeMap::new() });
            }
            Change::BucketRemoved { name } => {
                self.buckets.remove(&name);
            }
            Change::ObjectPut { bucket, key, object } => {
                if let Some(id) = &object.details.upload_id {
                    self.uploads.remove(id);
                }
                if let Some(bucket) = self.buckets.get_mut(&bucket) {
                    bucket.objects.insert(key, object);
                }
            }
            Change::ObjectRemoved { bucket, key } => {
                if let Some(bucket) = self.buckets.get_mut(&bucket) {
                    bucket.objects.remove(&key);
                }
            }
            Change::UploadBegun { id, upload } => {
                self.uploads.insert(id, upload);
            }
            Change::PartPut { id, number, part } => {
                if let Some(upload) = self.uploads.get_mut(&id) {
                    upload.parts.insert(number, part);
                }
            }
            Change::UploadRemoved { id } => {
                self.uploads.remove(&id);
            }
        }
    }
}

/// The pieces of the listed parts, if each is there, is the one meant, and is long enough.
fn pieces<P: Clone>(upload: &Upload<P>, listed: &[ListedPart]) -> S3Result<Vec<(P, u64)>> {
    let mut pieces = Vec::with_capacity(listed.len());
    for wanted in listed {
        let part = upload.parts.get(&wanted.number).filter(|part| {
            part.fingerprint.etag == wanted.etag && !part.fingerprint.checksums.contradict(&wanted.checksums)
        });
        let part = part.ok_or_else(|| s3_error!(InvalidPart, "part {} is not there as listed", wanted.number))?;
        pieces.push((part.piece.clone(), part.fingerprint.size));
    }
    let all_but_last = pieces.split_last().map_or(&[][..], |(_, before)| before);
    if all_but_last.iter().any(|(_, size)| *size < SMALLEST_PART_BYTES) {
        return Err(s3_error!(EntityTooSmall, "a part that is not the last is under 5 MiB"));
    }
    Ok(pieces)
}
