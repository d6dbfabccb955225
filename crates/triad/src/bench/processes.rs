//! What the system says of the processes of local nodes: processor time, memory,
//! and what they wrote.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// The unit of the system's figures, whatever the disk's own.
const SECTOR_BYTES: u64 = 512;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// What it caused to be written to the device.
    pub written_bytes: u64,
}

impl Usage {
    /// Of the process with this id; nothing where the system does not tell.
    pub fn of(process: u32) -> Self {
        Usage { cpu: cpu(process), written_bytes: written_bytes(process) }
    }

    /// Since an earlier look.
    pub fn since(self, before: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(before.cpu),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks; user and system time are the
    // 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

fn written_bytes(process: u32) -> u64 {
    field(&format!("/proc/{process}/io"), "write_bytes:")
}

/// Its memory that is resident.
pub fn rss_kib(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmRSS:")
}

/// The number behind a word at the beginning of a line.
fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What the disk that holds `path` has written since the system started, for
/// everybody; `None` where the system does not tell.
pub fn disk_written_bytes(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let major = device >> 8 & 0xfff | device >> 32 & !0xfff;
    let minor = device & 0xff | device >> 12 & !0xff;
    sectors_written(&fs::read_to_string("/proc/diskstats").ok()?, major, minor)
        .map(|sectors| sectors * SECTOR_BYTES)
}

fn sectors_written(stats: &str, major: u64, minor: u64) -> Option<u64> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let own = words.next()?.parse() == Ok(major) && words.next()?.parse() == Ok(minor);
        // The name, seven figures of reads and writes, and then this.
        if own { words.nth(7)?.parse().ok() } else { None }
    };
    stats.lines().find_map(row)
}

/// The bytes of all files below a directory, as long as they are.
pub fn data_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => data_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_time() {
        let own = std::process::id();
        assert!(rss_kib(own) > 1_000);
        let before = Usage::of(own);
        let mut sum = 0_u64;
        // Some ticks of 10 ms each.
        while Usage::of(own).since(before).cpu < Duration::from_millis(30) {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert_eq!(Usage::of(u32::MAX).cpu, Duration::ZERO);
    }

    #[test]
    fn the_disk_is_found_by_its_numbers() {
        let stats = "\
   7       0 loop0 11 0 12 13 14 15 16 17 0 18 19
 254       0 vda 21 22 23 24 25 26 2048 28 0 29 30
 254       1 vda1 1 1 1 1 1 1 7 1 0 1 1
";
        assert_eq!(sectors_written(stats, 254, 0), Some(2_048));
        assert_eq!(sectors_written(stats, 254, 1), Some(7));
        assert_eq!(sectors_written(stats, 254, 2), None);
    }

    #[test]
    fn files_are_counted_through_directories() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(directory.path().join("inner/b"), [0; 32]).unwrap();
        assert_eq!(data_bytes(directory.path()), 42);
        assert_eq!(data_bytes(&directory.path().join("none")), 0);
    }
}
