//! What the S3 adapter makes of a store that is busy, slow, gone, or lost its answer on the way.

use ::devstore::{Failure, Requests};
use anyhow::ensure;
use shared::outputs::s3::{Credentials, S3Address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn here() -> anyhow::Result<Here> {
    Here::at(Store::devstore().await?).await
}

/// Objects of a store at an address that is no real one.
async fn outputs_at(endpoint: &str, settings: &S3Settings) -> anyhow::Result<S3Outputs> {
    let address = S3Address::parse(&format!("s3://exports?endpoint={endpoint}"))?;
    let keys = Credentials::Static { access_key: "devkey".to_owned(), secret_key: "devsecret123".to_owned() };
    Ok(S3Outputs::connect(&address, "space", keys, settings).await?)
}

/// Every request that an object in parts needs.
fn steps() -> [Requests; 3] {
    [
        Requests::any().with_verb("POST").with_query("uploads"),
        Requests::any().with_verb("PUT").with_query("partNumber=2"),
        Requests::any().with_verb("POST").with_query("uploadId"),
    ]
}

#[tokio::test]
async fn a_store_that_is_busy_twice_is_asked_a_third_time() -> anyhow::Result<()> {
    let here = here().await?;
    let (small, big) = (key(here.job(), 1), key(here.job(), 1));
    here.store.faults().fail_next(2, Requests::any().with_verb("PUT"), Failure::SlowDown);
    here.write(&small, b"{}\n").await?;
    assert_eq!(here.store.faults().pending(), 0);

    for step in steps() {
        here.store.faults().fail_next(2, step, Failure::SlowDown);
    }
    let content = bytes(3 * PART);
    here.write(&big, &content).await?;
    assert_eq!(here.store.faults().pending(), 0);
    assert!(here.content(&big).await? == content);
    Ok(())
}

#[tokio::test]
async fn a_store_that_stays_busy_is_busy_and_the_upload_is_given_up() -> anyhow::Result<()> {
    let here = here().await?;
    let job = here.job();
    here.store.faults().fail_next(usize::MAX, Requests::any().with_verb("PUT"), Failure::SlowDown);
    let fault = here.write(&key(job, 1), b"{}\n").await.expect_err("an object");
    assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
    here.store.faults().clear();

    for step in steps() {
        here.store.faults().fail_next(usize::MAX, step, Failure::SlowDown);
        let fault = here.write(&key(job, 2), &bytes(2 * PART)).await.expect_err("an object in parts");
        assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
        here.store.faults().clear();
        assert_eq!(here.s3.unfinished_uploads(job).await?, 0);
        assert_eq!(here.outputs.list(job).await?, []);
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_fails_inside_is_unavailable() -> anyhow::Result<()> {
    let here = here().await?;
    here.store.faults().fail_next(usize::MAX, Requests::any(), Failure::InternalError);
    let fault = here.outputs.ready().await.expect_err("it is not ready");
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    Ok(())
}

#[tokio::test]
async fn connections_that_break_cost_nothing_but_time() -> anyhow::Result<()> {
    let here = here().await?;
    let key = key(here.job(), 1);
    for (step, failure) in steps().into_iter().zip([Failure::BreakRequest, Failure::BreakRequest, Failure::BreakAnswer])
    {
        here.store.faults().fail_next(1, step, failure);
    }
    let content = bytes(2 * PART + 1);
    assert_eq!(here.write(&key, &content).await?, content.len() as u64);
    assert_eq!(here.store.faults().pending(), 0);
    assert!(here.content(&key).await? == content);
    Ok(())
}

#[tokio::test]
async fn parts_that_overtake_each_other_are_put_in_order() -> anyhow::Result<()> {
    let here = here().await?;
    let key = key(here.job(), 1);
    let first = Requests::any().with_query("partNumber=1");
    here.store.faults().fail_next(1, first, Failure::Delay(Duration::from_secs(1)));
    let content = bytes(2 * PART + 1);
    here.write(&key, &content).await?;
    assert!(here.content(&key).await? == content);
    Ok(())
}

#[tokio::test]
async fn after_a_failure_a_writer_is_of_no_use() -> anyhow::Result<()> {
    let here = here().await?;
    let key = key(here.job(), 1);
    let mut writer = here.outputs.create(&key, Encoding::Identity).await?;
    here.store.faults().fail_next(3, Requests::any().with_verb("POST"), Failure::SlowDown);
    let fault = writer.write(&bytes(PART + 1)).await.expect_err("the upload cannot begin");
    assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
    let fault = writer.write(b"{}\n").await.expect_err("it has failed");
    assert_eq!(fault.kind(), FaultKind::Conflict, "{fault}");
    let fault = writer.finish().await.expect_err("it has failed");
    assert_eq!(fault.kind(), FaultKind::Conflict, "{fault}");
    assert!(!here.is_there(&key).await?);
    Ok(())
}

#[tokio::test]
async fn a_writer_waits_for_a_slow_store_and_holds_few_parts() -> anyhow::Result<()> {
    let here = here().await?;
    let parts = Requests::any().with_verb("PUT").with_query("partNumber");
    here.store.faults().fail_next(usize::MAX, parts, Failure::Delay(Duration::from_hours(1)));
    let mut writer = here.outputs.create(&key(here.job(), 1), Encoding::Identity).await?;
    // Two under way and one in hand.
    writer.write(&bytes(3 * PART)).await?;
    let more = timeout(Duration::from_millis(500), writer.write(b"{}\n")).await;
    assert!(more.is_err(), "it took more than three parts");
    let fault = writer.write(b"{}\n").await.expect_err("nobody knows how much of the last call it took");
    assert_eq!(fault.kind(), FaultKind::Conflict, "{fault}");
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable() -> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let outputs = outputs_at(&format!("http://127.0.0.1:{port}"), &settings()).await?;
    let key = key(JobId::random(), 1);
    for fault in [
        outputs.ready().await.expect_err("it is not ready"),
        write(&outputs, &key, b"{}\n").await.expect_err("an object"),
        write(&outputs, &key, &bytes(PART + 1)).await.expect_err("an object in parts"),
        outputs.remove_job(key.job).await.expect_err("its removal"),
    ] {
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_never_answers_is_unavailable_in_time() -> anyhow::Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let short = S3Settings { attempt_timeout: Duration::from_millis(200), attempts: 2, ..settings() };
    let outputs = outputs_at(&format!("http://{}", silent.local_addr()?), &short).await?;
    let key = key(JobId::random(), 1);
    for content in [bytes(3), bytes(PART + 1)] {
        let begin = Instant::now();
        let fault = write(&outputs, &key, &content).await.expect_err("nobody answers");
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
        ensure!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn links_are_signed_and_empty_objects_dropped_without_asking_the_store() -> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let outputs = outputs_at(&format!("http://127.0.0.1:{port}"), &settings()).await?;
    let key = key(JobId::random(), 1);
    drop(outputs.create(&key, Encoding::Identity).await?);
    outputs.create(&key, Encoding::Identity).await?.abort().await?;
    let link = outputs.link(&key, LinkMethod::Get, Duration::from_millis(90_999)).await?.url;
    let begin = format!("http://127.0.0.1:{port}/exports/space/{key}?");
    assert!(link.as_str().starts_with(&begin), "{link}");
    assert!(link.query_pairs().any(|(name, value)| name == "X-Amz-Expires" && value == "90"), "{link}");
    Ok(())
}

#[tokio::test]
async fn links_are_for_the_endpoint_that_clients_see() -> anyhow::Result<()> {
    let here = here().await?;
    let mut address = here.store.address.clone();
    address.public_endpoint = address.endpoint.as_ref().map(|endpoint| endpoint.replace("127.0.0.1", "localhost"));
    let outputs = S3Outputs::connect(&address, "space", here.store.credentials(), &settings()).await?;
    let key = key(JobId::random(), 1);
    write(&outputs, &key, b"{}\n").await?;
    let link = outputs.link(&key, LinkMethod::Get, HOUR).await?.url;
    assert_eq!(link.host_str(), Some("localhost"));
    assert_eq!(here.get(link).await?.error_for_status()?.bytes().await?, "{}\n");
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_gone_because_it_was_completed_is_an_object() -> anyhow::Result<()> {
    let content = bytes(PART + 1);
    let store = forgetful_store(content.len()).await?;
    let outputs = outputs_at(&store, &settings()).await?;
    assert_eq!(write(&outputs, &key(JobId::random(), 1), &content).await?, content.len() as u64);
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_gone_is_not_mistaken_for_another_object() -> anyhow::Result<()> {
    let content = bytes(PART + 1);
    let store = forgetful_store(content.len() - 1).await?;
    let outputs = outputs_at(&store, &settings()).await?;
    let fault = write(&outputs, &key(JobId::random(), 1), &content).await.expect_err("the object is another");
    assert_eq!(fault.kind(), FaultKind::NotFound, "{fault}");
    Ok(())
}

/// A store that answers the second completion of an upload as most do, 404, after the answer to the first was lost; it says
/// of every object that it has this length.
async fn forgetful_store(length: usize) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let mut completed = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(head) = read_request(&mut stream).await else { continue };
            let line = head.lines().next().unwrap_or_default();
            let (status, header, body) = match line.split(' ').next() {
                Some("POST") if line.contains("?uploads") => (
                    "200 OK",
                    String::new(),
                    "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
                ),
                Some("POST") => {
                    completed += 1;
                    if completed == 1 {
                        continue;
                    }
                    ("404 Not Found", String::new(), "<Error><Code>NoSuchUpload</Code></Error>")
                }
                Some("PUT") => ("200 OK", "ETag: \"e\"\r\n".to_owned(), ""),
                Some("HEAD") => ("200 OK", format!("Content-Length: {length}\r\n"), ""),
                _ => ("204 No Content", String::new(), ""),
            };
            let about = if header.starts_with("Content-Length") {
                String::new()
            } else {
                format!("Content-Length: {}\r\n", body.len())
            };
            let answer = format!("HTTP/1.1 {status}\r\n{header}{about}Connection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(endpoint)
}

/// Reads a request to its end and gives its head.
async fn read_request(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut got = Vec::new();
    let end = loop {
        ensure!(stream.read_buf(&mut got).await? > 0, "the connection ended");
        if let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(got[..end].to_vec())?.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(Ok(0), str::parse)?;
    let mut left = vec![0; length - (got.len() - end)];
    stream.read_exact(&mut left).await?;
    Ok(String::from_utf8(got[..end].to_vec())?)
}
