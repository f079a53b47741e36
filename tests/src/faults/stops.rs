//! Programs are told to stop (SIGTERM) in the middle of their work, as in a rolling restart.

use super::named::{Step, method, request, script};
use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::proxy::Wire;
use crate::harness::site::{Blueprint, with};
use crate::harness::tripwire::{Place, Side};

/// A site on which a task has so many tries. With one, no try that is lost is made up for: to stop in good order is no reason to
/// lose one.
fn of_tries(tries: u32) -> Blueprint {
    let settings = vec![("ATR_TASK_ATTEMPTS", tries.to_string()), ("ATR_GRACE_SECONDS", "10".to_owned())];
    Blueprint { settings, ..Blueprint::default() }
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_at_any_step_finishes_or_hands_back() {
    let steps: [(Server, Step); 6] = [
        (Server::Jobs, script!("start")),
        (Server::Jobs, script!("plan")),
        (Server::Jobs, script!("claim")),
        (Server::Jobs, script!("complete")),
        (Server::Outputs, request("an upload", "PUT /")),
        (Server::Queue, method("delivery", Side::Server, 60, 60)),
    ];
    with(of_tries(1), async |site| {
        for (server, (name, side, pattern)) in steps {
            let what = format!("a worker is told to stop at '{name}'");
            let (job, stopped) =
                worker_comes_to(site, server, Place { side, pattern, count: 1, arrives: true }, &what).await;
            site.workers[stopped].signal("TERM");
            site.workers[stopped].wire(server).release();
            assert!(site.workers[stopped].ends().await, "{what}: it ends well");
            site.workers[stopped].start_again().await;
            site.proves(&what, &job).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_rolling_restart_of_everything_loses_no_try() {
    with(of_tries(1), async |site| {
        site.slows();
        let job = site.kick_off().await;
        for _ in 0..2 {
            for at in 0..site.workers.len() {
                assert!(site.workers[at].terminate().await, "a worker ends well");
                site.workers[at].start_again().await;
            }
            assert!(site.api.terminate().await, "the API ends well");
            site.api.start_again().await;
        }
        site.proves("everything is restarted in turn", &job).await;
    })
    .await;
}

/// Who is told to stop cannot say goodbye to a server that does not answer, and ends all the same.
#[tokio::test]
async fn a_worker_that_is_told_to_stop_while_a_server_is_silent_ends_all_the_same() {
    // The try of a worker that cannot tell anybody that it hands back is lost.
    with(of_tries(50), async |site| {
        for server in Server::ALL {
            let what = format!("a worker is told to stop while {server:?} is silent");
            let place = Place { side: Side::Client, pattern: Vec::new(), count: 8, arrives: true };
            let (job, stopped) = worker_comes_to(site, server, place, &what).await;
            site.workers[stopped].wire(server).set(Wire::BlackHole);
            site.workers[stopped].wire(server).release();
            site.workers[stopped].signal("TERM");
            assert!(site.workers[stopped].ends().await, "{what}: it ends well");
            site.workers[stopped].heal();
            site.workers[stopped].start_again().await;
            site.proves(&what, &job).await;
        }
    })
    .await;
}
