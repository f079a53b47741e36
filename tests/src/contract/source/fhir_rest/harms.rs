//! A server that answers wrongly, in each of the ways that have been met.

use std::time::Duration;

use devfhir::Harm::{
    BrokenBody, CyclicNext, DuplicateRows, ForeignRows, IgnoresId, MissingRows, NextElsewhere, NoServer, NotJson,
    Redirect, ShuffledRows, SlowBody, SlowHead, SmallPages, Status, TooManyIds, TruncatedJson, WrongTotal, WrongType,
};
use devfhir::{Fault, Requests};
use shared::fault::FaultKind;
use shared::fhir::{Instant, ResourceType};
use shared::source::{Changed, ResourceSource};

use super::{all, payer, read, source};

/// Reads a list from a server with these faults; it must end with everything, and the faults must have been met.
async fn is_read_whole(faults: &[Fault]) {
    let server = payer();
    faults.iter().cloned().for_each(|fault| server.misbehave(fault));
    let learned = read(source(&server)).await;
    assert_eq!(learned.unwrap_or_else(|fault| panic!("{faults:?}: {fault}")), all(), "{faults:?}");
    assert!(server.met() > 0, "{faults:?} was met by nothing");
}

/// Reads a list from a server with these faults; it must end with a fault of this kind that has this in it, and no id of a
/// resource.
async fn fails(faults: &[Fault], kind: FaultKind, why: &str) {
    let server = payer();
    faults.iter().cloned().for_each(|fault| server.misbehave(fault));
    let fault = read(source(&server)).await.expect_err("it cannot be read");
    assert_eq!(fault.kind(), kind, "{faults:?}: {fault}");
    assert!(fault.to_string().contains(why), "{faults:?}: {fault}");
    assert!(!(0..30).any(|n| fault.to_string().contains(&format!("p{n}"))), "{fault}");
}

#[tokio::test]
async fn what_goes_wrong_once_or_twice_is_asked_for_again() {
    let moment = Duration::from_millis(1);
    for harm in [
        Status(500, None),
        Status(502, None),
        Status(429, Some("0".to_owned())),
        Status(503, Some("0".to_owned())),
        NotJson,
        TruncatedJson,
        BrokenBody,
        SlowHead(moment),
        SlowBody(moment, 5),
        Redirect { status: 307, to: "/moved".to_owned() },
    ] {
        is_read_whole(&[Fault::new(harm.clone()).first(2)]).await;
        is_read_whole(&[Fault::new(harm).on(Requests::Search).every(3)]).await;
    }
    is_read_whole(&[Fault::new(WrongType).first(2)]).await;
}

#[tokio::test]
async fn pages_that_say_too_much_too_little_or_in_another_order_leave_nothing_out() {
    for harm in [
        WrongTotal,
        DuplicateRows,
        ShuffledRows,
        MissingRows,
        ForeignRows,
        IgnoresId,
        SmallPages(3),
        TooManyIds(3),
        CyclicNext,
    ] {
        is_read_whole(&[Fault::new(harm.clone()).on(Requests::Search)]).await;
        let small = Fault::new(SmallPages(3)).on(Requests::Search);
        if !matches!(harm, TooManyIds(_) | SmallPages(_)) {
            is_read_whole(&[small, Fault::new(harm).on(Requests::Search)]).await;
        }
    }
}

#[tokio::test]
async fn what_stays_wrong_is_a_fault_that_says_what() {
    let always = |harm| [Fault::new(harm)];
    fails(&always(Status(500, None)), FaultKind::Unavailable, "500").await;
    fails(&always(Status(403, None)), FaultKind::Invalid, "403").await;
    fails(&always(Status(401, None)), FaultKind::Invalid, "credentials").await;
    fails(&always(Status(429, Some("100000".to_owned()))), FaultKind::Busy, "patience").await;
    fails(&always(NotJson), FaultKind::Corrupt, "no Bundle").await;
    fails(&always(TruncatedJson), FaultKind::Corrupt, "no Bundle").await;
    fails(&always(BrokenBody), FaultKind::Unavailable, "breaks off").await;
    let elsewhere = Redirect { status: 302, to: "http://127.0.0.2:9/fhir".to_owned() };
    fails(&always(elsewhere), FaultKind::Invalid, "redirects").await;
    let group = |harm| [Fault::new(harm).containing("Group/g")];
    fails(&group(WrongType), FaultKind::Corrupt, "another resource").await;
    fails(&group(TruncatedJson), FaultKind::Corrupt, "Group/g").await;
    let next = [
        Fault::new(SmallPages(3)).on(Requests::Search),
        Fault::new(NextElsewhere("http://127.0.0.2:9/fhir".to_owned())),
    ];
    fails(&next, FaultKind::Invalid, "ATR_SOURCE_URL").await;
}

#[tokio::test]
async fn a_page_that_is_gone_is_not_the_end_of_what_there_is() {
    let server = payer();
    let source = source(&server);
    let as_of = source.transaction_time().await.expect("the server is there");
    // The first pages are there, and those that they link to are not any more, as when a server has forgotten a search.
    server.misbehave(Fault::new(SmallPages(10)));
    server.misbehave(Fault::new(Status(410, None)).containing("_page="));
    let types = [ResourceType::PATIENT];
    let fault = source.cut_all(&types, as_of, Changed::default(), 100).await.expect_err("pages are missing");
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    let long_ago = Instant::from_unix_millis(0);
    let fault = source.deleted(&types, long_ago, as_of, None, 100).await.expect_err("pages are missing");
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    server.behave();
    let slices = source.cut_all(&types, as_of, Changed::default(), 100).await.expect("all pages are there");
    assert_eq!(slices.iter().map(|slice| slice.ids).sum::<u64>(), 32, "27 of the list, and 5 others");
}

#[tokio::test]
async fn a_gateway_that_finds_no_server_says_nothing_about_what_there_is() {
    is_read_whole(&[Fault::new(NoServer).every(5)]).await;
    fails(&[Fault::new(NoServer)], FaultKind::Unavailable, "404").await;
    fails(&[Fault::new(NoServer).containing("Group/g")], FaultKind::Unavailable, "404").await;
}

#[tokio::test]
async fn a_link_to_another_server_is_never_followed() {
    let (server, other) = (payer(), payer());
    server.misbehave(Fault::new(SmallPages(3)).on(Requests::Search));
    server.misbehave(Fault::new(NextElsewhere(other.base())));
    read(source(&server)).await.expect_err("the link is refused");
    server.behave();
    server.misbehave(Fault::new(Redirect { status: 307, to: other.base() }));
    read(source(&server)).await.expect_err("the redirect is refused");
    assert_eq!(other.requests(), []);
}
