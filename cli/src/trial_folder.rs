//! The folder of a trial: the sample, the objects of the store, the downloaded files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The file that tells the folder of a trial from any other.
const MARK: &str = "atr-trial.txt";

/// The folder when nobody names one: below the current folder, so that nothing is hidden.
pub fn by_default() -> PathBuf {
    PathBuf::from("atr-trial")
}

/// Takes a folder for the trial: a new one, an empty one, or the one of an earlier trial. In any other, emptying
/// `download` would remove somebody's files.
pub fn take(data: &Path) -> anyhow::Result<()> {
    let mark = data.join(MARK);
    std::fs::create_dir_all(data).with_context(|| format!("cannot make the folder {}", data.display()))?;
    let mut files = std::fs::read_dir(data).with_context(|| format!("cannot read the folder {}", data.display()))?;
    if !mark.exists() && files.next().is_some() {
        bail!("{} holds files that are not of an earlier trial: give a new or empty folder as --data", data.display());
    }
    std::fs::write(&mark, "This folder is emptied and filled by `atr up`.\n")
        .with_context(|| format!("cannot write to the folder {}", data.display()))
}

/// Makes a folder of the trial, without what an earlier trial left in it.
pub fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty the folder {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}
