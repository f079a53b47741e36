//! Measures a store in this process: uploads and downloads of parts of 8 MiB, four at a time, with the AWS SDK and with bare
//! HTTP (what is left when the client hashes nothing), and small objects.
//!
//! `cargo run --release -p devstore --example throughput [FOLDER]`; without a folder in memory.

use std::env;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use devstore::{Devstore, Settings, Storage};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

const PART_BYTES: usize = 8 * 1024 * 1024;
const PARTS: i32 = 64;
const SMALL_OBJECTS: usize = 4000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let storage = env::args().nth(1).map_or(Storage::Memory, |folder| Storage::Folder(folder.into()));
    println!("{storage:?}");
    let settings = Settings {
        listen: "127.0.0.1:0".parse()?,
        storage,
        access_key: "devkey".into(),
        secret_key: "devsecret123".into(),
        buckets: vec!["exports".into()],
    };
    let store = Devstore::start(settings).await?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(store.endpoint())
        .credentials_provider(Credentials::new("devkey", "devsecret123", None, None, "example"))
        .force_path_style(true)
        .build();
    let s3 = Client::from_conf(config);
    let part: Bytes = (0..PART_BYTES).map(|at| at.to_le_bytes()[at % 3]).collect();

    let start = Instant::now();
    upload(&s3, "sdk", |id, number| sdk_part(&s3, part.clone(), id, number)).await?;
    report("SDK PUT in parts of 8 MiB, 4 at a time", start.elapsed());

    let http = reqwest::Client::new();
    let start = Instant::now();
    upload(&s3, "bare", |id, number| bare_part(&s3, &http, part.clone(), id, number)).await?;
    report("bare PUT in parts of 8 MiB, 4 at a time", start.elapsed());

    let start = Instant::now();
    let mut body = s3.get_object().bucket("exports").key("sdk").send().await?.body;
    while body.try_next().await?.is_some() {}
    report("SDK GET in one stream", start.elapsed());

    let start = Instant::now();
    let small =
        |number| s3.put_object().bucket("exports").key(format!("small/{number}")).body(vec![0; 1024].into()).send();
    stream::iter(0..SMALL_OBJECTS).map(small).buffer_unordered(16).try_for_each(async |_| Ok(())).await?;
    let per_second = SMALL_OBJECTS as u128 * 1000 / start.elapsed().as_millis().max(1);
    println!("{per_second:6} per s     SDK PUT of 1 KiB, 16 at a time");

    store.stop().await;
    Ok(())
}

/// An upload whose parts are sent by `send`, four at a time.
async fn upload<F: Future<Output = anyhow::Result<CompletedPart>>>(
    s3: &Client,
    key: &'static str,
    send: impl Fn(String, i32) -> F,
) -> anyhow::Result<()> {
    let begun = s3.create_multipart_upload().bucket("exports").key(key).send().await?;
    let id = begun.upload_id.context("no upload id")?;
    let mut parts: Vec<_> =
        stream::iter(1..=PARTS).map(|number| send(id.clone(), number)).buffer_unordered(4).try_collect().await?;
    parts.sort_unstable_by_key(CompletedPart::part_number);
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = s3.complete_multipart_upload().bucket("exports").key(key).upload_id(id).multipart_upload(parts);
    complete.send().await?;
    Ok(())
}

async fn sdk_part(s3: &Client, part: Bytes, id: String, number: i32) -> anyhow::Result<CompletedPart> {
    let upload = s3.upload_part().bucket("exports").key("sdk").upload_id(id).part_number(number);
    let sent = upload.body(ByteStream::from(part)).send().await?;
    Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
}

async fn bare_part(
    s3: &Client,
    http: &reqwest::Client,
    part: Bytes,
    id: String,
    number: i32,
) -> anyhow::Result<CompletedPart> {
    let upload = s3.upload_part().bucket("exports").key("bare").upload_id(id).part_number(number);
    let link = upload.presigned(PresigningConfig::expires_in(Duration::from_mins(10))?).await?;
    let sent = http.put(link.uri()).body(part).send().await?.error_for_status()?;
    let etag = sent.headers().get("etag").context("no ETag")?.to_str()?.to_owned();
    Ok(CompletedPart::builder().part_number(number).e_tag(etag).build())
}

fn report(what: &str, time: Duration) {
    let mib = u128::from(PARTS.unsigned_abs()) * (PART_BYTES as u128 >> 20);
    println!("{:6} MiB/s     {what}", mib * 1000 / time.as_millis().max(1));
}
