//! A request body on its way in: every byte is hashed as it passes, and nothing is stored whose digests do not agree.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::{HeaderMap, StatusCode};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};
use serde::{Deserialize, Serialize};

/// Checksums as S3 writes them (base64), one for each algorithm that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checksums {
    /// CRC-32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc32: Option<String>,
    /// CRC-32C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
    /// CRC-64/NVME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// SHA-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Checksums {
    /// The name of each algorithm's header, and its value here.
    fn named(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("x-amz-checksum-crc32", &self.crc32),
            ("x-amz-checksum-crc32c", &self.crc32c),
            ("x-amz-checksum-crc64nvme", &self.crc64nvme),
            ("x-amz-checksum-sha1", &self.sha1),
            ("x-amz-checksum-sha256", &self.sha256),
        ]
    }

    /// Whether `claimed` names a checksum which is known here and differs.
    pub fn contradict(&self, claimed: &Self) -> bool {
        let mut pairs = self.named().into_iter().zip(claimed.named());
        pairs.any(|((_, ours), (_, theirs))| ours.is_some() && theirs.is_some() && ours != theirs)
    }
}

impl From<Checksum> for Checksums {
    fn from(sums: Checksum) -> Self {
        Self {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        }
    }
}

/// What is known of stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The ETag, without quotes.
    pub etag: String,
    /// Length in bytes.
    pub size: u64,
    /// The checksums that the client sent, verified.
    #[serde(default)]
    pub checksums: Checksums,
}

/// The ETag of one run of bytes.
///
/// AWS gives the MD5 for plain objects, but promises only that the tag changes with the content, and does not give an
/// MD5 for encrypted ones. MD5 runs at well under 1 GiB/s on one core and would be the slowest step of an upload;
/// CRC-64/NVME runs at many GiB/s. The tag says what it is and holds a dash, which clients that compare MD5s know as
/// "not an MD5". A CRC is no defence against somebody who crafts collisions: nobody does so on a laptop.
fn etag(crc: [u8; 8]) -> String {
    format!("crc64-{:016x}", u64::from_be_bytes(crc))
}

/// The ETag of an object made of parts: as with AWS, the digest of the parts' tags, a dash, and how many they are.
pub fn etag_of_parts<'a>(part_etags: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Crc64Nvme::new();
    let mut count = 0_usize;
    for tag in part_etags {
        hasher.update(tag.as_bytes());
        count += 1;
    }
    format!("{}-{count}", etag(hasher.finalize()))
}

/// What the client says of the body that it sends.
#[derive(Default)]
pub struct Claims {
    /// The header `Content-MD5`, base64.
    pub md5: Option<String>,
    /// The checksum headers.
    pub checksums: Checksums,
    /// The header `x-amz-trailer`: which checksums follow the body.
    pub announced: Option<String>,
    /// Where s3s leaves those that follow.
    pub trailers: Option<TrailingHeaders>,
    /// The length, without the framing of `aws-chunked`.
    pub length: Option<i64>,
}

impl Claims {
    /// The name of the checksums that come behind the body.
    pub fn announced_in(headers: &HeaderMap) -> Option<String> {
        let value = headers.get("x-amz-trailer")?.to_str().ok()?;
        Some(value.to_ascii_lowercase())
    }

    fn awaits(&self, header: &str) -> bool {
        let announced = self.announced.as_deref().unwrap_or_default();
        announced.split(',').any(|name| name.trim() == header)
    }
}

/// A body that is being received.
pub struct Intake {
    body: Option<StreamingBlob>,
    claims: Claims,
    size: u64,
    crc: Crc64Nvme,
    md5: Option<Md5>,
    checksums: ChecksumHasher,
}

impl Intake {
    /// Prepares to receive `body`, with only the hashers that the claims need.
    pub fn new(body: Option<StreamingBlob>, claims: Claims) -> Self {
        let needs = |header: &str, claimed: &Option<String>| claimed.is_some() || claims.awaits(header);
        let [crc32, crc32c, crc64nvme, sha1, sha256] = claims.checksums.named().map(|(header, sum)| needs(header, sum));
        let checksums = ChecksumHasher {
            crc32: crc32.then(Crc32::new),
            crc32c: crc32c.then(Crc32c::new),
            crc64nvme: crc64nvme.then(Crc64Nvme::new),
            sha1: sha1.then(Sha1::new),
            sha256: sha256.then(Sha256::new),
        };
        let md5 = claims.md5.is_some().then(Md5::new);
        Self { body, claims, size: 0, crc: Crc64Nvme::new(), md5, checksums }
    }

    /// The next bytes, or `None` at the end. Fails when the client breaks off, or a signature within the body is wrong.
    pub async fn next(&mut self) -> S3Result<Option<Bytes>> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let Some(chunk) = body.next().await else {
            return Ok(None);
        };
        let chunk = chunk.map_err(broken_body)?;
        self.size += chunk.len() as u64;
        self.crc.update(&chunk);
        self.checksums.update(&chunk);
        if let Some(md5) = &mut self.md5 {
            md5.update(&chunk);
        }
        Ok(Some(chunk))
    }

    /// Compares what came with what was claimed: `IncompleteBody`, `InvalidDigest`, `BadDigest` if they differ.
    pub fn finish(mut self) -> S3Result<Fingerprint> {
        if self.claims.length.is_some_and(|claimed| u64::try_from(claimed) != Ok(self.size)) {
            return Err(s3_error!(IncompleteBody, "the body is {} bytes long, not as announced", self.size));
        }
        if let (Some(claimed), Some(md5)) = (&self.claims.md5, self.md5.take()) {
            check_md5(claimed, md5.finalize())?;
        }
        let checksums = Checksums::from(self.checksums.finalize());
        check_sums(&self.claims, &checksums)?;
        Ok(Fingerprint { etag: etag(self.crc.finalize()), size: self.size, checksums })
    }
}

fn check_md5(claimed: &str, ours: [u8; 16]) -> S3Result<()> {
    let claimed = base64_simd::STANDARD.decode_to_vec(claimed).unwrap_or_default();
    if claimed.len() != ours.len() {
        return Err(s3_error!(InvalidDigest, "Content-MD5 is not the base64 of an MD5"));
    }
    if claimed != ours {
        return Err(s3_error!(BadDigest, "the body does not have the announced Content-MD5"));
    }
    Ok(())
}

fn check_sums(claims: &Claims, ours: &Checksums) -> S3Result<()> {
    if ours.contradict(&claims.checksums) {
        return Err(s3_error!(BadDigest, "the body does not have the announced checksum"));
    }
    for (header, sum) in ours.named() {
        let Some(sum) = sum.as_deref().filter(|_| claims.awaits(header)) else {
            continue;
        };
        let trailers = claims.trailers.as_ref();
        let agree =
            trailers.and_then(|trailers| trailers.read(|map| map.get(header).is_some_and(|value| value == sum)));
        if agree != Some(true) {
            return Err(s3_error!(BadDigest, "the trailer {header} is missing or wrong"));
        }
    }
    Ok(())
}

/// s3s checks the payload's SHA-256 and the signatures of chunks while the body streams, and reports a mismatch as an
/// error of the stream, of types that it keeps to itself. Their text is all there is to tell them by.
fn broken_body(source: StdError) -> S3Error {
    let text = source.to_string();
    let mut error = if text.contains("Sha256Mismatch") {
        let mut error = S3Error::new(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()));
        error.set_status_code(StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch)
    } else {
        s3_error!(IncompleteBody)
    };
    error.set_source(source);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(text: &'static str, claims: Claims) -> Intake {
        let body = s3s::Body::from(Bytes::from_static(text.as_bytes()));
        Intake::new(Some(StreamingBlob::from(body)), claims)
    }

    async fn received(mut intake: Intake) -> S3Result<Fingerprint> {
        while intake.next().await?.is_some() {}
        intake.finish()
    }

    #[tokio::test]
    async fn an_etag_follows_from_the_bytes_alone() {
        let one = received(intake("hello", Claims::default())).await.expect("no claim, no contradiction");
        let same = received(intake("hello", Claims::default())).await.expect("no claim, no contradiction");
        let other = received(intake("hellp", Claims::default())).await.expect("no claim, no contradiction");
        assert_eq!(one, same);
        assert_ne!(one.etag, other.etag);
        assert_eq!(one.size, 5);
    }

    #[tokio::test]
    async fn an_md5_that_is_none_differs_from_one_that_is_wrong() {
        for (md5, code) in
            [("aGVsbG8=", S3ErrorCode::InvalidDigest), ("AAAAAAAAAAAAAAAAAAAAAA==", S3ErrorCode::BadDigest)]
        {
            let claims = Claims { md5: Some(md5.to_owned()), ..Claims::default() };
            let refused = received(intake("hello", claims)).await.expect_err("the digest is wrong");
            assert_eq!(refused.code(), &code);
        }
        let claims = Claims { md5: Some("XUFAKrxLKna5cZ2REBfFkg==".to_owned()), ..Claims::default() };
        received(intake("hello", claims)).await.expect("the digest is right");
    }

    #[tokio::test]
    async fn a_checksum_that_was_announced_behind_the_body_must_come() {
        let claims = Claims { announced: Some("x-amz-checksum-crc32".to_owned()), ..Claims::default() };
        let refused = received(intake("hello", claims)).await.expect_err("no trailer came");
        assert_eq!(refused.code(), &S3ErrorCode::BadDigest);
    }
}
