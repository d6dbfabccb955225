//! The leader's system calls, counted by strace: what no amount of other work on
//! the machine changes, and the proof that every answer waited for a disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::settings::Settings;

use super::site::Site;

const STRACE: &str = "strace";
/// How long strace may take to seize all threads, and to write its table.
const STRACE_TIMEOUT: Duration = Duration::from_secs(10);
/// The key of the sum.
const ALL: &str = "total";

/// A strace of the leader that is under way.
pub struct Strace {
    process: Child,
    table: PathBuf,
}

impl Strace {
    /// Begins to count. `None`, with a word to the user, where strace is not
    /// there or may not look.
    pub async fn begin(site: &Site, settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(cluster) = site.cluster() else { return Ok(None) };
        let leader = cluster.leader(STRACE_TIMEOUT).await?.leader;
        let node = cluster.nodes.iter().find(|node| node.id == leader);
        let Some(leader) = node.and_then(|node| node.process_id()) else { return Ok(None) };
        let table = cluster.folder().join("syscalls.txt");
        let started = Command::new(STRACE)
            .args(["-c", "-f", "-o"])
            .arg(&table)
            .args(["-p", &leader.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                settings.output.warn(&format!(
                    "no system calls are counted: {STRACE} cannot be started: {error}"
                ));
                return Ok(None);
            }
        };
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let said = timeout(STRACE_TIMEOUT, lines.next_line()).await;
        let said = said.ok().and_then(Result::ok).flatten().unwrap_or_default();
        if !said.contains("attached") {
            settings.output.warn(&format!("no system calls are counted: {STRACE}: {said}"));
            return Ok(None);
        }
        // It says one line for each thread, and must not wait to be heard.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Some(Strace { process, table }))
    }

    /// Ends it: how often each call was made for each of so many cycles.
    pub async fn end(mut self, cycles: u64) -> Result<BTreeMap<String, f64>, Failure> {
        let system = |what| move |source| Failure::System { what, source };
        let id = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            let sent = kill_process(id, Signal::INT);
            sent.map_err(|error| system("cannot end strace")(error.into()))?;
        }
        let ended = timeout(STRACE_TIMEOUT, self.process.wait()).await;
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        ended.unwrap_or(Err(late)).map_err(system("strace does not end"))?;
        let text = crate::settings::read_text(&self.table)?;
        Ok(per_cycle(&counts(&text), cycles))
    }
}

/// The calls and how often they were made, of the table of `strace -c`.
fn counts(table: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        // `% time, seconds, usecs/call, calls, [errors,] syscall`
        let (calls, name) = (cells.get(3)?.parse().ok()?, cells.last()?);
        (*name != ALL).then(|| ((*name).to_owned(), calls))
    };
    table.lines().filter_map(row).collect()
}

fn per_cycle(counts: &BTreeMap<String, u64>, cycles: u64) -> BTreeMap<String, f64> {
    let each = |count: u64| (count as f64 / cycles.max(1) as f64 * 1e3).round() / 1e3;
    let all = (ALL.to_owned(), each(counts.values().sum()));
    counts.iter().map(|(name, count)| (name.clone(), each(*count))).chain([all]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.54    0.001234          12       100        20 epoll_wait
 38.46    0.000771          15        50           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.002005                   150        20 total
";

    #[test]
    fn the_table_of_strace_is_understood() {
        let counts = counts(TABLE);
        let expected = [("epoll_wait".to_owned(), 100), ("fdatasync".to_owned(), 50)];
        assert_eq!(counts, BTreeMap::from(expected));
        let per_cycle = per_cycle(&counts, 200);
        assert_eq!(per_cycle["fdatasync"], 0.25);
        assert_eq!(per_cycle["total"], 0.75);
    }
}
