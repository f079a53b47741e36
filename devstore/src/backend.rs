//! S3's operations on a store: from s3s's requests to `catalog` and `storage`, and back. Signatures are checked before they
//! come here.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumMode, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MetadataDirective, MultipartUpload,
    ObjectStorageClass, PutObjectInput, PutObjectOutput, StorageClass, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::catalog::listing::{After, Query, page};
use crate::catalog::{
    Attributes, Catalog, Change, Completion, Condition, Details, ListedPart, Object, Part, Upload, is_meant,
};
use crate::intake::{Checksums, Claims, Fingerprint, Intake};
use crate::storage::Medium;
use crate::store::{Store, now_seconds};

/// No page of a listing is longer (ListObjectsV2, ListParts, ListMultipartUploads).
const PAGE: usize = 1000;

/// Parts are numbered from 1 to this.
const MOST_PARTS: i32 = 10_000;

/// What AWS says of an object that came without a type.
const UNKNOWN_TYPE: &str = "binary/octet-stream";

/// The S3 operations on a store.
pub struct Backend<M: Medium>(pub Store<M>);

/// The attributes of an input. The inputs have these fields in common, but no trait.
macro_rules! attributes {
    ($input:expr) => {
        Attributes {
            content_type: $input.content_type,
            content_encoding: $input.content_encoding,
            content_disposition: $input.content_disposition,
            content_language: $input.content_language,
            cache_control: $input.cache_control,
            metadata: $input.metadata.unwrap_or_default().into_iter().collect(),
        }
    };
}

/// The checksums that an input claims.
macro_rules! claimed_checksums {
    ($input:expr) => {
        Checksums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
        }
    };
}

/// The body of a request and what it claims of it.
macro_rules! intake {
    ($request:expr) => {{
        let claims = Claims {
            md5: $request.input.content_md5.take(),
            checksums: claimed_checksums!($request.input),
            announced: Claims::announced_in(&$request.headers),
            trailers: $request.trailing_headers.take(),
            length: $request.input.content_length,
        };
        Intake::new($request.input.body.take(), claims)
    }};
}

/// An output with the checksums filled in.
macro_rules! with_checksums {
    ($checksums:expr, $output:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let checksums = $checksums;
        $output {
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            $($field: $value,)*
            ..Default::default()
        }
    }};
}

/// GetObject's and HeadObject's output, which agree in these fields.
macro_rules! described {
    ($found:expr, $output:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let found = $found;
        let attributes = found.object.details.attributes.clone();
        with_checksums!(found.checksums, $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_length: Some(signed(found.range.end - found.range.start)),
            content_range: found.content_range,
            content_type: Some(attributes.content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned())),
            e_tag: Some(tag(&found.object.details.fingerprint)),
            last_modified: Some(timestamp(found.object.details.modified_seconds)),
            metadata: Some(attributes.metadata.into_iter().collect()),
            $($field: $value,)*
        })
    }};
}

/// What a GET or HEAD asks for, of an object.
struct Wish {
    condition: Condition,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
    range: Option<s3s::dto::Range>,
    with_checksums: bool,
}

macro_rules! wish {
    ($input:expr) => {
        Wish {
            condition: Condition { if_match: $input.if_match, if_none_match: $input.if_none_match },
            modified_since: $input.if_modified_since,
            unmodified_since: $input.if_unmodified_since,
            range: $input.range,
            with_checksums: $input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED),
        }
    };
}

/// An object, and which part of it was asked for.
struct Found<P> {
    object: Arc<Object<P>>,
    range: Range<u64>,
    content_range: Option<String>,
    checksums: Checksums,
}

impl<P> Found<P> {
    /// Fails with `NotModified`, `PreconditionFailed` or `InvalidRange`, as RFC 9110 has it.
    fn new(object: Arc<Object<P>>, wish: &Wish) -> S3Result<Self> {
        check_read(&object.details, wish)?;
        let size = object.details.fingerprint.size;
        let Some(range) = &wish.range else {
            let checksums =
                if wish.with_checksums { object.details.fingerprint.checksums.clone() } else { Checksums::default() };
            return Ok(Self { object, range: 0..size, content_range: None, checksums });
        };
        let range = range.check(size).ok().filter(|range| !range.is_empty()).ok_or_else(|| s3_error!(InvalidRange))?;
        let content_range = Some(format!("bytes {}-{}/{size}", range.start, range.end - 1));
        Ok(Self { object, range, content_range, checksums: Checksums::default() })
    }
}

/// The conditions of a read, in the order of RFC 9110, section 13.2.2.
fn check_read(details: &Details, wish: &Wish) -> S3Result<()> {
    let is_newer = |than: &Timestamp| details.modified_seconds > OffsetDateTime::from(than.clone()).unix_timestamp();
    if let Some(wanted) = &wish.condition.if_match {
        if !is_meant(wanted, details) {
            return Err(s3_error!(PreconditionFailed));
        }
    } else if wish.unmodified_since.as_ref().is_some_and(is_newer) {
        return Err(s3_error!(PreconditionFailed));
    }
    let is_known = match &wish.condition.if_none_match {
        Some(known) => is_meant(known, details),
        None => wish.modified_since.as_ref().is_some_and(|since| !is_newer(since)),
    };
    if is_known { Err(s3_error!(NotModified)) } else { Ok(()) }
}

impl<M: Medium> Backend<M> {
    async fn find(&self, bucket: &str, key: &str, wish: &Wish) -> S3Result<Found<M::Piece>> {
        let object = Arc::clone(self.0.look().await.object(bucket, key)?);
        Found::new(object, wish)
    }

    /// Takes a body in and compares it with its claims.
    async fn take_in(&self, mut intake: Intake) -> S3Result<(M::Piece, Fingerprint)> {
        let piece = self.0.medium().keep(&mut intake).await?;
        Ok((piece, intake.finish()?))
    }

    async fn remove(&self, bucket: String, keys: Vec<String>, condition: Condition) -> S3Result<()> {
        let decided = self.0.change(move |catalog, _| {
            let objects = &catalog.bucket(&bucket)?.objects;
            for key in &keys {
                condition.check(objects.get(key).map(|object| &object.details))?;
            }
            Ok((catalog.remove(&bucket, keys)?, ()))
        });
        decided.await
    }
}

#[async_trait]
impl<M: Medium> S3 for Backend<M> {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = request.input.bucket;
        let location = Some(format!("/{name}"));
        self.0.change(move |catalog, _| Ok((vec![catalog.make_bucket(name, now_seconds())?], ()))).await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.0.change(move |catalog, _| Ok((catalog.remove_bucket(&request.input.bucket)?, ()))).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.look().await.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let catalog = self.0.look().await;
        let buckets = catalog.buckets().map(|(name, bucket)| s3s::dto::Bucket {
            name: Some(name.clone()),
            creation_date: Some(timestamp(bucket.made_seconds)),
            ..Default::default()
        });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() }))
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let intake = intake!(request);
        let input = request.input;
        let (bucket, key) = (input.bucket, input.key);
        let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
        only_any(condition.if_none_match.as_ref())?;
        let attributes = attributes!(input);
        self.0.look().await.bucket(&bucket)?;
        let (piece, fingerprint) = self.take_in(intake).await?;
        let answer = fingerprint.clone();
        let change = move |catalog: &Catalog<M::Piece>, _: &M| {
            let pieces = vec![(piece, fingerprint.size)];
            let details = Details { fingerprint, modified_seconds: now_seconds(), attributes, upload_id: None };
            Ok((vec![catalog.put(bucket, key, Object { details, pieces }, &condition)?], ()))
        };
        self.0.change(change).await?;
        let e_tag = Some(tag(&answer));
        Ok(S3Response::new(with_checksums!(answer.checksums, PutObjectOutput { e_tag: e_tag })))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        only_whole(input.part_number, input.version_id.as_deref())?;
        let found = self.find(&input.bucket, &input.key, &wish!(input)).await?;
        let body = Store::<M>::read(&found.object, found.range.clone());
        Ok(S3Response::new(described!(found, GetObjectOutput { body: Some(body) })))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        only_whole(input.part_number, input.version_id.as_deref())?;
        let found = self.find(&input.bucket, &input.key, &wish!(input)).await?;
        Ok(S3Response::new(described!(found, HeadObjectOutput {})))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let condition = Condition { if_match: input.if_match, if_none_match: None };
        self.remove(input.bucket, vec![input.key], condition).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let keys: Vec<String> = input.delete.objects.into_iter().map(|object| object.key).collect();
        if keys.len() > PAGE {
            return Err(s3_error!(MalformedXML, "at most {PAGE} keys in one request"));
        }
        let deleted = if input.delete.quiet == Some(true) { Vec::new() } else { keys.clone() };
        self.remove(input.bucket, keys, Condition::default()).await?;
        let deleted = deleted.into_iter().map(|key| DeletedObject { key: Some(key), ..Default::default() });
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted.collect()), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => After::parse(token).ok_or_else(|| s3_error!(InvalidArgument, "not a token of ours"))?,
            (None, Some(key)) => After::Key(key.clone()),
            (None, None) => After::Nothing,
        };
        let limit = page_limit(input.max_keys)?;
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            limit,
        };
        let found = page(&self.0.look().await.bucket(&input.bucket)?.objects, &query);
        let count = found.entries.len() + found.groups.len();
        let contents = found.entries.into_iter().map(|(key, object)| s3s::dto::Object {
            key: Some(key),
            size: Some(signed(object.details.fingerprint.size)),
            e_tag: Some(tag(&object.details.fingerprint)),
            last_modified: Some(timestamp(object.details.modified_seconds)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Default::default()
        });
        let groups = found.groups.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(count_of(limit)),
            key_count: Some(count_of(count)),
            is_truncated: Some(found.next.is_some()),
            next_continuation_token: found.next.and_then(|next| next.token()),
            contents: Some(contents.collect()),
            common_prefixes: Some(groups.collect()),
            ..Default::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket: from, key: source, .. } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "only a bucket and a key can be the source of a copy"));
        };
        let wish = Wish {
            condition: Condition { if_match: input.copy_source_if_match, if_none_match: None },
            modified_since: None,
            unmodified_since: input.copy_source_if_unmodified_since,
            range: None,
            with_checksums: false,
        };
        let unwanted = (input.copy_source_if_none_match, input.copy_source_if_modified_since);
        if unwanted != (None, None) {
            return Err(s3_error!(NotImplemented, "a copy takes only the conditions if-match and if-unmodified-since"));
        }
        let is_replaced = input.metadata_directive.is_some_and(|how| how.as_str() == MetadataDirective::REPLACE);
        let attributes = is_replaced.then(|| attributes!(input));
        let (bucket, key) = (input.bucket, input.key);
        let copy = move |catalog: &Catalog<M::Piece>, medium: &M| {
            let source = catalog.object(&from, &source)?;
            check_read(&source.details, &wish)?;
            let pieces = source.pieces.iter().map(|(piece, length)| Ok((medium.duplicate(piece)?, *length)));
            let pieces = pieces.collect::<std::io::Result<_>>().map_err(S3Error::internal_error)?;
            let mut details = source.details.clone();
            details.modified_seconds = now_seconds();
            details.upload_id = None;
            if let Some(attributes) = attributes {
                details.attributes = attributes;
            }
            let copied = details.clone();
            Ok((vec![catalog.put(bucket, key, Object { details, pieces }, &Condition::default())?], copied))
        };
        let copied = self.0.change(copy).await?;
        let result = with_checksums!(
            copied.fingerprint.checksums.clone(),
            CopyObjectResult {
                e_tag: Some(tag(&copied.fingerprint)),
                last_modified: Some(timestamp(copied.modified_seconds)),
            }
        );
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let id = Uuid::new_v4().simple().to_string();
        let answer = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id.clone()),
            checksum_algorithm: input.checksum_algorithm,
            ..Default::default()
        };
        let upload = Upload {
            bucket: input.bucket,
            key: input.key,
            attributes: attributes!(input),
            begun_seconds: now_seconds(),
            parts: std::collections::BTreeMap::new(),
        };
        let begin = move |catalog: &Catalog<M::Piece>, _: &M| {
            catalog.bucket(&upload.bucket)?;
            Ok((vec![Change::UploadBegun { id, upload }], ()))
        };
        self.0.change(begin).await?;
        Ok(S3Response::new(answer))
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let intake = intake!(request);
        let input = request.input;
        let number = input.part_number;
        if !(1..=MOST_PARTS).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part's number is 1 to {MOST_PARTS}"));
        }
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        self.0.look().await.upload(&bucket, &key, &id)?;
        let (piece, fingerprint) = self.take_in(intake).await?;
        let answer = fingerprint.clone();
        let put = move |catalog: &Catalog<M::Piece>, _: &M| {
            // Again, because the upload may have been aborted while the part came.
            catalog.upload(&bucket, &key, &id)?;
            let part = Part { fingerprint, modified_seconds: now_seconds(), piece };
            Ok((vec![Change::PartPut { id, number, part }], ()))
        };
        self.0.change(put).await?;
        let e_tag = Some(tag(&answer));
        Ok(S3Response::new(with_checksums!(answer.checksums, UploadPartOutput { e_tag: e_tag })))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
        only_any(condition.if_none_match.as_ref())?;
        let wish = Completion {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload_id: input.upload_id,
            parts: parts.into_iter().map(listed).collect::<S3Result<_>>()?,
            size: input.mpu_object_size.map(|size| u64::try_from(size).unwrap_or(u64::MAX)),
            condition,
        };
        let complete = move |catalog: &Catalog<M::Piece>, _: &M| {
            let (change, fingerprint) = catalog.complete(wish, now_seconds())?;
            Ok((change.into_iter().collect(), fingerprint))
        };
        let fingerprint = self.0.change(complete).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(tag(&fingerprint)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let abort = move |catalog: &Catalog<M::Piece>, _: &M| {
            catalog.upload(&input.bucket, &input.key, &input.upload_id)?;
            Ok((vec![Change::UploadRemoved { id: input.upload_id }], ()))
        };
        self.0.change(abort).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "uploads are listed without a delimiter only"));
        }
        let limit = page_limit(input.max_uploads)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let catalog = self.0.look().await;
        catalog.bucket(&input.bucket)?;
        let theirs = catalog.uploads().iter().filter(|(_, upload)| upload.bucket == input.bucket);
        let mut sorted: Vec<_> = theirs.map(|(id, upload)| (&upload.key, id, upload)).collect();
        sorted.retain(|(key, id, _)| {
            key.starts_with(prefix)
                && match (&input.key_marker, &input.upload_id_marker) {
                    (Some(after), Some(after_id)) => (*key, *id) > (after, after_id),
                    (Some(after), None) => *key > after,
                    (None, _) => true,
                }
        });
        sorted.sort_unstable_by_key(|(key, id, _)| (*key, *id));
        let is_truncated = sorted.len() > limit;
        sorted.truncate(limit);
        let next = sorted.last().filter(|_| is_truncated);
        let uploads = sorted.iter().map(|(key, id, upload)| MultipartUpload {
            key: Some((*key).clone()),
            upload_id: Some((*id).clone()),
            initiated: Some(timestamp(upload.begun_seconds)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(is_truncated),
            next_key_marker: next.map(|(key, _, _)| (*key).clone()),
            next_upload_id_marker: next.map(|(_, id, _)| (*id).clone()),
            uploads: Some(uploads.collect()),
            max_uploads: Some(count_of(limit)),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            ..Default::default()
        }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let limit = page_limit(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let catalog = self.0.look().await;
        let upload = catalog.upload(&input.bucket, &input.key, &input.upload_id)?;
        let mut rest = upload.parts.range(after.saturating_add(1)..);
        let parts: Vec<_> = rest.by_ref().take(limit).map(|(number, part)| described_part(*number, part)).collect();
        let is_truncated = rest.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            is_truncated: Some(is_truncated),
            next_part_number_marker: parts.last().and_then(|part| part.part_number).filter(|_| is_truncated),
            parts: Some(parts),
            max_parts: Some(count_of(limit)),
            part_number_marker: Some(after),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..Default::default()
        }))
    }
}

fn described_part<P>(number: i32, part: &Part<P>) -> s3s::dto::Part {
    let checksums = part.fingerprint.checksums.clone();
    s3s::dto::Part {
        part_number: Some(number),
        e_tag: Some(tag(&part.fingerprint)),
        size: Some(signed(part.fingerprint.size)),
        last_modified: Some(timestamp(part.modified_seconds)),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
    }
}

fn listed(mut part: CompletedPart) -> S3Result<ListedPart> {
    let checksums = claimed_checksums!(part);
    let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part without its number"))?;
    let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "a part without its ETag"))?;
    Ok(ListedPart { number, etag: etag.into_value(), checksums })
}

/// Better no answer than the whole object where a part or a version was asked for.
fn only_whole(part: Option<i32>, version: Option<&str>) -> S3Result<()> {
    if part.is_some() || version.is_some_and(|version| version != "null") {
        return Err(s3_error!(NotImplemented, "there are no versions, and no reading by part number"));
    }
    Ok(())
}

/// AWS takes `If-None-Match` on a write with `*` only.
fn only_any(if_none_match: Option<&ETagCondition>) -> S3Result<()> {
    if if_none_match.is_some_and(|condition| !condition.is_any()) {
        return Err(s3_error!(NotImplemented, "If-None-Match on a write must be *"));
    }
    Ok(())
}

/// At most [`PAGE`], whatever is asked for.
fn page_limit(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.map_or(Ok(PAGE), usize::try_from);
    Ok(asked.map_err(|_| s3_error!(InvalidArgument, "a page cannot be shorter than empty"))?.min(PAGE))
}

fn tag(fingerprint: &Fingerprint) -> ETag {
    ETag::Strong(fingerprint.etag.clone())
}

fn timestamp(seconds: i64) -> Timestamp {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("nothing stored is as long as 8 EiB")
}

fn count_of(items: usize) -> i32 {
    i32::try_from(items).expect("a page is at most 1000 long")
}
