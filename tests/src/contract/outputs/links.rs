//! Links: what anybody who has one gets by it, and for how long.

use reqwest::Method;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    RANGE,
};
use shared::clock::{Clock, SystemClock};
use tokio::time::sleep;

use super::*;

/// `{}` and a line feed, compressed. Any number of them in a row is a compressed text too (RFC 1952, section 2.2).
const COMPRESSED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xab\xae\xe5\x02\0\x06\xb0\xa1\xdd\x03\0\0\0";

pub(super) async fn anybody_can_download_an_object_by_its_link(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, content) in [(1, b"{}\n".to_vec()), (2, bytes(PART + 1))] {
        here.write(&key(job, task), &content).await?;
        let link = here.link(&key(job, task)).await?;
        let answer = here.get(link).await?;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/fhir+ndjson");
        assert!(answer.bytes().await? == content);
    }
    Ok(())
}

pub(super) async fn a_link_gives_a_part_of_an_object_as_well(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    here.write(&key, b"0123456789").await?;
    let link = here.link(&key).await?;
    let answer = here.web.get(link).header(RANGE, "bytes=3-5").send().await?;
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.headers()[CONTENT_RANGE], "bytes 3-5/10");
    assert_eq!(answer.bytes().await?, "345");
    Ok(())
}

pub(super) async fn a_link_to_a_part_beyond_the_end_answers_416(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    here.write(&key, b"0123456789").await?;
    let link = here.link(&key).await?;
    let answer = here.web.get(link).header(RANGE, "bytes=10-").send().await?;
    assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    Ok(())
}

pub(super) async fn a_link_serves_one_method_only(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    here.write(&key, b"{}\n").await?;
    for (signed, method, status) in [
        (LinkMethod::Get, Method::GET, StatusCode::OK),
        (LinkMethod::Get, Method::HEAD, StatusCode::FORBIDDEN),
        (LinkMethod::Head, Method::HEAD, StatusCode::OK),
        (LinkMethod::Head, Method::GET, StatusCode::FORBIDDEN),
    ] {
        let link = here.outputs.link(&key, signed, HOUR).await?.url;
        let answer = here.web.request(method.clone(), link).send().await?;
        assert_eq!(answer.status(), status, "{method} by a link for {signed:?}");
    }
    Ok(())
}

pub(super) async fn a_link_to_ask_tells_what_a_download_would(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    for (task, length) in [(1, 3), (2, PART + 1)] {
        here.write(&key(job, task), &bytes(length)).await?;
        let asked = head(here, &key(job, task)).await?;
        assert_eq!(asked.headers()[CONTENT_LENGTH], length.to_string());
        assert_eq!(asked.headers()[CONTENT_TYPE], "application/fhir+ndjson");
        let got = here.get(here.link(&key(job, task)).await?).await?;
        assert_eq!(got.headers()[CONTENT_LENGTH], length.to_string());
        assert_eq!(got.headers()[ETAG], asked.headers()[ETAG]);
        assert_eq!(asked.bytes().await?, "");
    }
    Ok(())
}

pub(super) async fn the_etag_of_an_object_stays_and_is_its_own(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    here.write(&key(job, 1), b"{}\n").await?;
    here.write(&key(job, 2), b"[]\n").await?;
    let etag = head(here, &key(job, 1)).await?.headers()[ETAG].clone();
    assert_eq!(head(here, &key(job, 1)).await?.headers()[ETAG], etag);
    assert_ne!(head(here, &key(job, 2)).await?.headers()[ETAG], etag);
    let part = here.web.get(here.link(&key(job, 1)).await?).header(RANGE, "bytes=0-0").send().await?;
    assert_eq!(part.headers()[ETAG], etag, "a part has that of the whole");
    let known = here.web.get(here.link(&key(job, 1)).await?).header(IF_NONE_MATCH, etag).send().await?;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    Ok(())
}

pub(super) async fn a_link_tells_when_it_ends(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    for method in [LinkMethod::Get, LinkMethod::Head] {
        let before = SystemClock.now();
        let link = here.outputs.link(&key, method, HOUR).await?;
        let after = SystemClock.now();
        assert!(link.expires_at <= after + HOUR, "not later than asked");
        assert!(link.expires_at + Duration::from_secs(1) > before + HOUR, "whole seconds, not less");
    }
    Ok(())
}

pub(super) async fn a_compressed_object_is_served_as_it_was_stored_with_its_encoding(
    here: &Here,
) -> anyhow::Result<()> {
    let job = here.job();
    for (task, content) in [(1, COMPRESSED.to_vec()), (2, COMPRESSED.repeat(PART / COMPRESSED.len() + 1))] {
        let length = write_encoded(&*here.outputs, &key(job, task), Encoding::Gzip, &content).await?;
        assert_eq!(length, content.len() as u64);
        let told = |answer: &reqwest::Response, name: HeaderName| answer.headers()[name].to_str().map(str::to_owned);
        let asked = head(here, &key(job, task)).await?;
        // Whatever a client says that it takes: nobody unpacks on the way, or the length and the ranges would be others.
        for accepts in ["identity", "gzip"] {
            let link = here.link(&key(job, task)).await?;
            let got = here.web.get(link).header(ACCEPT_ENCODING, accepts).send().await?;
            for answer in [&asked, &got] {
                assert_eq!(told(answer, CONTENT_ENCODING)?, "gzip");
                assert_eq!(told(answer, CONTENT_TYPE)?, "application/fhir+ndjson");
                assert_eq!(told(answer, CONTENT_LENGTH)?, length.to_string());
            }
            assert!(got.bytes().await? == content);
        }
    }
    here.write(&key(job, 3), b"{}\n").await?;
    assert_eq!(head(here, &key(job, 3)).await?.headers().get(CONTENT_ENCODING), None);
    Ok(())
}

pub(super) async fn a_link_to_an_object_that_is_not_there_answers_404(here: &Here) -> anyhow::Result<()> {
    let link = here.link(&key(here.job(), 1)).await?;
    assert_eq!(here.get(link).await?.status(), StatusCode::NOT_FOUND);
    Ok(())
}

pub(super) async fn a_link_that_was_changed_is_refused(here: &Here) -> anyhow::Result<()> {
    let job = here.job();
    here.write(&key(job, 1), b"{}\n").await?;
    here.write(&key(job, 2), b"{}\n").await?;
    let link = here.link(&key(job, 1)).await?;

    let (mut other_object, mut longer, mut more) = (link.clone(), link.clone(), link.clone());
    other_object.set_path(&link.path().replace("/1.1.0.", "/2.1.0."));
    longer.set_query(Some(&link.query().unwrap().replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")));
    more.query_pairs_mut().append_pair("response-content-type", "text/html");
    let mut unsigned = link.clone();
    unsigned.set_query(None);
    for changed in [other_object, longer, more, unsigned] {
        assert_ne!(changed, link);
        assert_eq!(here.get(changed.clone()).await?.status(), StatusCode::FORBIDDEN, "{changed}");
    }
    assert_eq!(here.get(link).await?.status(), StatusCode::OK);
    Ok(())
}

pub(super) async fn a_link_is_refused_after_its_time(here: &Here) -> anyhow::Result<()> {
    let key = key(here.job(), 1);
    here.write(&key, b"{}\n").await?;
    let link = here.outputs.link(&key, LinkMethod::Get, Duration::from_secs(1)).await?.url;
    let begin = Instant::now();
    while here.get(link.clone()).await?.status() != StatusCode::FORBIDDEN {
        assert!(begin.elapsed() < Duration::from_secs(20), "it still works");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What a link to ask about an object answers.
async fn head(here: &Here, key: &OutputKey) -> anyhow::Result<reqwest::Response> {
    let link = here.outputs.link(key, LinkMethod::Head, HOUR).await?.url;
    Ok(here.web.head(link).send().await?.error_for_status()?)
}
