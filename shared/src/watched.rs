//! A file that may change while a service runs: the register of clients, a certificate.
//!
//! It is read again every few seconds and not on a notice from the system: a Secret of Kubernetes changes by exchanging
//! links several folders up, which such notices miss.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

/// What the files say now. Clones share one watch, which ends with the last of them.
pub struct Watched<T> {
    value: watch::Receiver<Arc<T>>,
    watching: Option<Arc<AbortOnDropHandle<()>>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), watching: self.watching.clone() }
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Something that does not change.
    pub fn fixed(value: T) -> Self {
        Self { value: watch::channel(Arc::new(value)).1, watching: None }
    }

    /// What `read` makes of the contents of some files, now and whenever they have changed, looked at `every` so often.
    ///
    /// Fails with a line that names the file when one cannot be read, or `read` refuses them. Later, what cannot be read
    /// or is refused is logged once, and the last that was good stays in force.
    pub async fn files<E: Display + 'static>(
        files: Vec<PathBuf>,
        every: Duration,
        read: impl Fn(&[Vec<u8>]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let contents = contents(&files).await?;
        let value = read(&contents).map_err(|why| format!("{}: {why}", names(&files)))?;
        let (sender, receiver) = watch::channel(Arc::new(value));
        let watching = AbortOnDropHandle::new(tokio::spawn(watch(files, contents, every, read, sender)));
        Ok(Self { value: receiver, watching: Some(Arc::new(watching)) })
    }

    /// What the files say.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.value.borrow())
    }
}

async fn watch<T, E: Display>(
    files: Vec<PathBuf>,
    mut good: Vec<Vec<u8>>,
    every: Duration,
    read: impl Fn(&[Vec<u8>]) -> Result<T, E>,
    sender: watch::Sender<Arc<T>>,
) {
    let mut looks = interval_at(Instant::now() + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        looks.tick().await;
        let problem = match contents(&files).await {
            Ok(same) if same == good => String::new(),
            Ok(changed) => match read(&changed) {
                Ok(value) => {
                    good = changed;
                    sender.send_replace(Arc::new(value));
                    tracing::info!("read {} again, since it has changed", names(&files));
                    String::new()
                }
                Err(why) => format!("{}: {why}", names(&files)),
            },
            Err(why) => why,
        };
        if !problem.is_empty() && problem != said {
            tracing::error!("{problem}; going on with what it said before");
        }
        said = problem;
    }
}

async fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        let read = tokio::fs::read(file).await;
        contents.push(read.map_err(|error| format!("{} cannot be read: {error}", file.display()))?);
    }
    Ok(contents)
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EVERY: Duration = Duration::from_millis(5);

    fn number(contents: &[Vec<u8>]) -> Result<u32, String> {
        let text = String::from_utf8_lossy(&contents[0]);
        text.trim().parse().map_err(|_| format!("'{text}' is no number"))
    }

    async fn becomes(watched: &Watched<u32>, value: u32) {
        while *watched.now() != value {
            tokio::time::sleep(EVERY).await;
        }
    }

    fn write(file: &Path, text: &str) {
        std::fs::write(file, text).expect("the folder for temporary files can be written to");
    }

    #[tokio::test]
    async fn a_change_is_seen_and_a_bad_one_leaves_the_last_good_in_force() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let file = folder.path().join("number");
        write(&file, "1");
        let watched = Watched::files(vec![file.clone()], EVERY, number).await.expect("it can be read");
        assert_eq!(*watched.now(), 1);
        write(&file, "2");
        becomes(&watched, 2).await;
        for bad in ["", "two"] {
            write(&file, bad);
            tokio::time::sleep(EVERY * 10).await;
            assert_eq!(*watched.now(), 2);
        }
        std::fs::remove_file(&file).expect("it is there");
        tokio::time::sleep(EVERY * 10).await;
        assert_eq!(*watched.now(), 2);
        write(&file, "3");
        becomes(&watched, 3).await;
    }

    #[tokio::test]
    async fn a_secret_that_changes_by_exchanging_links_is_seen() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let path = |name: &str| folder.path().join(name);
        for (version, text) in [("v1", "1"), ("v2", "2")] {
            std::fs::create_dir(path(version)).expect("it is new");
            write(&path(version).join("number"), text);
        }
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, path(name)).expect("links can be made");
        };
        link("v1", "data");
        link("data/number", "number");
        let watched = Watched::files(vec![path("number")], EVERY, number).await.expect("it can be read");
        assert_eq!(*watched.now(), 1);
        link("v2", "data.new");
        std::fs::rename(path("data.new"), path("data")).expect("both are there");
        becomes(&watched, 2).await;
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_refused_at_the_start_is_named() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let file = folder.path().join("number");
        let open = || Watched::files(vec![file.clone()], EVERY, number);
        let missing = open().await.err().expect("it is not there");
        assert!(missing.contains("number cannot be read"), "{missing}");
        write(&file, "one");
        let refused = open().await.err().expect("it is no number");
        assert!(refused.contains("number: 'one' is no number"), "{refused}");
    }
}
