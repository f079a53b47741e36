//! The folder that is written: one NDJSON file for each type, and `generated.marker`, which says what the folder holds.
//!
//! A run marks the folder as incomplete, removes what an earlier run left, writes `Patient.ndjson.partial` and so on, and only
//! when all of them are whole gives them their names and marks the folder as complete. So a run that was interrupted shows itself
//! twice, by `"complete": false` and by its partial files, and nobody who loads `*.ndjson` loads half a data set unawares.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::population::Resource;
use super::{Error, Generated, Settings};

/// The file that says that a folder is the generator's.
pub const MARK: &str = "generated.marker";

const BUFFER_BYTES: usize = 256 * 1024;

/// A folder that is being written.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// In the order of [`Resource::ALL`].
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    partial: PathBuf,
    whole: PathBuf,
    writer: BufWriter<File>,
    lines: u64,
    bytes: u64,
}

impl Folder {
    /// Takes the folder for a run with these settings, and removes what a run before left there.
    ///
    /// Fails with [`Error::Foreign`] if it holds anything else, and has changed nothing then.
    pub fn take(settings: &Settings) -> Result<Self, Error> {
        let path = settings.out.clone();
        fs::create_dir_all(&path).map_err(failed("make the folder", &path))?;
        let earlier = files_of_an_earlier_run(&path)?;
        mark(&path, settings, None)?;
        for file in &earlier {
            fs::remove_file(file).map_err(failed("remove", file))?;
        }
        let outputs =
            Resource::ALL.into_iter().map(|resource| Output::create(&path, resource)).collect::<Result<_, _>>()?;
        Ok(Self { path, outputs })
    }

    /// Writes a part of a line.
    pub fn write(&mut self, resource: Resource, text: &str) -> Result<(), Error> {
        let output = &mut self.outputs[resource as usize];
        output.bytes += text.len() as u64;
        output.writer.write_all(text.as_bytes()).map_err(failed("write", &output.partial))
    }

    /// Ends a line, which makes it one resource more.
    pub fn end_line(&mut self, resource: Resource) -> Result<(), Error> {
        self.outputs[resource as usize].lines += 1;
        self.write(resource, "\n")
    }

    /// Gives the files their names and marks the folder as complete.
    pub fn finish(mut self, settings: &Settings, list: String) -> Result<Generated, Error> {
        for output in &mut self.outputs {
            output.writer.flush().map_err(failed("write", &output.partial))?;
        }
        for output in &self.outputs {
            fs::rename(&output.partial, &output.whole).map_err(failed("rename", &output.partial))?;
        }
        let generated = Generated {
            list,
            resources: Resource::ALL
                .iter()
                .map(|resource| resource.name())
                .zip(self.outputs.iter().map(|o| o.lines))
                .collect(),
            bytes: self.outputs.iter().map(|output| output.bytes).sum(),
        };
        mark(&self.path, settings, Some(&generated))?;
        Ok(generated)
    }
}

impl Output {
    fn create(folder: &Path, resource: Resource) -> Result<Self, Error> {
        let [whole, partial] = file_names(resource).map(|name| folder.join(name));
        let file = File::create(&partial).map_err(failed("create", &partial))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { partial, whole, writer, lines: 0, bytes: 0 })
    }
}

/// The name of a type's file, and its name while it is being written.
fn file_names(resource: Resource) -> [String; 2] {
    let name = resource.name();
    [format!("{name}.ndjson"), format!("{name}.ndjson.partial")]
}

/// The data files that a run before this one left in the folder; none in an empty folder.
///
/// Without [`MARK`] even a `Patient.ndjson` is somebody's own: it may be an export of real people.
fn files_of_an_earlier_run(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(failed("read the folder", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed("read the folder", folder))?.path());
    }
    paths.sort();
    let is_marked = paths.contains(&folder.join(MARK));
    paths.retain(|path| *path != folder.join(MARK));
    let own: Vec<PathBuf> = Resource::ALL.into_iter().flat_map(file_names).map(|name| folder.join(name)).collect();
    match paths.iter().find(|path| !is_marked || !own.contains(path)) {
        Some(foreign) => Err(Error::Foreign(foreign.clone())),
        None => Ok(paths),
    }
}

/// Says in [`MARK`] what the folder holds; `generated` is missing until the run is through.
fn mark(folder: &Path, settings: &Settings, generated: Option<&Generated>) -> Result<(), Error> {
    let content = serde_json::json!({
        "by": "atr generate",
        "members": settings.members,
        "seed": settings.seed,
        "complete": generated.is_some(),
        "list": generated.map(|generated| &generated.list),
        "resources": generated.map(|generated| &generated.resources),
        "bytes": generated.map(|generated| generated.bytes),
    });
    let path = folder.join(MARK);
    fs::write(&path, format!("{content:#}\n")).map_err(failed("write", &path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}
