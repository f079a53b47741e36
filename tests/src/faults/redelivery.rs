//! Messages come twice, at the wrong time, about things that are not there, and again after their connection was lost.

use std::time::Duration;

use shared::export::{JobId, Lane, TaskMessage, TaskNo, TaskRef};
use tokio::time::sleep;

use super::named::method;
use super::steps::worker_comes_to;
use crate::harness::member::Server;
use crate::harness::site::{Blueprint, Site, with};
use crate::harness::system::job_of;
use crate::harness::tripwire::{Place, Side};

/// More tasks than the list of a site is cut into.
const TASKS: u32 = 40;

#[tokio::test]
async fn messages_about_every_task_of_a_job_may_come_again_at_any_time() {
    with(Blueprint::default(), async |site| {
        site.exports("each message comes again and again", async |site| {
            site.slows();
            for _ in 0..5 {
                for job in site.jobs().await {
                    messages_about_all_tasks_of(site, job).await;
                }
            }
        })
        .await;
        site.heals();
        let job = site.kick_off().await;
        site.is_complete("the job is complete", &job).await;
        messages_about_all_tasks_of(site, job_of(&job)).await;
        messages_about_all_tasks_of(site, JobId::random()).await;
        site.proves("each message comes again when the job is complete, and some about no job", &job).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_comes_again_while_it_is_worked_on_changes_nothing() {
    with(Blueprint::default(), async |site| {
        let (name, side, pattern) = method("delivery", Side::Server, 60, 60);
        for count in [1, 2, 3, 4] {
            let what = format!("{name} {count} comes again, and its worker goes on with the first one");
            let place = Place { side, pattern: pattern.clone(), count, arrives: true };
            let (job, worker) = worker_comes_to(site, Server::Queue, place, &what).await;
            // The broker gives it to the other worker as soon as the connection is gone; this one has it, too.
            site.workers[worker].wire(Server::Queue).disarm();
            site.proves(&what, &job).await;
        }
    })
    .await;
}

/// Publishes a message about each task that the job may have, and some more.
pub async fn messages_about_all_tasks_of(site: &Site, job: JobId) {
    for task in (0..TASKS).map(TaskNo) {
        for lane in Lane::ALL {
            let message = TaskMessage::new(TaskRef { job, task }, None);
            site.observer.lanes.of(lane).publish(&message).await.expect("RabbitMQ takes it");
        }
    }
    sleep(Duration::from_millis(20)).await;
}
