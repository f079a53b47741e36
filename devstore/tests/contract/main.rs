//! What an S3 client may rely on, asked through real HTTP with the AWS SDK: each test runs on memory and on a folder.
//!
//! `trial.rs` is the fixture; the other files hold the sentences, by subject.

mod faults;
mod folder;
mod listing;
mod objects;
mod program;
mod signatures;
mod stop;
mod trial;
mod uploads;

/// Runs each test on both storages, and ends the store after it.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                let trial = $crate::trial::Trial::in_memory().await;
                super::$test(&trial).await;
                trial.end().await;
            })*
        }
        mod folder {
            $(#[tokio::test]
            async fn $test() {
                let trial = $crate::trial::Trial::in_folder().await;
                super::$test(&trial).await;
                trial.end().await;
            })*
        }
    };
}
pub(crate) use on_both;
