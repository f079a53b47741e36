//! What processes have used, from `/proc` of Linux.

use std::collections::BTreeMap;
use std::fs;

/// CPU seconds by the name of a program or of a part.
pub type CpuSeconds = BTreeMap<String, f64>;

/// CPU seconds that each process had used at a time, by name and number.
#[derive(Debug, Default)]
pub struct Reading(BTreeMap<(String, u32), f64>);

/// Clock ticks in a second: what `/proc/[pid]/stat` counts in on every Linux that there is (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The servers beside our own processes, by the name of their program.
const SERVERS: [(&str, &str); 3] = [("postgres", "postgresql"), ("redis-server", "redis"), ("beam.smp", "rabbitmq")];

/// What our processes and the servers have used so far.
pub fn cpu_reading(own: &[(&str, u32)]) -> Reading {
    let mut reading = Reading::default();
    for process in processes() {
        let Some((program, used)) = cpu_of(process) else { continue };
        let ours = own.iter().find(|(_, one)| *one == process).map(|(name, _)| *name);
        let servers = SERVERS.iter().find(|(known, _)| *known == program).map(|(_, name)| *name);
        if let Some(name) = ours.or(servers) {
            reading.0.insert((name.to_owned(), process), used);
        }
    }
    reading
}

/// What was used between two readings, the processes of one name together. What ended in between is not known any more.
pub fn between(before: &Reading, after: &Reading) -> CpuSeconds {
    let mut used = CpuSeconds::new();
    for (process, seconds) in &after.0 {
        *used.entry(process.0.clone()).or_default() += seconds - before.0.get(process).unwrap_or(&0.0);
    }
    used
}

/// The most memory that a process has had resident so far, in bytes.
pub fn peak_memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The name of a process and the CPU seconds that it has used.
fn cpu_of(process: u32) -> Option<(String, f64)> {
    parsed(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Reads `/proc/[pid]/stat` (proc(5)): the name in brackets, then fields, of which the 12th and 13th are the user's and the
/// system's time.
fn parsed(stat: &str) -> Option<(String, f64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut times = rest.split_ascii_whitespace().skip(11);
    let ticks = |field: Option<&str>| field?.parse::<f64>().ok();
    Some((name, (ticks(times.next())? + ticks(times.next())?) / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_read_whatever_the_name_holds() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 7 7 20 0 1 0 5 1000 10";
        assert_eq!(parsed(stat), Some(("a (b) c".to_owned(), 2.0)));
        assert_eq!(parsed("nonsense"), None);
    }

    #[test]
    fn what_was_there_before_does_not_count_and_what_has_ended_takes_nothing_off() {
        let reading = |processes: &[(u32, f64)]| {
            Reading(
                processes.iter().map(|(process, seconds)| (("postgresql".to_owned(), *process), *seconds)).collect(),
            )
        };
        let before = reading(&[(1, 10.0), (2, 1.0)]);
        let used = between(&before, &reading(&[(2, 1.5), (3, 2.0)]));
        assert_eq!(used, CpuSeconds::from([("postgresql".to_owned(), 2.5)]));
    }
}
