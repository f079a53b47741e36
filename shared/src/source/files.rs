//! Reading resources out of files: NDJSON, single resources and Bundles.
//!
//! What a file holds is decided by its content, because its name may be wrong: when its first line is a whole JSON
//! object, each line is one; when it takes more lines to make one, the file is one. A line that cannot be read is
//! reported and the next one is read. Reports hold places and reasons, never content, which may be about a person.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::fault::{Fault, FaultKind};
use crate::fhir::{Member, Resource, ResourceType, Unreadable, json};

/// The endings that are looked for in a folder. A file that is named itself may have any.
const ENDINGS: [&str; 3] = ["ndjson", "jsonl", "json"];

const BUFFER_BYTES: usize = 256 * 1024;

/// A part of a file that is no resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; of a Bundle the line on which it begins.
    pub line: u64,
    /// The entry of the Bundle, from 1; `None` when this is no Bundle, or all of it.
    pub entry: Option<u64>,
    /// Why, without any of the content.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(entry) = self.entry {
            write!(f, "entry {entry}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// What comes out of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A resource; of a Group every member can be read.
    Resource(Resource),
    /// Something else.
    Bad(BadLine),
}

/// Opens files, and folders with all that is in them: `*.ndjson`, `*.jsonl` and `*.json` at any depth, in the order of
/// their names, hidden ones left out. Blocks, as does reading on: not for an async task.
///
/// Fails with `Invalid` when a path cannot be read or a folder holds no such file, and names it.
pub fn read(paths: &[PathBuf]) -> Result<Reader, Fault> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        gather(path, &mut files)?;
        if files.len() == before {
            let doing = format!("found nothing to read in {}", path.display());
            let why = "files end in .ndjson, .jsonl or .json; compressed ones have to be unpacked first";
            return Err(Fault::new(FaultKind::Invalid, doing).because(why));
        }
    }
    let mut total_bytes = 0;
    for file in &files {
        total_bytes += fs::metadata(file).map_err(|error| unreadable(file, error))?.len();
    }
    Ok(Reader { files: files.into(), open: None, waiting: VecDeque::new(), bytes_read: 0, total_bytes })
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    if !fs::metadata(path).map_err(|error| unreadable(path, error))?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(path, error))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(path, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(|error| unreadable(&entry.path(), error))?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_named_so = ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
        // A link to a folder is not followed, it could lead round in a circle; a link to a file is a file.
        if kind.is_dir() || (is_named_so && fs::metadata(&path).is_ok_and(|behind| behind.is_file())) {
            gather(&path, files)?;
        }
    }
    Ok(())
}

/// What the files hold, in order; made by [`read`]. It holds one line at a time, or one file when that is one JSON text.
///
/// Yields a fault, which names the file, when reading fails, and then nothing more.
#[derive(Debug)]
pub struct Reader {
    files: VecDeque<PathBuf>,
    open: Option<Lines>,
    waiting: VecDeque<Found>,
    bytes_read: u64,
    total_bytes: u64,
}

impl Reader {
    /// How many bytes have been read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// How many bytes there were in all when the files were opened.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    fn advance(&mut self) -> Result<Option<Found>, Fault> {
        loop {
            if let Some(found) = self.waiting.pop_front() {
                return Ok(Some(found));
            }
            if self.open.is_none() {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                self.open = Some(Lines::open(path)?);
            }
            if let Some(lines) = &mut self.open {
                let before = lines.position;
                let more = lines.next_text(&mut self.waiting).map_err(|error| unreadable(&lines.path, error))?;
                self.bytes_read += lines.position.saturating_sub(before);
                if !more {
                    self.open = None;
                }
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Found, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.files.clear();
            self.open = None;
        }
        next.transpose()
    }
}

/// One file that is open.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    input: BufReader<File>,
    /// How many bytes have been taken.
    position: u64,
    /// How many lines have been taken.
    line: u64,
    /// Whether a text has been found: only the first one says what the file is.
    begun: bool,
}

impl Lines {
    fn open(path: PathBuf) -> Result<Self, Fault> {
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let input = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self { path, input, position: 0, line: 0, begun: false })
    }

    /// Takes the next line, or the whole file when it is one text; `false` at the end.
    fn next_text(&mut self, found: &mut VecDeque<Found>) -> io::Result<bool> {
        let start = self.position;
        let mut text = Vec::new();
        let taken = self.input.read_until(b'\n', &mut text)?;
        if taken == 0 {
            return Ok(false);
        }
        self.position += taken as u64;
        self.line += 1;
        let mut text = Bytes::from(text);
        if start == 0 {
            if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
                found.push_back(self.bad("the file is UTF-16; FHIR is written in UTF-8"));
                return Ok(false);
            }
            if text.starts_with(b"\xef\xbb\xbf") {
                text = text.slice(3..);
            }
        }
        if text.trim_ascii().is_empty() {
            return Ok(true);
        }
        let first = !std::mem::replace(&mut self.begun, true);
        if first && is_unfinished(&text) && self.is_one_text(&text)? {
            text = self.rest_after(&text)?;
            self.take(&text, found);
            return Ok(false);
        }
        self.take(&text, found);
        Ok(true)
    }

    /// Whether a file of which the first line is an unfinished text is one text over many lines. Reads ahead and comes
    /// back; a text of several gigabytes is not held for it.
    fn is_one_text(&mut self, line: &Bytes) -> io::Result<bool> {
        if line.trim_ascii_start().starts_with(b"[") {
            return Ok(true);
        }
        let here = self.position;
        let begin = here - line.len() as u64;
        self.input.seek(SeekFrom::Start(begin))?;
        let whole = serde_json::from_reader::<_, IgnoredAny>(&mut self.input);
        self.input.seek(SeekFrom::Start(here))?;
        match whole {
            Ok(_) => Ok(true),
            Err(error) if error.is_io() => Err(error.into()),
            // Not one text as it stands. When the next line is one by itself, the first line was cut short.
            Err(_) => {
                let mut next = Vec::new();
                while next.trim_ascii().is_empty() && {
                    next.clear();
                    self.input.read_until(b'\n', &mut next)? > 0
                } {}
                self.input.seek(SeekFrom::Start(here))?;
                Ok(!is_object(&next))
            }
        }
    }

    /// The line and all that follows it.
    fn rest_after(&mut self, line: &Bytes) -> io::Result<Bytes> {
        let mut text = line.to_vec();
        self.position += self.input.read_to_end(&mut text)? as u64;
        Ok(Bytes::from(text))
    }

    /// Reads one JSON text.
    fn take(&self, text: &Bytes, found: &mut VecDeque<Found>) {
        if text.trim_ascii_start().starts_with(b"[") {
            found.push_back(self.bad("it is an array; write one resource a line, or a Bundle"));
            return;
        }
        match Resource::read(text) {
            Ok(resource) if resource.key.resource_type == ResourceType::BUNDLE => self.open_bundle(text, found),
            // A Bundle that nobody stored has no id.
            Err(Unreadable::NoId) if is_bundle(text) => self.open_bundle(text, found),
            Ok(resource) => found.push_back(match check(&resource) {
                Ok(()) => Found::Resource(resource),
                Err(reason) => self.bad(reason),
            }),
            Err(error) => found.push_back(self.bad(reason(&error))),
        }
    }

    fn open_bundle(&self, text: &Bytes, found: &mut VecDeque<Found>) {
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow, default)]
            method: Option<Cow<'a, str>>,
        }
        #[derive(Deserialize)]
        struct Entry<'a> {
            #[serde(borrow, default)]
            resource: Option<&'a RawValue>,
            #[serde(borrow, default)]
            request: Option<Request<'a>>,
        }
        #[derive(Deserialize)]
        struct Bundle<'a> {
            #[serde(borrow, default)]
            entry: Vec<Entry<'a>>,
        }
        let bundle: Bundle<'_> = match std::str::from_utf8(text).map(json::object) {
            Ok(Ok(bundle)) => bundle,
            Ok(Err(error)) => return found.push_back(self.bad(reason(&Unreadable::Json(error)))),
            Err(error) => return found.push_back(self.bad(reason(&Unreadable::Encoding(error)))),
        };
        for (number, entry) in (1_u64..).zip(&bundle.entry) {
            let deletes = entry.request.as_ref().is_some_and(|request| request.method.as_deref() == Some("DELETE"));
            let read = match entry.resource {
                _ if deletes => Err("it deletes a resource, which a load does not do".to_owned()),
                None => Err("it has no resource".to_owned()),
                Some(raw) => Resource::read(&text.slice_ref(raw.get().as_bytes()))
                    .map_err(|error| reason(&error))
                    .and_then(|resource| check(&resource).map(|()| resource)),
            };
            found.push_back(match read {
                Ok(resource) => Found::Resource(resource),
                Err(reason) => match self.bad(reason) {
                    Found::Bad(bad) => Found::Bad(BadLine { entry: Some(number), ..bad }),
                    other @ Found::Resource(_) => other,
                },
            });
        }
    }

    fn bad(&self, reason: impl Into<String>) -> Found {
        Found::Bad(BadLine { file: self.path.clone(), line: self.line, entry: None, reason: reason.into() })
    }
}

/// What only some types must fulfil: a Group can be cut open, and a Bundle holds no other.
fn check(resource: &Resource) -> Result<(), String> {
    match resource.key.resource_type {
        ResourceType::BUNDLE => Err("it is a Bundle inside a Bundle".to_owned()),
        ResourceType::GROUP => {
            let text = std::str::from_utf8(&resource.body).map_err(|_| "it is not UTF-8 text".to_owned())?;
            let unreadable = |error| format!("its members cannot be read: {}", json::reason(&error));
            for member in json::open_group(text).map_err(unreadable)?.members {
                Member::read(member).map_err(unreadable)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Why a text is no resource. The word that stands for the type is shown only when it looks like one.
fn reason(error: &Unreadable) -> String {
    match error {
        Unreadable::UnknownType(unknown)
            if unknown.0.len() > 40 || !unknown.0.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            "its resourceType is not one of FHIR R4".to_owned()
        }
        error => error.to_string(),
    }
}

fn is_bundle(text: &Bytes) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "resourceType")]
        resource_type: Cow<'a, str>,
    }
    let head = std::str::from_utf8(text).ok().and_then(|text| json::object::<Head<'_>>(text).ok());
    head.is_some_and(|head| head.resource_type == ResourceType::BUNDLE.name())
}

fn is_unfinished(text: &[u8]) -> bool {
    matches!(serde_json::from_slice::<IgnoredAny>(text), Err(error) if error.classify() == Category::Eof)
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

fn unreadable(path: &Path, error: io::Error) -> Fault {
    Fault::new(FaultKind::Invalid, format!("failed to read {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file of this name and content gives: keys, and `line: reason` or `line.entry: reason` of what is bad.
    fn found_in(name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::write(folder.path().join(name), content).expect("the folder can be written");
        let mut reader = read(&[folder.path().to_owned()]).expect("the folder can be read");
        let found = reader.by_ref().map(|found| match found.expect("the file can be read") {
            Found::Resource(resource) => resource.key.to_string(),
            Found::Bad(BadLine { line, entry: None, reason, .. }) => format!("{line}: {reason}"),
            Found::Bad(BadLine { line, entry: Some(entry), reason, .. }) => format!("{line}.{entry}: {reason}"),
        });
        let found = found.collect();
        assert_eq!(reader.bytes_read(), reader.total_bytes(), "{name}");
        found
    }

    const A: &str = r#"{"resourceType":"Patient","id":"a"}"#;
    const B: &str = r#"{"resourceType":"Patient","id":"b"}"#;
    const PRETTY: &str = "{\n  \"resourceType\": \"Patient\",\r\n\n  \"id\": \"a\"\n}\n";

    #[test]
    fn each_line_of_ndjson_is_a_resource_whatever_ends_the_lines() {
        for content in [format!("{A}\n{B}\n"), format!("{A}\r\n\r\n  {B}"), format!("\u{feff}\n{A}\n\n\n{B}\n\n")] {
            assert_eq!(found_in("x.ndjson", content), ["Patient/a", "Patient/b"]);
        }
        assert!(found_in("x.ndjson", "").is_empty());
    }

    #[test]
    fn a_file_is_what_its_content_is_whatever_its_name_says() {
        assert_eq!(found_in("x.json", format!("{A}\n{B}\n")), ["Patient/a", "Patient/b"]);
        assert_eq!(found_in("x.ndjson", PRETTY), ["Patient/a"]);
        assert_eq!(found_in("x.JSON", format!("\u{feff}{PRETTY}")), ["Patient/a"]);
    }

    #[test]
    fn a_resource_over_many_lines_becomes_one_line() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::write(folder.path().join("x.json"), PRETTY).expect("the folder can be written");
        let found: Vec<_> = read(&[folder.path().join("x.json")]).expect("it is there").collect();
        let [Ok(Found::Resource(resource))] = &found[..] else { panic!("{found:?}") };
        assert_eq!(resource.body, A);
    }

    #[test]
    fn the_entries_of_a_bundle_are_opened_and_those_without_a_resource_reported() {
        let entries = format!(
            r#"{{"resource":{A}}},{{"fullUrl":"urn:uuid:1"}},{{"resource":{B},"request":{{"method":"DELETE"}}}},{{"resource":{B}}}"#
        );
        let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{entries}]}}"#);
        let expected = [
            "Patient/a",
            "1.2: it has no resource",
            "1.3: it deletes a resource, which a load does not do",
            "Patient/b",
        ];
        assert_eq!(found_in("x.json", &bundle), expected);
        assert_eq!(found_in("x.json", bundle.replace("[{", "[\n{").replace("},{", "},\n{")), expected);
        assert_eq!(found_in("x.json", bundle.replace("Bundle\"", "Bundle\",\"id\":\"x\"")), expected);
        let nested = format!(
            r#"{{"resourceType":"Bundle","entry":[{{"resource":{}}}]}}"#,
            bundle.replace("Bundle\"", "Bundle\",\"id\":\"x\"")
        );
        assert_eq!(found_in("x.json", nested), ["1.1: it is a Bundle inside a Bundle"]);
    }

    #[test]
    fn a_bad_line_never_stops_the_rest() {
        for bad in [
            "garbage",
            r#"{"resourceType":"Patient","id":"#,
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Patient","id":"a/b"}"#,
            r#"{"resourceType":"Nonsense","id":"a"}"#,
            r#"{"id":"a"}"#,
            r#"["a"]"#,
            r#"{"resourceType":"Group","id":"g","member":{}}"#,
            r#"{"resourceType":"Group","id":"g","member":[{"entity":7}]}"#,
        ] {
            for (content, line) in [(format!("{bad}\n{A}\n{B}\n"), 1), (format!("{A}\n{bad}\n{B}\n"), 2)] {
                let found = found_in("x.ndjson", &content);
                assert_eq!(found.len(), 3, "{content}: {found:?}");
                assert!(found[line - 1].starts_with(&format!("{line}: ")), "{found:?}");
            }
        }
        let found = found_in("x.ndjson", [A.as_bytes(), b"\n{\"\xff\":1}\n", B.as_bytes()].concat());
        assert_eq!(found, ["Patient/a", "2: it is not UTF-8 text", "Patient/b"]);
    }

    #[test]
    fn a_whole_file_that_cannot_be_read_is_one_bad_line() {
        assert_eq!(found_in("x.json", &PRETTY[..PRETTY.len() - 3]).len(), 1);
        assert_eq!(found_in("x.json", PRETTY.replace(':', "=")).len(), 1);
        assert_eq!(found_in("x.json", format!("[\n{A},\n{B}\n]\n")).len(), 1);
        let utf16: Vec<u8> = "\u{feff}{}\n{}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::write(folder.path().join("x.json"), utf16).expect("the folder can be written");
        assert_eq!(read(&[folder.path().to_owned()]).expect("it is there").count(), 1);
    }

    #[test]
    fn a_reason_has_none_of_the_content() {
        let secret = r#"{"resourceType":"Mary Smith, born 1970","id":"Mary/Smith","name":"Mary"#;
        for content in [secret.to_owned(), format!("{secret}\"}}")] {
            let found = found_in("x.ndjson", content);
            assert!(found.len() == 1 && !found[0].contains("Mary"), "{found:?}");
        }
    }

    #[test]
    fn folders_are_read_in_the_order_of_names_at_any_depth() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::create_dir(folder.path().join("b")).expect("the folder can be written");
        for (name, id) in [("c.json", "3"), ("b/x.jsonl", "2"), ("a.ndjson", "1"), ("notes.txt", "4"), (".a.json", "5")]
        {
            let line = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
            fs::write(folder.path().join(name), line).expect("the folder can be written");
        }
        let reader = read(&[folder.path().to_owned()]).expect("it is there");
        let ids: Vec<_> = reader
            .map(|found| match found {
                Ok(Found::Resource(resource)) => String::from(resource.key.id),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let fault = read(&[PathBuf::from("/nowhere/at/all")]).expect_err("it is not there");
        assert_eq!(fault.kind(), FaultKind::Invalid);
        assert!(fault.to_string().contains("/nowhere/at/all"), "{fault}");
    }
}
