//! The bare pipe: what the machine gives to a program that runs the same queries on as many connections, uploads the same
//! bytes to the same store, and does nothing else. No queue, no jobs, no claims, no digests; what it has to read is known to
//! it before it begins.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use shared::export::{Attempt, Encoding, JobId, OutputKey, Slice, TaskNo};
use shared::fhir::{self, ResourceId, ResourceKey, ResourceType};
use shared::outputs::{OutputStore, OutputWriter};
use shared::platform;
use shared::source::ResourceSource;
use tokio::sync::Mutex;

use crate::check::Checked;
use crate::data::Loaded;
use crate::roles::{ACCESS_KEY, SECRET_KEY};
use crate::system::System;
use crate::usage::{self, CpuSeconds};

/// How many members of the list are read at a time: as many as a worker reads.
const MEMBERS_A_PAGE: u32 = 2_000;

/// A run of the pipe.
#[derive(Debug)]
pub struct Piped {
    /// Resources written.
    pub resources: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// What it and the servers have used meanwhile.
    pub cpu_seconds: CpuSeconds,
}

/// Something to read and upload as one object.
enum Load {
    List,
    Listed(Slice),
    Others(ResourceType, Vec<ResourceKey>),
}

struct Pipe<'a> {
    source: &'a dyn ResourceSource,
    outputs: &'a dyn OutputStore,
    list: ResourceId,
    as_of: fhir::Instant,
    page_ids: u32,
    job: JobId,
    /// What is left, each with the number of its object.
    left: Mutex<VecDeque<(u32, Load)>>,
}

/// Pipes what the export wrote.
pub async fn run(system: &System, data: &Loaded, written: &Checked) -> anyhow::Result<Piped> {
    let settings = &system.settings;
    let source = platform::open_source(settings).await?.source;
    let outputs = platform::open_outputs(settings, Some((ACCESS_KEY, SECRET_KEY))).await?;
    let list: ResourceId = data.list.parse().context("the list has an id")?;
    let as_of = source.transaction_time().await?;
    let slices = source.cut(&list, as_of, settings.slice_ids).await?;
    let others = beyond_the_list(&*source, &list, as_of, written).await?;
    let loads = std::iter::once(Load::List).chain(slices.into_iter().map(Load::Listed)).chain(others);
    let pipe = Pipe {
        source: &*source,
        outputs: &*outputs,
        list,
        as_of,
        page_ids: settings.page_ids,
        job: JobId::random(),
        left: Mutex::new((1..).zip(loads).collect()),
    };
    let own = [("pipe", std::process::id()), ("store", system.parts.first().map_or(0, crate::system::Part::id))];
    let cpu = usage::cpu_reading(&own);
    let began = Instant::now();
    let done = try_join_all((0..system.concurrency).map(|_| pipe.work())).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = usage::between(&cpu, &usage::cpu_reading(&own));
    pipe.outputs.remove_job(pipe.job).await?;
    let (resources, bytes) = done.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    ensure!(
        (resources, bytes) == (written.lines, written.bytes),
        "the pipe wrote {resources} resources of {bytes} bytes, and the export {} of {}",
        written.lines,
        written.bytes
    );
    Ok(Piped { resources, bytes, seconds, cpu_seconds })
}

/// What the export wrote and the list does not name, by type.
async fn beyond_the_list(
    source: &dyn ResourceSource,
    list: &ResourceId,
    as_of: fhir::Instant,
    written: &Checked,
) -> anyhow::Result<Vec<Load>> {
    let mut keys: Vec<ResourceKey> =
        written.keys.iter().filter(|key| key.resource_type != ResourceType::GROUP).cloned().collect();
    keys.sort_unstable();
    let mut by_type = std::collections::BTreeMap::<ResourceType, Vec<ResourceKey>>::new();
    for keys in keys.chunks(10_000) {
        let listed = source.listed_among(list, as_of, keys).await?;
        for key in keys.iter().filter(|key| !listed.contains_key(key)) {
            by_type.entry(key.resource_type).or_default().push(key.clone());
        }
    }
    Ok(by_type.into_iter().map(|(resource_type, keys)| Load::Others(resource_type, keys)).collect())
}

impl Pipe<'_> {
    /// Takes loads until none is left; answers how many resources and bytes it wrote.
    async fn work(&self) -> anyhow::Result<(u64, u64)> {
        let mut done = (0, 0);
        loop {
            let Some((number, load)) = self.left.lock().await.pop_front() else { return Ok(done) };
            let (resources, bytes) = self.carry(number, load).await?;
            done = (done.0 + resources, done.1 + bytes);
        }
    }

    async fn carry(&self, number: u32, load: Load) -> anyhow::Result<(u64, u64)> {
        let resource_type = match &load {
            Load::List => ResourceType::GROUP,
            Load::Listed(slice) => slice.resource_type,
            Load::Others(resource_type, _) => *resource_type,
        };
        let key = OutputKey { job: self.job, resource_type, task: TaskNo(number), attempt: Attempt(1), number: 0 };
        let mut writer = self.outputs.create(&key, Encoding::Identity).await?;
        let resources = match load {
            Load::List => self.list(&mut *writer).await?,
            Load::Listed(slice) => self.listed(slice, &mut *writer).await?,
            Load::Others(_, keys) => self.others(&keys, &mut *writer).await?,
        };
        Ok((resources, writer.finish().await?))
    }

    async fn list(&self, writer: &mut dyn OutputWriter) -> anyhow::Result<u64> {
        let head = self.source.list(&self.list, self.as_of).await?.context("the list is there")?;
        writer.write(&head.before).await?;
        let mut from = 0;
        while from < head.members {
            let members = self.source.members(&self.list, self.as_of, from, MEMBERS_A_PAGE).await?;
            for (at, member) in members.iter().enumerate() {
                if from > 0 || at > 0 {
                    writer.write(b",").await?;
                }
                writer.write(member).await?;
            }
            from += members.len() as u64;
        }
        writer.write(&head.after).await?;
        writer.write(b"\n").await?;
        Ok(1)
    }

    async fn listed(&self, mut slice: Slice, writer: &mut dyn OutputWriter) -> anyhow::Result<u64> {
        let mut resources = 0;
        let mut page = self.source.listed(&self.list, &slice, self.as_of, self.page_ids).await?;
        while let Some(last) = page.last() {
            slice.after = Some(last.id.clone());
            // The next page comes while this one is written, as in a worker.
            let next = async {
                if slice.after.as_ref() == Some(&slice.through) {
                    return Ok(Vec::new());
                }
                self.source.listed(&self.list, &slice, self.as_of, self.page_ids).await
            };
            let write = async {
                for stored in page.iter().filter_map(|listed| listed.stored.as_ref()) {
                    resources += 1;
                    writer.write(&stored.resource.body).await?;
                    writer.write(b"\n").await?;
                }
                Ok(())
            };
            let (next, ()) = tokio::try_join!(next, write)?;
            page = next;
        }
        Ok(resources)
    }

    async fn others(&self, keys: &[ResourceKey], writer: &mut dyn OutputWriter) -> anyhow::Result<u64> {
        for keys in keys.chunks(self.page_ids as usize) {
            for stored in self.source.fetch(self.as_of, keys).await? {
                writer.write(&stored.resource.body).await?;
                writer.write(b"\n").await?;
            }
        }
        Ok(keys.len() as u64)
    }
}
