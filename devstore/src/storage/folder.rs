//! Pieces and records in a folder:
//!
//! ```text
//! devstore.lock                          held while a server runs on the folder; says that the folder is ours
//! pieces/4f/4f2c…                        the bytes, each piece under a random name, never changed
//! buckets/exports/bucket.json            a bucket
//! buckets/exports/9b/9b71….json          an object: key, details, pieces; named by the SHA-256 of its key
//! uploads/6a1d…/upload.json              an unfinished upload
//! uploads/6a1d…/00001.json               a part of it
//! incoming/                              records that are being written
//! ```
//!
//! Names come from digests and random ids, because a key may be longer than a file name can be, and `a` may stand beside `a/b`.
//!
//! A record is written aside and renamed, and only then do its pieces count as stored: that rename is the moment at
//! which a change is true. A piece needs no such step, as nobody knows its name before. What a crash leaves over (pieces
//! without record, uploads that are complete) is swept at the next start. Nothing is synced to the disk: a crash of the
//! process loses nothing, a power cut may lose the newest objects whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use s3s::S3Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use uuid::Uuid;

use super::{Chunks, Medium, failed};
use crate::catalog::{Attributes, Catalog, Change, Details, Object, Part, Upload};
use crate::intake::{Fingerprint, Intake};
use crate::store::blocking;

/// How much is gathered before a thread is asked to write it: a hand-over costs some 10 µs, a network read brings 64 KiB.
const WRITE_BYTES: usize = 1024 * 1024;

/// How much is read at once.
const READ_BYTES: u64 = 512 * 1024;

const LOCK_FILE: &str = "devstore.lock";
const BUCKET_FILE: &str = "bucket.json";
const UPLOAD_FILE: &str = "upload.json";

/// A folder as a medium.
pub struct Folder {
    root: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// A file of bytes. It is removed with the last handle unless a record names it.
#[derive(Debug)]
pub struct Piece {
    name: String,
    path: PathBuf,
    is_recorded: AtomicBool,
}

impl Piece {
    fn set_recorded(&self, is_recorded: bool) {
        self.is_recorded.store(is_recorded, Ordering::Relaxed);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.is_recorded.load(Ordering::Relaxed) {
            return;
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%error, "failed to remove {}", self.path.display());
            }
            _ => {}
        }
    }
}

#[derive(Serialize, Deserialize)]
struct BucketRecord {
    made_seconds: i64,
}

#[derive(Serialize, Deserialize)]
struct PieceRecord {
    name: String,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct ObjectRecord {
    key: String,
    #[serde(flatten)]
    details: Details,
    pieces: Vec<PieceRecord>,
}

#[derive(Serialize, Deserialize)]
struct UploadRecord {
    bucket: String,
    key: String,
    attributes: Attributes,
    begun_seconds: i64,
}

#[derive(Serialize, Deserialize)]
struct PartRecord {
    number: i32,
    fingerprint: Fingerprint,
    modified_seconds: i64,
    piece: String,
}

impl Folder {
    /// Opens or makes the folder and reads what it holds. Blocks.
    ///
    /// Fails with `WouldBlock` if another server has it, and with `AlreadyExists` if it holds something else: what is not
    /// ours would be swept as left over.
    pub fn open(root: &Path) -> io::Result<(Self, Catalog<Arc<Piece>>)> {
        fs::create_dir_all(root)?;
        let lock = root.join(LOCK_FILE);
        if !lock.exists() && !entries(root)?.is_empty() {
            let found = format!("it is not empty and has no {LOCK_FILE}, so it is not a folder of devstore");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, found));
        }
        let lock = File::create(lock)?;
        lock.try_lock()?;
        for folder in ["pieces", "buckets", "uploads", "incoming"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let folder = Self { root: root.to_owned(), _lock: lock };
        let catalog = folder.load()?;
        Ok((folder, catalog))
    }

    fn piece_path(&self, name: &str) -> PathBuf {
        self.root.join("pieces").join(shard(name)).join(name)
    }

    fn bucket_path(&self, bucket: &str) -> PathBuf {
        self.root.join("buckets").join(bucket)
    }

    fn object_path(&self, bucket: &str, key: &str) -> PathBuf {
        let name = format!("{:x}", Sha256::digest(key));
        self.bucket_path(bucket).join(shard(&name)).join(format!("{name}.json"))
    }

    fn upload_path(&self, id: &str) -> PathBuf {
        self.root.join("uploads").join(id)
    }

    fn new_piece(&self) -> Piece {
        let name = Uuid::new_v4().simple().to_string();
        Piece { path: self.piece_path(&name), name, is_recorded: AtomicBool::new(false) }
    }

    /// A piece that a record names, if its file is there in the recorded length.
    fn recorded_piece(&self, name: &str, bytes: u64) -> Option<Arc<Piece>> {
        let path = self.piece_path(name);
        let is_whole = fs::metadata(&path).is_ok_and(|file| file.len() == bytes);
        is_whole.then(|| Arc::new(Piece { name: name.to_owned(), path, is_recorded: AtomicBool::new(true) }))
    }

    /// Writes a record aside, then renames it: it is there whole or not at all.
    fn write_record(&self, path: &Path, record: &impl Serialize) -> io::Result<()> {
        let aside = self.root.join("incoming").join(Uuid::new_v4().simple().to_string());
        let text = serde_json::to_vec(record)?;
        let written = fs::write(&aside, text)
            .and_then(|()| fs::create_dir_all(path.parent().unwrap_or(&self.root)))
            .and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            // It may not even be there; if it stays, the next start removes it.
            drop(fs::remove_file(&aside));
        }
        written
    }

    /// The record first: without it the folder is nothing and is swept at the next start.
    fn remove_upload(&self, id: &str) -> io::Result<()> {
        fs::remove_file(self.upload_path(id).join(UPLOAD_FILE))?;
        self.sweep_folder(&self.upload_path(id));
        Ok(())
    }

    /// Removes what no record names any more. Failing is no harm: the next start tries again.
    fn sweep_folder(&self, path: &Path) {
        if let Err(error) = fs::remove_dir_all(path) {
            let path = path.strip_prefix(&self.root).unwrap_or(path);
            warn!(%error, "failed to sweep {}", path.display());
        }
    }

    fn load(&self) -> io::Result<Catalog<Arc<Piece>>> {
        let mut catalog = Catalog::default();
        let mut named = HashSet::new();
        for bucket in entries(&self.root.join("buckets"))? {
            let name = file_name(&bucket);
            let Some(BucketRecord { made_seconds }) = read_record(&bucket.join(BUCKET_FILE))? else {
                self.sweep_folder(&bucket);
                continue;
            };
            catalog.apply(Change::BucketMade { name: name.clone(), made_seconds });
            for shard in entries(&bucket)?.into_iter().filter(|path| path.is_dir()) {
                for path in entries(&shard)? {
                    self.load_object(&name, &path, &mut catalog, &mut named)?;
                }
            }
        }
        for path in entries(&self.root.join("uploads"))? {
            self.load_upload(&path, &mut catalog, &mut named)?;
        }
        for shard in entries(&self.root.join("pieces"))? {
            for path in entries(&shard)?.into_iter().filter(|path| !named.contains(&file_name(path))) {
                fs::remove_file(path)?;
            }
        }
        for path in entries(&self.root.join("incoming"))? {
            fs::remove_file(path)?;
        }
        Ok(catalog)
    }

    fn load_object(
        &self,
        bucket: &str,
        path: &Path,
        catalog: &mut Catalog<Arc<Piece>>,
        named: &mut HashSet<String>,
    ) -> io::Result<()> {
        let read = read_record::<ObjectRecord>(path)?.and_then(|record| {
            let pieces =
                record.pieces.iter().map(|piece| Some((self.recorded_piece(&piece.name, piece.bytes)?, piece.bytes)));
            let pieces = pieces.collect::<Option<Vec<_>>>()?;
            Some((record.key, Object { details: record.details, pieces }))
        });
        let Some((key, object)) = read else {
            warn!("removing a record that is damaged or lacks its bytes: {}", path.display());
            return fs::remove_file(path);
        };
        named.extend(object.pieces.iter().map(|(piece, _)| piece.name.clone()));
        catalog.apply(Change::ObjectPut { bucket: bucket.to_owned(), key, object: Arc::new(object) });
        Ok(())
    }

    fn load_upload(
        &self,
        path: &Path,
        catalog: &mut Catalog<Arc<Piece>>,
        named: &mut HashSet<String>,
    ) -> io::Result<()> {
        let id = file_name(path);
        let record = read_record::<UploadRecord>(&path.join(UPLOAD_FILE))?.filter(|record| {
            let Ok(bucket) = catalog.bucket(&record.bucket) else {
                return false;
            };
            let object = bucket.objects.get(&record.key);
            // The crash came between the object's record and the removal of the upload's.
            let is_complete = object.is_some_and(|object| object.details.upload_id.as_ref() == Some(&id));
            !is_complete
        });
        let Some(UploadRecord { bucket, key, attributes, begun_seconds }) = record else {
            self.sweep_folder(path);
            return Ok(());
        };
        let mut upload = Upload { bucket, key, attributes, begun_seconds, parts: std::collections::BTreeMap::new() };
        for file in entries(path)?.into_iter().filter(|file| file_name(file) != UPLOAD_FILE) {
            let Some(record) = read_record::<PartRecord>(&file)? else {
                continue;
            };
            let Some(piece) = self.recorded_piece(&record.piece, record.fingerprint.size) else {
                continue;
            };
            named.insert(piece.name.clone());
            let part = Part { fingerprint: record.fingerprint, modified_seconds: record.modified_seconds, piece };
            upload.parts.insert(record.number, part);
        }
        catalog.apply(Change::UploadBegun { id, upload });
        Ok(())
    }

    fn record_object(
        &self,
        bucket: &str,
        key: &str,
        object: &Object<Arc<Piece>>,
        before: &Catalog<Arc<Piece>>,
    ) -> io::Result<()> {
        let pieces = object.pieces.iter().map(|(piece, bytes)| PieceRecord { name: piece.name.clone(), bytes: *bytes });
        let record = ObjectRecord { key: key.to_owned(), details: object.details.clone(), pieces: pieces.collect() };
        self.write_record(&self.object_path(bucket, key), &record)?;
        if let Ok(replaced) = before.object(bucket, key) {
            replaced.pieces.iter().for_each(|(piece, _)| piece.set_recorded(false));
        }
        let finished = object.details.upload_id.as_ref().and_then(|id| Some((id, before.uploads().get(id)?)));
        if let Some((id, upload)) = finished {
            upload.parts.values().for_each(|part| part.piece.set_recorded(false));
            if let Err(error) = self.remove_upload(id) {
                // The object stands, so this is no failure; the next start sees that the upload is complete.
                warn!(%error, "failed to remove the completed upload {id}");
            }
        }
        // Behind the two above, which name some of the same pieces.
        object.pieces.iter().for_each(|(piece, _)| piece.set_recorded(true));
        Ok(())
    }
}

impl Medium for Folder {
    type Piece = Arc<Piece>;

    const BLOCKS: bool = true;

    async fn keep(&self, intake: &mut Intake) -> S3Result<Self::Piece> {
        let piece = Arc::new(self.new_piece());
        // The thread holds the piece: were the client to leave now, the file would else be made after it was removed.
        let held = Arc::clone(&piece);
        let mut file = blocking(move || create(&held.path)).await.flatten().map_err(failed)?;
        let mut gathered = Vec::new();
        let mut gathered_bytes = 0;
        loop {
            let chunk = intake.next().await?;
            let is_end = chunk.is_none();
            gathered_bytes += chunk.as_ref().map_or(0, Bytes::len);
            gathered.extend(chunk);
            if gathered_bytes >= WRITE_BYTES || (is_end && gathered_bytes > 0) {
                let batch = std::mem::take(&mut gathered);
                gathered_bytes = 0;
                file = blocking(move || append(file, &batch)).await.flatten().map_err(failed)?;
            }
            if is_end {
                return Ok(piece);
            }
        }
    }

    fn read(piece: Self::Piece, range: Range<u64>) -> Chunks {
        Box::pin(stream::try_unfold((piece, None, range), |(piece, file, mut range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let wanted = (range.end - range.start).min(READ_BYTES);
            let start = range.start;
            let path = piece.path.clone();
            let (file, chunk) = blocking(move || read(file, &path, start, wanted)).await.flatten()?;
            range.start += wanted;
            Ok(Some((chunk, (piece, Some(file), range))))
        }))
    }

    fn duplicate(&self, piece: &Self::Piece) -> io::Result<Self::Piece> {
        let copy = self.new_piece();
        fs::create_dir_all(copy.path.parent().unwrap_or(&self.root))?;
        // A second name for the same bytes, which never change: it costs nothing and each may go without the other.
        fs::hard_link(&piece.path, &copy.path)?;
        Ok(Arc::new(copy))
    }

    fn record(&self, change: &Change<Self::Piece>, before: &Catalog<Self::Piece>) -> io::Result<()> {
        match change {
            Change::BucketMade { name, made_seconds } => {
                let record = BucketRecord { made_seconds: *made_seconds };
                self.write_record(&self.bucket_path(name).join(BUCKET_FILE), &record)
            }
            Change::BucketRemoved { name } => {
                fs::remove_file(self.bucket_path(name).join(BUCKET_FILE))?;
                self.sweep_folder(&self.bucket_path(name));
                Ok(())
            }
            Change::ObjectPut { bucket, key, object } => self.record_object(bucket, key, object, before),
            Change::ObjectRemoved { bucket, key } => {
                fs::remove_file(self.object_path(bucket, key))?;
                if let Ok(object) = before.object(bucket, key) {
                    object.pieces.iter().for_each(|(piece, _)| piece.set_recorded(false));
                }
                Ok(())
            }
            Change::UploadBegun { id, upload } => {
                let record = UploadRecord {
                    bucket: upload.bucket.clone(),
                    key: upload.key.clone(),
                    attributes: upload.attributes.clone(),
                    begun_seconds: upload.begun_seconds,
                };
                self.write_record(&self.upload_path(id).join(UPLOAD_FILE), &record)
            }
            Change::PartPut { id, number, part } => {
                let record = PartRecord {
                    number: *number,
                    fingerprint: part.fingerprint.clone(),
                    modified_seconds: part.modified_seconds,
                    piece: part.piece.name.clone(),
                };
                self.write_record(&self.upload_path(id).join(format!("{number:05}.json")), &record)?;
                if let Some(replaced) = before.uploads().get(id).and_then(|upload| upload.parts.get(number)) {
                    replaced.piece.set_recorded(false);
                }
                part.piece.set_recorded(true);
                Ok(())
            }
            Change::UploadRemoved { id } => {
                self.remove_upload(id)?;
                if let Some(upload) = before.uploads().get(id) {
                    upload.parts.values().for_each(|part| part.piece.set_recorded(false));
                }
                Ok(())
            }
        }
    }
}

/// The folder for a name: 256 of them, so that none grows long.
fn shard(name: &str) -> &str {
    name.get(..2).unwrap_or(name)
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(shard) = path.parent() {
        fs::create_dir_all(shard)?;
    }
    File::create_new(path)
}

fn append(mut file: File, batch: &[Bytes]) -> io::Result<File> {
    for chunk in batch {
        file.write_all(chunk)?;
    }
    Ok(file)
}

/// Reads `wanted` bytes from `start`, opening the file if it is not open.
fn read(file: Option<File>, path: &Path, start: u64, wanted: u64) -> io::Result<(File, Bytes)> {
    let mut file = if let Some(file) = file {
        file
    } else {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        file
    };
    let mut chunk = Vec::with_capacity(usize::try_from(wanted).map_err(io::Error::other)?);
    (&mut file).take(wanted).read_to_end(&mut chunk)?;
    if chunk.len() as u64 != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, chunk.into()))
}

/// A record, or `None` if there is none or it is no such record. A disk that fails is an error: nothing must be swept on
/// its word.
fn read_record<R: DeserializeOwned>(path: &Path) -> io::Result<Option<R>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
