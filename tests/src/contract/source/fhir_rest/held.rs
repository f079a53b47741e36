//! Lists that are held for jobs: the same for all tasks of a job, in every process, whatever becomes of them on the server.

use std::sync::Arc;

use devfhir::{FhirServer, Options};
use shared::clock::SystemClock;
use shared::export::JobId;
use shared::metrics::Metrics;
use shared::source::ResourceSource;

use super::super::{entity, group, id, member};
use super::{MEMBERS, SETTINGS, all, payer, read_as_of, source, source_on};
use crate::harness::memory_outputs::MemoryOutputs;

#[tokio::test]
async fn a_list_that_is_held_for_a_job_stays_as_it_is_for_all_its_tasks() {
    let server = payer();
    server.abilities(|abilities| abilities.history = false);
    let source = Arc::new(source(&server)).of_job(JobId::random());
    let as_of = source.transaction_time().await.expect("the server is there");
    source.hold(&id("g"), as_of, None).await.expect("the server is there");
    server.load(&[group("g", &[member("Patient/other1", &[])])]);
    let learned = read_as_of(&*source, &id("g"), as_of).await.expect("the server is there");
    assert_eq!(learned, all());
    server.delete("Group", "g");
    let members = source.members(&id("g"), as_of, 0, 100).await.expect("it is held");
    assert_eq!(members.len(), MEMBERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn jobs_that_hold_the_same_list_at_once_each_have_it_whole_in_every_process() {
    let server = FhirServer::start(Options::default()).expect("there is a free port");
    let members: Vec<String> = (0..20_000).map(|n| entity(&format!("patient-{n}"))).collect();
    server.load(&[group("g", &members)]);
    let outputs = Arc::new(MemoryOutputs::new(Arc::new(SystemClock), 1 << 20));
    let process = || Arc::new(source_on(&server, SETTINGS, None, &Metrics::new(), &outputs));
    let one = process();
    let as_of = one.transaction_time().await.expect("the server is there");
    let jobs: Vec<JobId> = (0..8).map(|_| JobId::random()).collect();
    // From the second one on the list is known, and nothing of it is read again.
    let held = Arc::clone(&one).of_job(jobs[0]).hold(&id("g"), as_of, None).await;
    assert!(held.expect("the server is there"));
    let holding = jobs[1..].iter().map(|job| {
        let source = Arc::clone(&one).of_job(*job);
        tokio::spawn(async move { source.hold(&id("g"), as_of, None).await })
    });
    for held in holding.collect::<Vec<_>>() {
        assert!(held.await.expect("nobody panics").expect("the server is there"));
    }
    server.delete("Group", "g");
    server.abilities(|abilities| abilities.history = false);
    for job in jobs {
        let source = process().of_job(job);
        let slices = source.cut(&id("g"), as_of, 7_000).await.expect("it is held");
        assert_eq!(slices.iter().map(|slice| slice.ids).sum::<u64>(), 20_000);
        let last = source.members(&id("g"), as_of, 19_999, 10).await.expect("it is held");
        assert_eq!(last, [entity("patient-19999")]);
    }
}
