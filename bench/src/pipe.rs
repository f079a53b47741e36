//! The bare pipe: what the machine gives to a program that runs the same queries on as many connections, uploads the same
//! bytes to the same store, and does nothing else. No queue, no jobs, no claims, no digests; what it has to read is known to
//! it before it begins.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use shared::export::{Attempt, Encoding, JobId, OutputKey, Slice, TaskNo};
use shared::fhir::{self, ResourceId, ResourceKey, ResourceType};
use shared::metrics::Metrics;
use shared::outputs::{OutputStore, OutputWriter};
use shared::platform;
use shared::source::{ListHead, ResourceSource};
use tokio::sync::Mutex;

use crate::check::Checked;
use crate::data::Loaded;
use crate::roles::{ACCESS_KEY, SECRET_KEY};
use crate::system::System;
use crate::usage::{self, CpuSeconds};

/// How many members are read with a page that would hold one resource, as in a worker.
const MEMBERS_A_RESOURCE: u32 = 5;

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

impl Load {
    /// How many resources it is; the line of the Group counts as all of its members, whom it has to read.
    fn resources(&self, members: u64) -> u64 {
        match self {
            Self::List => members,
            Self::Listed(slice) => slice.ids,
            Self::Others(_, keys) => keys.len() as u64,
        }
    }
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
    // It has as many connections to the source as all workers together.
    let mut settings = system.settings.clone();
    settings.source_connections *= usize::from(system.workers);
    let metrics = Metrics::new();
    let outputs = platform::open_outputs(&settings, Some((ACCESS_KEY, SECRET_KEY)), &metrics).await?;
    let source = platform::open_source(&settings, &outputs, None, &metrics).await?.source;
    let list: ResourceId = data.list.parse().context("the id of the list is not legal")?;
    let as_of = source.transaction_time().await?;
    let members = source.list(&list, as_of).await?.context("the list is not in the source")?.members;
    let slices = source.cut(&list, as_of, settings.slice_ids).await?;
    let others = beyond_the_list(&*source, &list, as_of, written).await?;
    let listed = slices.into_iter().map(Load::Listed);
    let mut loads: Vec<Load> = std::iter::once(Load::List).chain(listed).chain(others).collect();
    // The longest first, so that none is carried alone at the end.
    loads.sort_by_key(|load| Reverse(load.resources(members)));
    let pipe = Pipe {
        source: &*source,
        outputs: &*outputs,
        list,
        as_of,
        page_ids: settings.page_ids,
        job: JobId::random(),
        left: Mutex::new((1..).zip(loads).collect()),
    };
    let store = system.processes().into_iter().filter(|(role, _)| *role == "store");
    let own: Vec<_> = store.chain([("pipe", std::process::id())]).collect();
    // As many loads at a time as the workers have permits on the bulk lane.
    let permits = usize::from(system.workers) * usize::from(settings.permits);
    let cpu = usage::cpu_reading(&own);
    let began = Instant::now();
    let done = try_join_all((0..permits).map(|_| pipe.work())).await?;
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
        let head = self.source.list(&self.list, self.as_of).await?.context("the list is not in the source")?;
        writer.write(&head.before).await?;
        let (mut from, mut page) = (0, self.members(&head, 0).await?);
        while !page.is_empty() {
            let mut text = Vec::new();
            for (at, member) in page.iter().enumerate() {
                if from > 0 || at > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(member);
            }
            from += page.len() as u64;
            let write = async { Ok(writer.write(&text).await?) };
            (page, ()) = tokio::try_join!(self.members(&head, from), write)?;
        }
        writer.write(&head.after).await?;
        writer.write(b"\n").await?;
        Ok(1)
    }

    async fn members(&self, head: &ListHead, from: u64) -> anyhow::Result<Vec<Bytes>> {
        if from >= head.members {
            return Ok(Vec::new());
        }
        Ok(self.source.members(&self.list, self.as_of, from, self.page_ids * MEMBERS_A_RESOURCE).await?)
    }

    async fn listed(&self, mut slice: Slice, writer: &mut dyn OutputWriter) -> anyhow::Result<u64> {
        let (mut resources, mut lines) = (0, Vec::new());
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
                lines.clear();
                for stored in page.iter().filter_map(|listed| listed.stored.as_ref()) {
                    resources += 1;
                    lines.extend_from_slice(&stored.resource.body);
                    lines.push(b'\n');
                }
                writer.write(&lines).await
            };
            let (next, ()) = tokio::try_join!(next, write)?;
            page = next;
        }
        Ok(resources)
    }

    async fn others(&self, keys: &[ResourceKey], writer: &mut dyn OutputWriter) -> anyhow::Result<u64> {
        let mut resources = 0;
        for keys in keys.chunks(self.page_ids as usize) {
            let (found, mut lines) = (self.source.fetch(self.as_of, keys).await?, Vec::new());
            resources += found.len() as u64;
            for stored in found {
                lines.extend_from_slice(&stored.resource.body);
                lines.push(b'\n');
            }
            writer.write(&lines).await?;
        }
        Ok(resources)
    }
}
