//! What processes have used, from `/proc` of Linux.

use std::collections::BTreeMap;
use std::fs;

/// CPU seconds by process.
pub type CpuSeconds = BTreeMap<String, f64>;

/// Clock ticks in a second: what `/proc/[pid]/stat` counts in on every Linux that there is (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The servers beside our own processes, by the name of their program.
const SERVERS: [(&str, &str); 3] = [("postgres", "postgresql"), ("redis-server", "redis"), ("beam.smp", "rabbitmq")];

/// CPU seconds that our processes and the servers have used so far, those of one name together.
pub fn cpu_seconds(own: &[(&str, u32)]) -> CpuSeconds {
    let mut seconds = CpuSeconds::new();
    for (name, process) in own {
        *seconds.entry((*name).to_owned()).or_default() += cpu_of(*process).map_or(0.0, |(_, seconds)| seconds);
    }
    for process in processes() {
        let Some((program, used)) = cpu_of(process) else { continue };
        if let Some((_, name)) = SERVERS.iter().find(|(known, _)| *known == program) {
            *seconds.entry((*name).to_owned()).or_default() += used;
        }
    }
    seconds
}

/// What was used between two readings.
pub fn between(before: &CpuSeconds, after: &CpuSeconds) -> CpuSeconds {
    let used = |(name, after): (&String, &f64)| (name.clone(), (after - before.get(name).unwrap_or(&0.0)).max(0.0));
    after.iter().map(used).collect()
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
    fn what_was_there_before_does_not_count() {
        let seconds = |api: f64| CpuSeconds::from([("api".to_owned(), api)]);
        assert_eq!(between(&seconds(1.0), &seconds(3.5)), seconds(2.5));
        assert_eq!(between(&CpuSeconds::new(), &seconds(3.5)), seconds(3.5));
    }
}
