//! A client: kicks off, polls, and now and then deletes, through whatever happens to the API meanwhile. What it was told
//! decides what has to be so.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use serde_json::Value;
use shared::export::{JobId, OutputKey, OutputKind};
use tokio::time::{Instant, sleep};

use super::front::Answer;
use super::world::World;
use crate::harness::random::{Random, SINCE};
use crate::harness::trace::{About, Who};

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its number; there is a client for each wish.
    pub number: u32,
    /// The id of the list.
    pub list: &'static str,
    /// Only what changed after [`SINCE`].
    pub since: bool,
    /// Files organized by patient.
    pub by_patient: bool,
    /// Manifests while the job runs.
    pub partial: bool,
    /// When it begins.
    pub begins_after: Duration,
    /// How long after its 202 it deletes the job.
    pub deletes_after: Option<Duration>,
}

impl Wish {
    /// A wish for one of these lists.
    pub fn draw(random: &mut Random, number: u32, lists: &[&'static str]) -> Self {
        Self {
            number,
            list: *random.pick::<&'static str>(lists),
            since: random.once_in(2),
            by_patient: random.once_in(4),
            partial: random.once_in(8),
            begins_after: Duration::from_millis(random.below(if number == 0 { 10 } else { 10_000 })),
            deletes_after: random.once_in(5).then(|| Duration::from_millis(random.below(20_000))),
        }
    }

    /// The name of its client.
    pub fn client(&self) -> String {
        format!("client-{}", self.number)
    }

    fn kick_off(&self) -> String {
        let mut path = format!("/fhir/Group/{}/$davinci-data-export?_outputFormat=ndjson", self.list);
        if self.since {
            path = format!("{path}&_since={SINCE}");
        }
        if self.by_patient {
            path += "&organizeOutputBy=Patient";
        }
        if self.partial {
            path += "&allowPartialManifests=true";
        }
        path
    }
}

/// A file, as a manifest tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// In which array it stands.
    pub kind: OutputKind,
    /// `count`.
    pub lines: u64,
    /// The length of its text.
    pub bytes: u64,
}

/// All pages of a manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// Its files.
    pub files: BTreeMap<OutputKey, Told>,
    /// The account of the members.
    pub account: Option<Value>,
}

/// What a client has seen of a job.
pub struct Seen {
    /// The job.
    pub job: JobId,
    /// What the job was to do.
    pub wish: Wish,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The manifest, when it was had before the job was deleted.
    pub manifest: Option<Manifest>,
}

/// A client at work.
pub struct Client<'a> {
    world: &'a World,
    wish: Wish,
}

/// What a request is answered with that may do better in a while: a part of the system cannot be reached, or hangs.
const PASSES: [StatusCode; 2] = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::REQUEST_TIMEOUT];

/// Longer than any job takes, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(50_000);

impl<'a> Client<'a> {
    pub fn new(world: &'a World, wish: Wish) -> Self {
        Self { world, wish }
    }

    fn note(&self, what: &'static str, about: impl Into<About>, ended: &'static str) {
        self.world.mischief.note(Who { kind: "client", number: self.wish.number, life: 1 }, what, about, ended);
    }

    async fn pause(&self) {
        sleep(Duration::from_millis(1_000 + self.world.draw(14_000))).await;
    }

    /// An answer that is about the request; asks again when the API dies or a part of the system cannot be reached. Whether
    /// one of the tries before may have been done comes with it.
    async fn ask(&self, method: Method, path: &str) -> (Answer, bool) {
        let mut again = false;
        loop {
            let front = self.world.front().await;
            match front.ask(&self.wish.client(), method.clone(), path).await {
                Some(answer) if !PASSES.contains(&answer.status) => return (answer, again),
                Some(_) | None => again = true,
            }
            self.pause().await;
        }
    }

    /// Does all that a client does.
    pub async fn run(self) -> Result<Seen, String> {
        sleep(self.wish.begins_after).await;
        let (answer, _) = self.ask(Method::GET, &self.wish.kick_off()).await;
        let Answer { status, location, body } = answer;
        let location = location.filter(|_| status == StatusCode::ACCEPTED);
        let location = location.ok_or_else(|| format!("the kick-off was answered with {status}: {body}"))?;
        let job = location.rsplit('/').next().and_then(|id| id.parse().ok()).ok_or("the location has no job")?;
        self.note("kick-off", job, "202");
        match self.wish.deletes_after {
            None => self.see_through(job).await,
            Some(after) => {
                let seen = tokio::time::timeout(after, self.see_through(job)).await.ok().transpose()?;
                self.delete(job).await?;
                let manifest = seen.and_then(|seen| seen.manifest);
                Ok(Seen { job, wish: self.wish, deleted: true, manifest })
            }
        }
    }

    /// Polls a job until it has its manifest.
    pub async fn see_through(&self, job: JobId) -> Result<Seen, String> {
        let mut so_far = Manifest::default();
        let began = Instant::now();
        loop {
            let (answer, _) = self.ask(Method::GET, &polling(job, 1)).await;
            let is_done = match answer.status {
                StatusCode::OK => true,
                StatusCode::ACCEPTED => false,
                status => return Err(format!("{job} was polled and answered {status}: {}", answer.body)),
            };
            if is_done || self.wish.partial && !answer.body.is_empty() {
                let manifest = self.manifest(job, answer).await?;
                if so_far.files.iter().any(|(key, told)| manifest.files.get(key) != Some(told)) {
                    return Err(format!("a file of {job} was shown and is gone:\n{so_far:#?}\nnow\n{manifest:#?}"));
                }
                so_far = manifest;
            }
            if is_done {
                self.note("poll", job, "200");
                return Ok(Seen { job, wish: self.wish.clone(), deleted: false, manifest: Some(so_far) });
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{job} does not come to its end"));
            }
            self.pause().await;
        }
    }

    /// All pages of the manifest that begins with this answer.
    async fn manifest(&self, job: JobId, mut page: Answer) -> Result<Manifest, String> {
        let mut manifest = Manifest::default();
        for number in 2.. {
            let json: Value = serde_json::from_str(&page.body).map_err(|error| format!("a manifest: {error}"))?;
            for (name, kind) in
                [("output", OutputKind::Output), ("deleted", OutputKind::Deleted), ("error", OutputKind::Error)]
            {
                for item in json[name].as_array().ok_or_else(|| format!("a manifest without {name}"))? {
                    let (key, told) = told(item, kind).ok_or_else(|| format!("a manifest with {item}"))?;
                    if manifest.files.insert(key, told).is_some() {
                        return Err(format!("a file stands twice in the manifest: {item}"));
                    }
                }
            }
            let account = json["extension"].as_object().and_then(|extension| extension.values().next());
            manifest.account = manifest.account.or_else(|| account.cloned());
            if json["link"].is_null() {
                break;
            }
            page = self.ask(Method::GET, &polling(job, number)).await.0;
            // A page that there is stays; a running job may show it a moment later than it was told of.
            if !matches!(page.status, StatusCode::OK | StatusCode::ACCEPTED) || page.body.is_empty() {
                return Err(format!("page {number} of {job} was answered with {}: {}", page.status, page.body));
            }
        }
        Ok(manifest)
    }

    async fn delete(&self, job: JobId) -> Result<(), String> {
        let (answer, again) = self.ask(Method::DELETE, &polling(job, 1)).await;
        let is_deleted = answer.status == StatusCode::ACCEPTED || again && answer.status == StatusCode::NOT_FOUND;
        if !is_deleted {
            return Err(format!("{job} was deleted and answered {}: {}", answer.status, answer.body));
        }
        self.note("delete", job, "202");
        self.sees_nothing(job).await
    }

    /// Polls a job that nobody is to see.
    pub async fn sees_nothing(&self, job: JobId) -> Result<(), String> {
        let (answer, _) = self.ask(Method::GET, &polling(job, 1)).await;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(format!("{job} is gone or somebody else's, and was answered {}: {}", answer.status, answer.body))
    }
}

fn polling(job: JobId, page: usize) -> String {
    if page == 1 { format!("/fhir/export/{job}") } else { format!("/fhir/export/{job}?page={page}") }
}

fn told(item: &Value, kind: OutputKind) -> Option<(OutputKey, Told)> {
    let key = item["url"].as_str()?.strip_prefix("memory:")?.parse().ok()?;
    let extension = item["extension"].as_object()?.values().next()?;
    Some((key, Told { kind, lines: item["count"].as_u64()?, bytes: extension["bytes"].as_u64()? }))
}
