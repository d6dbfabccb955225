//! What is spent while a window is open: processor time of the nodes and of us,
//! memory, disk. Of nodes it is known where they are our own.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::local::{LocalCluster, LocalNode};

use super::figures::per;
use super::processes::{Usage, data_bytes, disk_written_bytes, rss_kib};
use super::report::{NodeFigures, Run};
use super::site::Site;

/// How long the nodes may take to agree on a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// The nodes, where they are our own.
pub struct Watched<'a> {
    cluster: Option<&'a LocalCluster>,
    leader: u64,
}

/// How it stood when the window opened.
pub struct Before<'a> {
    watched: Watched<'a>,
    usages: Vec<Usage>,
    own: Usage,
    disk: Option<u64>,
    at: Instant,
}

/// What was spent until it closed.
pub struct Spent {
    nodes: Vec<NodeFigures>,
    cpu: Duration,
    own: Usage,
    disk: Option<u64>,
}

impl Spent {
    /// Learns who leads, so that nothing has to be asked while a window is open.
    pub async fn prepare(site: &Site) -> Result<Watched<'_>, Failure> {
        let leader = match site.cluster() {
            Some(cluster) => cluster.leader(LEADER_TIMEOUT).await?.leader,
            None => 0,
        };
        Ok(Watched { cluster: site.cluster(), leader })
    }

    /// Adds it to a report, for each of so many cycles or beats.
    pub fn tell(&self, run: &mut Run, operations: u64) {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            node.written_bytes_per_cycle = per(node.written_bytes as f64, operations);
        }
        let each = |cpu: Duration| per(cpu.as_secs_f64() * 1e6, operations);
        run.server_cpu_us_per_cycle = each(self.cpu).filter(|_| !nodes.is_empty());
        run.client_cpu_us_per_cycle = each(self.own.cpu);
        run.disk_bytes_per_cycle = self.disk.and_then(|bytes| per(bytes as f64, operations));
        run.nodes = nodes;
    }
}

impl<'a> Watched<'a> {
    /// Looks at that time.
    pub async fn begin_at(self, time: Instant) -> Before<'a> {
        sleep_until(time).await;
        let usages = self.running().map(|(_, process)| Usage::of(process)).collect();
        let own = Usage::of(std::process::id());
        let disk = self.disk_written_bytes();
        Before { watched: self, usages, own, disk, at: Instant::now() }
    }

    fn disk_written_bytes(&self) -> Option<u64> {
        disk_written_bytes(self.cluster?.folder())
    }

    /// The nodes that run, with their processes.
    fn running(&self) -> impl Iterator<Item = (&'a LocalNode, u32)> + use<'a> {
        let nodes = self.cluster.map(|cluster| cluster.nodes.as_slice()).unwrap_or_default();
        nodes.iter().filter_map(|node| Some((node, node.process_id()?)))
    }
}

impl Before<'_> {
    /// Looks again.
    pub fn end(self) -> Spent {
        let seconds = self.at.elapsed().as_secs_f64();
        let own = Usage::of(std::process::id()).since(self.own);
        let disk = self.watched.disk_written_bytes().zip(self.disk);
        let disk = disk.map(|(after, before)| after.saturating_sub(before));
        let mut cpu = Duration::ZERO;
        let mut nodes = Vec::new();
        for ((node, process), before) in self.watched.running().zip(&self.usages) {
            let spent = Usage::of(process).since(*before);
            cpu += spent.cpu;
            nodes.push(NodeFigures {
                name: node.name.clone(),
                leader: node.id == self.watched.leader,
                cores: (spent.cpu.as_secs_f64() / seconds * 1e3).round() / 1e3,
                rss_kib: rss_kib(process),
                written_bytes: spent.written_bytes,
                written_bytes_per_cycle: None,
                data_bytes: data_bytes(&node.data),
            });
        }
        Spent { nodes, cpu, own, disk }
    }
}
