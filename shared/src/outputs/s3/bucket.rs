//! The calls on one bucket, each with the words for its failure.

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use prometheus::HistogramVec;

use super::faults::fault;
use crate::export::Encoding;
use crate::fault::{Fault, FaultKind};

/// The media type of every object (standards §1.6).
const NDJSON: &str = "application/fhir+ndjson";

/// How many objects S3 removes in one request.
const REMOVED_AT_ONCE: usize = 1000;

/// A bucket and the client that talks to it.
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    /// Whether the signature covers the content. Where nobody can change it on the way it need not, and a digest of every
    /// byte is a good part of what an upload costs the processor.
    pub(super) signs_content: bool,
    /// Where it is measured how long parts take.
    pub(super) part_seconds: Option<HistogramVec>,
}

/// An upload in parts that was begun and not finished.
pub(super) struct Unfinished {
    pub(super) object: String,
    pub(super) id: String,
}

/// How an upload could not be completed.
pub(super) enum NotCompleted {
    /// The store does not know the upload: it was given up, or it was completed and the answer was lost.
    NoSuchUpload(Fault),
    /// Anything else.
    Failed(Fault),
}

impl Bucket {
    /// Writes an object in one request. Its content is in this encoding already.
    pub(super) async fn put(&self, object: &str, encoding: Encoding, content: Bytes) -> Result<(), Fault> {
        let request = self.client.put_object().bucket(&self.name).key(object).content_type(NDJSON);
        let request = request.set_content_encoding(content_encoding(encoding));
        let request = request.body(ByteStream::from(content)).customize();
        let request = if self.signs_content { request } else { request.disable_payload_signing() };
        match self.timed(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(format!("failed to upload {object}"), error)),
        }
    }

    /// Begins an upload in parts, of content that is in this encoding already; answers its id.
    pub(super) async fn begin(&self, object: &str, encoding: Encoding) -> Result<String, Fault> {
        let doing = || format!("failed to begin the upload of {object}");
        let request = self.client.create_multipart_upload().bucket(&self.name).key(object).content_type(NDJSON);
        let request = request.set_content_encoding(content_encoding(encoding));
        let begun = request.send().await.map_err(|error| self.fault(doing(), error))?;
        begun.upload_id.ok_or_else(|| Fault::new(FaultKind::Corrupt, doing()).because("the store gave it no id"))
    }

    /// Uploads one part, counted from 1. It takes its bucket whole, because it runs on its own.
    pub(super) async fn part(
        self: Arc<Self>,
        object: String,
        upload: String,
        number: i32,
        content: Bytes,
    ) -> Result<CompletedPart, Fault> {
        let doing = || format!("failed to upload part {number} of {object}");
        let request = self.client.upload_part().bucket(&self.name).key(&object).upload_id(upload).part_number(number);
        let request = request.body(ByteStream::from(content)).customize();
        let request = if self.signs_content { request } else { request.disable_payload_signing() };
        let sent = self.timed(request.send()).await.map_err(|error| self.fault(doing(), error))?;
        let Some(etag) = sent.e_tag else {
            return Err(Fault::new(FaultKind::Corrupt, doing()).because("the store gave it no ETag"));
        };
        // The ETag alone: some stores refuse checksums here that they gave out themselves (parts.md §2.2.4).
        Ok(CompletedPart::builder().part_number(number).e_tag(etag).build())
    }

    /// Measures an upload of content.
    async fn timed<T, E>(&self, upload: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let sent = upload.await;
        if let Some(part_seconds) = &self.part_seconds {
            let outcome = if sent.is_ok() { "ok" } else { "failed" };
            part_seconds.with_label_values(&[outcome]).observe(began.elapsed().as_secs_f64());
        }
        sent
    }

    /// Makes an object of the parts of an upload, which come in their order.
    pub(super) async fn complete(
        &self,
        object: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), NotCompleted> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.name).key(object);
        match request.upload_id(upload).multipart_upload(parts).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let is_unknown =
                    error.as_service_error().and_then(CompleteMultipartUploadError::code) == Some("NoSuchUpload");
                let fault = self.fault(format!("failed to complete the upload of {object}"), error);
                Err(if is_unknown { NotCompleted::NoSuchUpload(fault) } else { NotCompleted::Failed(fault) })
            }
        }
    }

    /// Gives up an upload and what was sent of it. One that is not there counts as given up.
    pub(super) async fn abort(&self, object: &str, upload: &str) -> Result<(), Fault> {
        let request = self.client.abort_multipart_upload().bucket(&self.name).key(object).upload_id(upload);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let fault = self.fault(format!("failed to give up the upload of {object}"), error);
                if fault.kind() == FaultKind::NotFound { Ok(()) } else { Err(fault) }
            }
        }
    }

    /// The content of an object, in pieces; none if it is not there.
    pub(super) async fn get(&self, object: String) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        let content = match self.client.get_object().bucket(&self.name).key(&object).send().await {
            Ok(found) => found.body,
            Err(error) => {
                let fault = self.fault(format!("failed to read {object}"), error);
                return if fault.kind() == FaultKind::NotFound { Ok(None) } else { Err(fault) };
            }
        };
        let pieces = stream::try_unfold((content, object), |(mut content, object)| async move {
            match content.next().await {
                None => Ok(None),
                Some(Ok(piece)) => Ok(Some((piece, (content, object)))),
                Some(Err(error)) => {
                    Err(Fault::new(FaultKind::Unavailable, format!("failed to read {object}")).because(error))
                }
            }
        });
        Ok(Some(pieces.boxed()))
    }

    /// The length of an object; none if it is not there.
    pub(super) async fn length(&self, object: &str) -> Result<Option<u64>, Fault> {
        match self.client.head_object().bucket(&self.name).key(object).send().await {
            Ok(head) => Ok(head.content_length.and_then(|length| u64::try_from(length).ok())),
            Err(error) => {
                let fault = self.fault(format!("failed to look at {object}"), error);
                if fault.kind() == FaultKind::NotFound { Ok(None) } else { Err(fault) }
            }
        }
    }

    /// The names of all objects that begin with `prefix`.
    pub(super) async fn objects(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.fault(format!("failed to list the objects of {prefix}"), error))?;
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(objects)
    }

    /// Succeeds when the bucket is there and these credentials may look into it.
    pub(super) async fn look(&self, prefix: &str) -> Result<(), Fault> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).max_keys(1);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(format!("failed to look into the bucket {}", self.name), error)),
        }
    }

    /// Removes objects; one that is not there counts as removed.
    pub(super) async fn remove(&self, objects: &[String]) -> Result<(), Fault> {
        for some in objects.chunks(REMOVED_AT_ONCE) {
            let doing = || format!("failed to remove {} objects, {} first", some.len(), some[0]);
            let wrong = |error| Fault::new(FaultKind::Invalid, doing()).because(error);
            let names = some.iter().map(|object| ObjectIdentifier::builder().key(object).build());
            let names = names.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            let names = Delete::builder().set_objects(Some(names)).quiet(true).build().map_err(wrong)?;
            let request = self.client.delete_objects().bucket(&self.name).delete(names);
            let answer = request.send().await.map_err(|error| self.fault(doing(), error))?;

            // The answer is 200 even if nothing could be removed.
            let left = answer.errors.unwrap_or_default();
            let Some(one) = left.iter().find(|error| error.code() != Some("NoSuchKey")) else { continue };
            let (object, code) = (one.key().unwrap_or("?"), one.code().unwrap_or("no error code"));
            let message = one.message().unwrap_or_default();
            return Err(Fault::new(super::faults::kind(one.code(), None), doing())
                .because(format!("{} are left, among them {object}: {code}: {message}", left.len())));
        }
        Ok(())
    }

    /// The unfinished uploads of objects whose names begin with `prefix`.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, Fault> {
        let doing = || format!("failed to list the uploads of {prefix}");
        let mut found = Vec::new();
        let (mut after_object, mut after_upload) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.name).prefix(prefix);
            let request = request.set_key_marker(after_object.take()).set_upload_id_marker(after_upload.take());
            let page = request.send().await.map_err(|error| self.fault(doing(), error))?;
            for upload in page.uploads.unwrap_or_default() {
                if let (Some(object), Some(id)) = (upload.key, upload.upload_id)
                    && object.starts_with(prefix)
                {
                    found.push(Unfinished { object, id });
                }
            }
            if page.is_truncated != Some(true) {
                return Ok(found);
            }
            (after_object, after_upload) = (page.next_key_marker, page.next_upload_id_marker);
            if after_object.is_none() {
                return Err(Fault::new(FaultKind::Corrupt, doing()).because("the store does not say where to go on"));
            }
        }
    }

    fn fault<E>(&self, doing: String, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        fault(doing, &self.name, error)
    }
}

/// The header `Content-Encoding` of an object; none for one that is stored as it is (RFC 9110, section 8.4).
fn content_encoding(encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip".to_owned()),
    }
}
