//! What work costs, read from `/proc`: processor time, memory and bytes written of the server under test, and of the PostgreSQL cluster behind it.
//!
//! A PostgreSQL cluster is the postmaster and its children. Children that end are counted at their parent, so nothing is missed when a connection closes. A
//! cluster on another machine is out of sight; its cost is then left out.

use std::{fs, io};

use super::{report::Cost, room::Room};

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Costs since a moment.
pub struct Meter {
    server: u32,
    cluster: Option<u32>,
    before: Reading,
}

/// Sums at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    cpu_us: u64,
    database_cpu_us: u64,
    written_bytes: u64,
    syncs: Option<u64>,
}

impl Meter {
    /// Begins to measure the process `server` on the room's database. `syncs` is how many commits it has made so far, where the room cannot say itself.
    pub async fn start(server: u32, room: &Room, syncs: Option<u64>) -> Self {
        // Peak memory starts anew from what is held now; a kernel that refuses leaves the peak of the process's whole life.
        let _ = fs::write(format!("/proc/{server}/clear_refs"), "5");
        let cluster = room.postmaster();
        Self { server, cluster, before: reading(server, cluster, room, syncs).await }
    }

    /// What `count` messages have cost each since the start.
    pub async fn stop(&self, room: &Room, syncs: Option<u64>, count: u64) -> Cost {
        let after = reading(self.server, self.cluster, room, syncs).await;
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / count.max(1) as f64;
        Cost {
            cpu_us: each(self.before.cpu_us, after.cpu_us),
            database_cpu_us: self.cluster.map(|_| each(self.before.database_cpu_us, after.database_cpu_us)),
            peak_mib: peak_mib(self.server),
            syncs: self.before.syncs.zip(after.syncs).map(|(before, after)| each(before, after)),
            written_bytes: each(self.before.written_bytes, after.written_bytes),
        }
    }
}

async fn reading(server: u32, cluster: Option<u32>, room: &Room, syncs: Option<u64>) -> Reading {
    let family: Vec<u32> = cluster.map(family).unwrap_or_default();
    let database_cpu: u64 = family.iter().map(|pid| cpu_us(*pid, true)).sum();
    let database_written: u64 = family.iter().map(|pid| written_bytes(*pid)).sum();
    Reading {
        cpu_us: cpu_us(server, false),
        database_cpu_us: database_cpu,
        written_bytes: written_bytes(server) + database_written,
        syncs: room.syncs().await.or(syncs),
    }
}

/// Processor time a process has used, in microseconds, to 10 ms; with `children`, also that of those that ended. 0 for a process that is gone.
fn cpu_us(pid: u32, children: bool) -> u64 {
    let Some(fields) = stat(pid) else { return 0 };
    // Counted from the state, which is field 3 in proc(5): utime is 14, stime 15, cutime 16, cstime 17.
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let own = ticks(14) + ticks(15);
    let ended = if children { ticks(16) + ticks(17) } else { 0 };
    (own + ended) * 1_000_000 / TICKS_PER_SECOND
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// The process above.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|one| *one == pid || parent(*one) == Some(pid)).collect()
}

/// Bytes a process caused to be written to a disk.
fn written_bytes(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "write_bytes:").unwrap_or(0)
}

/// Most memory a process held, in MiB.
fn peak_mib(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmHWM:").unwrap_or(0) as f64 / 1024.0
}

/// Memory a process holds, in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:").unwrap_or(0) as f64 / 1024.0
}

/// Threads of a process.
pub fn threads(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "Threads:").unwrap_or(0)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Our own process.
pub fn ourselves() -> u32 {
    std::process::id()
}

/// The sum of a Prometheus series over all its labels; `None` when it is not there.
pub fn series(text: &str, name: &str) -> Option<f64> {
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Commits of the SQLite writer, in a text of `/metrics`.
pub fn commits(text: &str) -> Option<u64> {
    series(text, "tidings_database_batch_jobs_count").map(|count| count as u64)
}

/// Reads a file of `/proc` of ours, to say early that this system has none.
pub fn check() -> io::Result<()> {
    fs::read_to_string("/proc/self/stat").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_over_labels() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\nb 1.5\n";
        assert_eq!(series(text, "a"), Some(5.0));
        assert_eq!(series(text, "b"), Some(1.5));
        assert_eq!(series(text, "c"), None);
    }

    #[test]
    fn we_can_read_ourselves() {
        check().unwrap();
        assert!(peak_mib(ourselves()) > 0.0);
        assert!(parent(ourselves()).is_some());
        assert!(family(ourselves()).contains(&ourselves()));
    }
}
