//! Records of another version, as there are while a system is upgraded: they are left to whoever can read them.

use super::*;

#[tokio::test]
async fn a_job_that_another_version_has_recorded_is_left_to_workers_of_that_version() {
    in_namespace(|namespace| async move {
        let store = redis_jobs(&namespace).await;
        let job = JobId::random();
        store.create(&new_job(job), at(0)).await.unwrap();
        let key = format!("{namespace}:{{{job}}}:job");
        let set = async |version: &str| {
            redis::cmd("HSET").arg(&key).arg("version").arg(version).exec_async(&mut wire().await).await.unwrap();
        };
        let ours: String = redis::cmd("HGET").arg(&key).arg("version").query_async(&mut wire().await).await.unwrap();
        let next = (ours.parse::<u32>().unwrap() + 1).to_string();
        set(&next).await;
        let start = async || store.start(task(job, 0), StartToken::random(), 1, at(1), at(30)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(start().await, Start::OtherVersion);
        }
        let fault = store.job(job).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.to_string().contains(&format!("version {next}")), "{fault}");
        assert_eq!(store.chores(at(10), at(20), 10).await.unwrap(), []);

        redis::cmd("HSET")
            .arg(&key)
            .arg(&["ended_at", "1", "look", "1", "expires_at", &at(40).unix_micros().to_string()])
            .exec_async(&mut wire().await)
            .await
            .unwrap();
        assert_eq!(store.chores(at(39), at(40), 10).await.unwrap(), []);
        assert_eq!(store.chores(at(41), at(50), 10).await.unwrap(), [(job, Chore::Remove)], "expired is expired");
        redis::cmd("HDEL")
            .arg(&key)
            .arg(&["ended_at", "look", "expires_at"])
            .exec_async(&mut wire().await)
            .await
            .unwrap();

        set(&ours).await;
        assert!(matches!(start().await, Start::Work(work) if work.counted == 1), "no start was counted");
        assert!(store.job(job).await.unwrap().is_some());
    })
    .await;
}
