//! A laboratory: a cluster whose nodes are hosts of their own, on a network that
//! can be cut, made lossy or slow, and healed. Linux and root only; see
//! `docs/how-to/faults.md`.
//!
//! ```text
//!   clients (this test)   a    b    c      each a network namespace,
//!          │              │    │    │      each with one veth cable
//!          └──────────── bridge ───┘       in a namespace of its own, with nftables
//! ```
//!
//! [`Lab`] is a [`Cluster`] with more verbs: whatever can be asked of a cluster
//! can be asked of it. The thread of the test stands in the clients' namespace,
//! so every socket that the test opens, and every `triad` that it runs, is on
//! that network. That needs a runtime of one thread, which is what
//! `#[tokio::test]` makes.

mod disk;
mod gear;
mod network;
mod rules;
mod switch;
mod tool;
mod turn;

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, RuntimeFlavor};

use disk::Disk;
pub use gear::{Gear, Syncs};
pub use network::Host;
use network::Network;
use rules::Fate;
pub use switch::Lag;
use switch::Switch;
use turn::Turn;

use crate::cluster::{Cluster, Options, Site};
use crate::program;
use crate::skip::skip;

/// The programs in C, by the names of their sources in `tests/lab`.
const POWER_CUT: &str = "power_cut";
const SICK_DISK: &str = "sick_disk";
const SWITCH: &str = "switch";

/// Three nodes on a network of their own. All of it is gone when this is
/// dropped; what a killed test left is removed by the next.
pub struct Lab {
    /// The first to go, before the folder in which they are.
    disks: Vec<Disk>,
    switch: Option<Switch>,
    cluster: Cluster,
    network: Network,
    // The last to go: then nothing of this lab is left.
    _turn: Turn,
}

impl Lab {
    /// Makes a cluster on a new network, starts it, and puts its license in
    /// force. `None`, having said why, where this machine does not allow it.
    ///
    /// # Panics
    ///
    /// If it could be made and does not work, or on a runtime with several
    /// threads.
    pub async fn start(options: Options) -> Option<Lab> {
        Lab::start_with(options, &[]).await
    }

    /// The same with more equipment.
    ///
    /// # Panics
    ///
    /// As [`Lab::start`].
    pub async fn start_with(options: Options, gear: &[Gear]) -> Option<Lab> {
        let flavor = Handle::current().runtime_flavor();
        assert_eq!(
            flavor,
            RuntimeFlavor::CurrentThread,
            "only this thread is on the lab's network"
        );
        // Built, if need be, while there is still a way out.
        program::triad();
        let mut lab = Lab::create(options, gear).await.map_err(|reason| skip(&reason)).ok()?;
        lab.cluster.run().await;
        Some(lab)
    }

    async fn create(options: Options, gear: &[Gear]) -> Result<Lab, String> {
        Network::probe()?;
        let turn = Turn::take().await?;
        disk::sweep();
        let network = Network::build()?;
        let site = Site { hosts: network.node_addresses(), wrappers: network.node_wrappers() };
        let cluster = Cluster::create_at(options, Some(site)).await;
        let mut lab = Lab { disks: Vec::new(), switch: None, cluster, network, _turn: turn };
        for gear in gear {
            lab.equip(*gear)?;
        }
        Ok(lab)
    }

    fn equip(&mut self, gear: Gear) -> Result<(), String> {
        let folder = self.cluster.folder();
        match gear {
            Gear::Disks { mib } => {
                gear::build(&folder, POWER_CUT, false)?;
                for node in &self.cluster.nodes {
                    let disk = Disk::make(&node.directory, mib)?;
                    gear::move_data(node, disk.mount_point());
                    self.disks.push(disk);
                }
            }
            Gear::Clocks => {
                for node in &mut self.cluster.nodes {
                    gear::give_clock(node)?;
                }
            }
            Gear::SickDisks => {
                let library = gear::build(&folder, SICK_DISK, true)?;
                for node in &mut self.cluster.nodes {
                    gear::give_sick_disk(node, &library);
                }
            }
            Gear::Switch => {
                let program = gear::build(&folder, SWITCH, false)?;
                self.switch = Some(Switch::start(&program, &self.network)?);
            }
        }
        Ok(())
    }

    // The network between the hosts.

    /// Node `n` and the two other nodes hear nothing of each other. Clients
    /// reach all three.
    pub fn partition(&mut self, n: usize) {
        for other in self.cluster.others(n) {
            self.separate(Host::Node(n), Host::Node(other));
        }
    }

    /// Nobody hears anything of node `n`, and it of nobody: the other nodes and
    /// the clients alike.
    pub fn isolate(&mut self, n: usize) {
        self.partition(n);
        self.separate(Host::Node(n), Host::Clients);
    }

    /// Two hosts hear nothing of each other.
    pub fn separate(&mut self, one: Host, other: Host) {
        self.network.change(|rules| {
            rules.set(one, other, Fate::Drop);
            rules.set(other, one, Fate::Drop);
        });
    }

    /// What `from` sends does not arrive at `to`; the other way all is well.
    pub fn silence(&mut self, from: Host, to: Host) {
        self.network.change(|rules| rules.set(from, to, Fate::Drop));
    }

    /// So many of a hundred packets are lost, between all hosts, both ways.
    pub fn lose(&mut self, percent: u8) {
        self.network.change(|rules| {
            for from in Host::ALL {
                for to in Host::ALL.into_iter().filter(|to| *to != from) {
                    rules.set(from, to, Fate::Lose { percent });
                }
            }
        });
    }

    /// What one host sends to another is on its way as said, from now on. Needs
    /// `Gear::Switch`.
    pub fn lag(&mut self, from: Host, to: Host, lag: Lag) {
        self.switch.as_mut().expect("the lab has a switch").set(from, to, lag);
    }

    /// The same between all nodes, both ways.
    pub fn lag_nodes(&mut self, lag: Lag) {
        for n in 0..self.cluster.nodes.len() {
            for other in self.cluster.others(n) {
                self.lag(Host::Node(n), Host::Node(other), lag);
            }
        }
    }

    /// The network is whole again, and every cable is plugged in.
    pub fn heal(&mut self) {
        if let Some(switch) = &mut self.switch {
            for from in Host::ALL {
                for to in Host::ALL.into_iter().filter(|to| *to != from) {
                    switch.set(from, to, Lag::default());
                }
            }
        }
        self.network.change(|rules| rules.clear());
        for host in Host::ALL {
            self.network.plug(host, true);
        }
    }

    /// Every TCP connection of node `n` is reset, on both sides. New ones are
    /// taken.
    pub fn reset(&self, n: usize) {
        self.network.reset_connections(Host::Node(n));
    }

    /// Pulls the cable of a host: its own network card knows of it, too.
    pub fn unplug(&self, host: Host) {
        self.network.plug(host, false);
    }

    // Disks. All of it needs `Gear::Disks`, but for what is done to the data of
    // a node that does not run.

    /// Cuts the power of these nodes at one moment: what they had not synced is
    /// lost, and they are gone.
    pub async fn cut_power(&mut self, nodes: &[usize]) {
        let disks: Vec<&Disk> = nodes.iter().map(|n| &self.disks[*n]).collect();
        disk::cut_power(&self.cluster.folder().join(POWER_CUT), &disks);
        for n in nodes {
            self.cluster.nodes[*n].kill9().await;
        }
    }

    /// Power is back, and the node starts from what had reached its disk.
    pub fn switch_on(&mut self, n: usize) {
        self.disks[n].remount();
        self.cluster.nodes[n].start();
    }

    /// So much is left on a node's disk, or less: with 0, not a byte.
    ///
    /// # Errors
    ///
    /// What else the disk says.
    pub fn fill_disk(&self, n: usize, left_mib: u64) -> io::Result<()> {
        self.disks[n].fill(left_mib)
    }

    /// There is room again.
    pub fn free_disk(&self, n: usize) {
        self.disks[n].empty();
    }

    /// A copy of the data of a node that does not run, as a backup would have it.
    pub fn back_up(&self, n: usize) -> PathBuf {
        let copy = self.cluster.nodes[n].directory.join("backup");
        std::fs::create_dir(&copy).expect("one backup is made");
        gear::copy(&self.cluster.nodes[n].data(), &copy);
        copy
    }

    /// The data of a node that does not run is gone.
    pub fn wipe(&self, n: usize) {
        gear::empty(&self.cluster.nodes[n].data());
    }

    /// The data of a node that does not run is what it was when the copy was made.
    pub fn roll_back(&self, n: usize, copy: &Path) {
        self.wipe(n);
        gear::copy(copy, &self.cluster.nodes[n].data());
    }

    /// How a node's disk syncs from now on. Needs `Gear::SickDisks`.
    pub fn syncs(&self, n: usize, syncs: Syncs) {
        gear::set_syncs(&self.cluster.nodes[n], syncs);
    }

    /// Sets a node's wall clock to the machine's and so many seconds; the node
    /// knows within a second. Needs `Gear::Clocks`.
    pub fn set_clock(&self, n: usize, offset_s: i64) {
        gear::set_clock(&self.cluster.nodes[n], offset_s);
    }
}

impl Deref for Lab {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}
