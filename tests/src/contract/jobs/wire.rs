//! What the adapter on Redis makes of a wire that breaks.

use std::time::Duration;

use super::*;
use crate::harness::proxy::{Proxy, Wire};

#[tokio::test]
async fn a_connection_that_has_fallen_silent_costs_one_call() {
    in_namespace(|namespace| async move {
        let proxy = Proxy::to(&harness::redis_url(), Wire::Pass).await;
        let timeouts =
            RedisSettings { command_timeout: Duration::from_millis(500), connect_timeout: Duration::from_secs(30) };
        let url = proxy.url(&harness::redis_url());
        let link = RedisConnection::connect(&url, &namespace, timeouts).await.expect("Redis is there");
        let jobs = RedisJobs::new(link);
        jobs.ready().await.expect("the wire carries everything");
        proxy.silence();
        assert_eq!(jobs.ready().await.expect_err("nobody answers").kind(), FaultKind::Unavailable);
        jobs.ready().await.expect("there is a new connection");
    })
    .await;
}
