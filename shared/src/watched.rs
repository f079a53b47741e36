//! A file that may change while a service runs: the register of clients, a certificate.
//!
//! It is read again every few seconds and not on a notice from the system: a Secret of Kubernetes changes by exchanging
//! links several folders up, which such notices miss.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long reading the files may take: they may lie on somebody else's machine.
const READ_WITHIN: Duration = Duration::from_secs(10);

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

/// The files of a [`Watched`], and how they are looked at.
pub struct Files {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// How often they are looked at.
    pub every: Duration,
    /// Shows 1 as long as what they hold is not in force, because it cannot be read or is refused.
    pub failing: IntGauge,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Something that does not change.
    pub fn fixed(value: T) -> Self {
        Self { value: watch::channel(Arc::new(value)).1, watching: None }
    }

    /// What `read` makes of the contents of some files, now and whenever they have changed.
    ///
    /// Fails with a line that names the file when one cannot be read, or `read` refuses them. Later, what cannot be read
    /// or is refused is logged once, and the last that was good stays in force.
    pub async fn files<E: Display + 'static>(
        files: Files,
        read: impl Fn(&[Vec<u8>]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let contents = contents(&files.paths).await?;
        let value = read(&contents).map_err(|why| format!("{}: {why}", names(&files.paths)))?;
        let (sender, receiver) = watch::channel(Arc::new(value));
        let watching = AbortOnDropHandle::new(tokio::spawn(keep_looking(files, contents, read, sender)));
        Ok(Self { value: receiver, watching: Some(Arc::new(watching)) })
    }

    /// What the files say.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.value.borrow())
    }
}

async fn keep_looking<T, E: Display>(
    files: Files,
    mut good: Vec<Vec<u8>>,
    read: impl Fn(&[Vec<u8>]) -> Result<T, E>,
    sender: watch::Sender<Arc<T>>,
) {
    let Files { paths, every, failing } = files;
    let mut looks = interval_at(Instant::now() + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        looks.tick().await;
        let looked = match timeout(READ_WITHIN, contents(&paths)).await {
            Ok(contents) => contents.and_then(|contents| look(&mut good, contents, &read)),
            Err(_) => Err(format!("not read within {} seconds", READ_WITHIN.as_secs())),
        };
        let problem = match looked {
            Ok(None) => String::new(),
            Ok(Some(value)) => {
                sender.send_replace(Arc::new(value));
                tracing::info!("read {} again, since it has changed", names(&paths));
                String::new()
            }
            Err(why) => why,
        };
        failing.set(i64::from(!problem.is_empty()));
        if !problem.is_empty() && problem != said {
            tracing::error!("{}: {problem}; going on with what it said before", names(&paths));
        }
        said = problem;
    }
}

/// What a look makes of the contents; `None` when they are as they were. What is taken is the last good from then on.
fn look<T, E: Display>(
    good: &mut Vec<Vec<u8>>,
    contents: Vec<Vec<u8>>,
    read: impl Fn(&[Vec<u8>]) -> Result<T, E>,
) -> Result<Option<T>, String> {
    if contents == *good {
        return Ok(None);
    }
    let value = read(&contents).map_err(|why| why.to_string())?;
    *good = contents;
    Ok(Some(value))
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
    /// For something that happens within moments on an idle machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    fn number(contents: &[Vec<u8>]) -> Result<u32, String> {
        let text = String::from_utf8_lossy(&contents[0]);
        text.trim().parse().map_err(|_| format!("'{text}' is no number"))
    }

    fn files(path: PathBuf) -> Files {
        let failing = IntGauge::new("failing", "whether it fails").expect("the name is legal");
        Files { paths: vec![path], every: EVERY, failing }
    }

    async fn eventually(is_so: impl Fn() -> bool) {
        let looking = async {
            while !is_so() {
                tokio::time::sleep(EVERY).await;
            }
        };
        timeout(PATIENCE, looking).await.expect("it is seen");
    }

    fn write(file: &Path, text: &str) {
        std::fs::write(file, text).expect("the folder for temporary files can be written to");
    }

    #[test]
    fn what_has_changed_is_read_and_what_is_refused_is_not_taken() {
        let mut good = vec![b"1".to_vec()];
        for (contents, expected) in [
            ("1", Ok(None)),
            ("2", Ok(Some(2))),
            ("2", Ok(None)),
            ("two", Err("'two' is no number".to_owned())),
            ("2", Ok(None)),
        ] {
            assert_eq!(look(&mut good, vec![contents.into()], number), expected, "{contents}");
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_and_a_bad_one_is_shown_and_leaves_the_last_good_in_force() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let file = folder.path().join("number");
        write(&file, "1");
        let files = files(file.clone());
        let failing = files.failing.clone();
        let watched = Watched::files(files, number).await.expect("it can be read");
        assert_eq!((*watched.now(), failing.get()), (1, 0));
        write(&file, "2");
        eventually(|| *watched.now() == 2).await;
        write(&file, "two");
        eventually(|| failing.get() == 1).await;
        assert_eq!(*watched.now(), 2);
        write(&file, "3");
        eventually(|| *watched.now() == 3 && failing.get() == 0).await;
        std::fs::remove_file(&file).expect("it is there");
        eventually(|| failing.get() == 1).await;
        assert_eq!(*watched.now(), 3);
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
        let watched = Watched::files(files(path("number")), number).await.expect("it can be read");
        assert_eq!(*watched.now(), 1);
        link("v2", "data.new");
        std::fs::rename(path("data.new"), path("data")).expect("both are there");
        eventually(|| *watched.now() == 2).await;
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_refused_at_the_start_is_named() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let file = folder.path().join("number");
        let open = || Watched::files(files(file.clone()), number);
        let missing = open().await.err().expect("it is not there");
        assert!(missing.contains("number cannot be read"), "{missing}");
        write(&file, "one");
        let refused = open().await.err().expect("it is no number");
        assert!(refused.contains("number: 'one' is no number"), "{refused}");
    }
}
