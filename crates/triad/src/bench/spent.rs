//! What the nodes spend while a window is open: processor time, memory, disk.
//! Known where the nodes are our own.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::local::{LocalCluster, LocalNode};

use super::figures::{per, rounded};
use super::processes::{Usage, data_bytes, rss_kib};
use super::report::{NodeFigures, Run};
use super::site::Site;

/// How long the nodes may take to agree on a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// The nodes when the window opened.
pub struct Before {
    leader: u64,
    usages: Vec<Usage>,
    at: Instant,
}

/// What they spent until it closed.
pub struct Spent {
    nodes: Vec<NodeFigures>,
    cpu_us: f64,
}

impl Spent {
    /// Looks at the nodes at that time; `None` where they are not our own.
    pub async fn begin_at(site: &Site, time: Instant) -> Result<Option<Before>, Failure> {
        let leader = match site.cluster() {
            Some(cluster) => cluster.leader(LEADER_TIMEOUT).await?.leader,
            None => 0,
        };
        sleep_until(time).await;
        let usage = |node: &LocalNode| Some(Usage::of(node.process_id()?));
        let begin = |cluster: &LocalCluster| Before {
            leader,
            usages: cluster.nodes.iter().filter_map(usage).collect(),
            at: Instant::now(),
        };
        Ok(site.cluster().map(begin))
    }

    /// Adds it to a report, for each of so many cycles or beats.
    pub fn tell(&self, run: &mut Run, operations: u64) {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            node.written_bytes_per_cycle = per(node.written_bytes as f64, operations);
        }
        run.server_cpu_us_per_cycle = per(self.cpu_us, operations);
        run.nodes = nodes;
    }
}

impl Before {
    /// Looks again.
    pub fn end(self, site: &Site) -> Spent {
        let seconds = self.at.elapsed().as_secs_f64();
        let mut cpu_us = 0.0;
        let mut nodes = Vec::new();
        let own = site.cluster().map(|cluster| cluster.nodes.as_slice()).unwrap_or_default();
        let running = own.iter().filter_map(|node| Some((node, node.process_id()?)));
        for ((node, process), before) in running.zip(&self.usages) {
            let spent = Usage::of(process).since(*before);
            cpu_us += spent.cpu.as_micros() as f64;
            nodes.push(NodeFigures {
                name: node.name.clone(),
                leader: node.id == self.leader,
                cores: (spent.cpu.as_secs_f64() / seconds * 1e3).round() / 1e3,
                rss_kib: rss_kib(process),
                written_bytes: spent.written_bytes,
                written_bytes_per_cycle: None,
                data_bytes: data_bytes(&node.data),
            });
        }
        Spent { nodes, cpu_us: rounded(cpu_us) }
    }
}
