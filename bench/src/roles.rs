//! The parts that this program plays when it is started again by itself.

use anyhow::Context;
use devstore::{Devstore, Settings, Storage};
use shared::shutdown::Shutdown;

use crate::arguments::Role;

/// The bucket of the store.
pub const BUCKET: &str = "exports";
/// The keys of the store, which lives as long as the run.
pub const ACCESS_KEY: &str = "bench";
/// Their secret.
pub const SECRET_KEY: &str = "bench-secret";
/// The variable that says where the store listens.
pub const STORE_LISTEN: &str = "BENCH_STORE_LISTEN";
/// The variable that says where the store keeps its files; in memory without it.
pub const STORE_FOLDER: &str = "BENCH_STORE_FOLDER";

/// Plays a part until SIGTERM.
pub async fn play(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Api => api_service::run().await,
        Role::Worker => export_worker::run().await,
        Role::Store => store().await,
    }
}

async fn store() -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let listen = std::env::var(STORE_LISTEN).with_context(|| format!("{STORE_LISTEN} is not set"))?;
    let store = Devstore::start(Settings {
        listen: listen.parse()?,
        storage: std::env::var_os(STORE_FOLDER).map_or(Storage::Memory, |folder| Storage::Folder(folder.into())),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        buckets: vec![BUCKET.to_owned()],
    })
    .await?;
    shutdown.wished().await;
    store.stop().await;
    Ok(())
}
