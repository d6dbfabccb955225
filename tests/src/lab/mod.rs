//! A laboratory: a cluster whose nodes are hosts of their own, on a network that
//! can be cut, made lossy and healed. Linux and root only; see
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

mod network;
mod rules;
mod tool;
mod turn;

use std::ops::{Deref, DerefMut};

use tokio::runtime::{Handle, RuntimeFlavor};

pub use network::Host;
use network::Network;
use rules::Fate;
use turn::Turn;

use crate::cluster::{Cluster, Options, Site};
use crate::program;
use crate::skip::skip;

/// Three nodes on a network of their own. All of it is gone when this is
/// dropped; what a killed test left is removed by the next.
pub struct Lab {
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
        let mut lab = Lab::create(options).await?;
        lab.cluster.run().await;
        Some(lab)
    }

    /// Makes a cluster on a new network; no node runs yet.
    ///
    /// # Panics
    ///
    /// As [`Lab::start`].
    pub async fn create(options: Options) -> Option<Lab> {
        let flavor = Handle::current().runtime_flavor();
        assert_eq!(
            flavor,
            RuntimeFlavor::CurrentThread,
            "only this thread is on the lab's network"
        );
        // Built, if need be, while there is still a way out.
        program::triad();
        let built = match Network::probe() {
            Ok(()) => Turn::take().await.and_then(|turn| Ok((turn, Network::build()?))),
            Err(missing) => Err(missing),
        };
        let (turn, network) = built.map_err(|reason| skip(&reason)).ok()?;
        let site = Site { hosts: network.node_addresses(), wrappers: network.node_wrappers() };
        let cluster = Cluster::create_at(options, Some(site)).await;
        Some(Lab { cluster, network, _turn: turn })
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

    /// The network is whole again, and every cable is plugged in.
    pub fn heal(&mut self) {
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
