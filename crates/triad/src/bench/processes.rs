//! What the system says of the processes of local nodes: processor time, memory,
//! and what they wrote.

use std::fs;
use std::path::Path;
use std::time::Duration;

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
    fn files_are_counted_through_directories() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(directory.path().join("inner/b"), [0; 32]).unwrap();
        assert_eq!(data_bytes(directory.path()), 42);
        assert_eq!(data_bytes(&directory.path().join("none")), 0);
    }
}
