//! What a node's process uses, as the system tells it.

use std::fs;

/// Memory and open files of one process.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// Memory in use, KiB.
    pub resident_kib: u64,
    /// The most that ever was, KiB.
    pub peak_kib: u64,
    /// Open files, sockets among them.
    pub files: usize,
}

impl Uses {
    /// Of the process with this id.
    pub fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let kib = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Uses { resident_kib: kib("VmRSS:"), peak_kib: kib("VmHWM:"), files }
    }
}
