//! The faults: which happen in a run, when, and how each is mended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::auditor::Blackboard;
use crate::cluster::{CLIENTS_PORT, NodeState, PEERS_PORT};
use crate::run::Site;
use crate::world::MachineId;
use crate::world::network::Link;

/// Everything that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One node and everybody else.
    Isolate,
    /// One node and the other nodes; clients still reach it.
    IsolateFromPeers,
    /// Two nodes do not reach each other, and both reach the third.
    Bridge,
    /// One direction between a node and all others.
    OneWay,
    /// One direction between two nodes.
    OneWayPair,
    Slow,
    Lossy,
    Kill,
    PowerCut,
    PowerCutAll,
    Freeze,
    WallClock,
    Transfer,
    PlannedStop,
    DiskFull,
    /// The leader lives, and its port for peers resets and refuses.
    FalseAlarm,
    /// The leader lives, and its port for clients resets and refuses.
    ClientPortRefuses,
    Wipe,
    KillApplication,
    ApplicationVanishes,
    FreezeApplication,
    CutApplication,
    SlowApplication,
    /// Its connections are slow, and then nothing gets through.
    SlowThenCutApplication,
    /// Its connections are reset, and mostly nothing gets through after that.
    ResetApplication,
    /// All nodes at once, as when they share a host that is suspended.
    FreezeAll,
}

/// What breaks a promise today, and is known to: a client takes a refused port
/// for a dead process, and believes in its seats for longer than the leader,
/// which lives, keeps them. Only with `--known`.
const KNOWN: [Fault; 1] = [Fault::ClientPortRefuses];

const ALL: [Fault; 25] = [
    Fault::Isolate,
    Fault::IsolateFromPeers,
    Fault::Bridge,
    Fault::OneWay,
    Fault::OneWayPair,
    Fault::Slow,
    Fault::Lossy,
    Fault::Kill,
    Fault::PowerCut,
    Fault::PowerCutAll,
    Fault::Freeze,
    Fault::WallClock,
    Fault::Transfer,
    Fault::PlannedStop,
    Fault::DiskFull,
    Fault::FalseAlarm,
    Fault::Wipe,
    Fault::KillApplication,
    Fault::ApplicationVanishes,
    Fault::FreezeApplication,
    Fault::CutApplication,
    Fault::SlowApplication,
    Fault::SlowThenCutApplication,
    Fault::ResetApplication,
    Fault::FreezeAll,
];

/// See the module.
pub struct Chaos {
    dice: StdRng,
    /// A run has some kinds of faults and not others: each kind alone finds what
    /// it would hide together with the rest.
    kinds: Vec<Fault>,
    pause_max: Duration,
    next: Duration,
    /// What is to be done or undone, and when.
    pending: Vec<(Duration, Later)>,
    pub count: u64,
}

enum Later {
    Cut(Vec<(MachineId, MachineId)>),
    Links(Vec<(MachineId, MachineId)>),
    Clock(usize),
    Disk(usize),
    Refusing(usize, u16),
    Application(usize),
}

fn ms(dice: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(dice.random_range(from..to))
}

impl Chaos {
    pub fn new(mut dice: StdRng, with_known: bool) -> Self {
        let mut kinds = ALL.to_vec();
        kinds.shuffle(&mut dice);
        kinds.truncate(dice.random_range(3..12));
        if with_known {
            kinds.extend(KNOWN);
        }
        let pause_max = ms(&mut dice, 300, 4_000);
        Chaos { dice, kinds, pause_max, next: Duration::ZERO, pending: Vec::new(), count: 0 }
    }

    pub fn kinds(&self) -> &[Fault] {
        &self.kinds
    }

    /// Begins and ends what is due.
    pub fn tick(&mut self, site: &mut Site, board: &Arc<Blackboard>) {
        let now = site.world.now();
        let (due, later) =
            std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = later;
        let due: Vec<(Duration, Later)> = due;
        for (_, undo) in due {
            self.undo(site, undo);
        }
        if now >= self.next {
            let fault = *self.kinds.choose(&mut self.dice).expect("there are some");
            self.begin(site, fault, now, board);
            self.next = now + self.dice.random_range(Duration::from_millis(50)..self.pause_max);
        }
    }

    /// All is well again: what is pending is undone now, what is down started.
    pub fn heal(&mut self, site: &mut Site) {
        let now = site.world.now();
        site.world.network.heal();
        for (_, undo) in std::mem::take(&mut self.pending) {
            if !matches!(undo, Later::Cut(_)) {
                self.undo(site, undo);
            }
        }
        for node in &mut site.nodes {
            node.disk.keep_power();
            if let NodeState::Down(until) = &mut node.state {
                *until = now;
            }
        }
        for machine in &mut site.world.machines {
            if machine.is_frozen() {
                machine.freeze(now);
            }
        }
    }

    fn undo(&mut self, site: &mut Site, undo: Later) {
        match undo {
            Later::Cut(links) => self.cut(site, links, site.world.now()),
            Later::Links(links) => {
                for (from, to) in links {
                    site.world.network.link(from, to, |link| *link = Default::default());
                }
            }
            Later::Clock(node) => {
                site.nodes[node].clock.offset_ms.store(0, Ordering::Relaxed);
            }
            Later::Disk(node) => site.nodes[node].disk.fill(false),
            Later::Refusing(node, port) => {
                site.world.network.accept_again(site.nodes[node].machine, port);
            }
            Later::Application(index) => site.start_application(index),
        }
    }

    fn begin(&mut self, site: &mut Site, fault: Fault, now: Duration, board: &Arc<Blackboard>) {
        self.count += 1;
        let node = self.dice.random_range(0..site.nodes.len());
        let application = self.dice.random_range(0..site.applications.len());
        tracing::info!(?fault, node = node + 1, application, "fault");
        match fault {
            Fault::Isolate => {
                let links = site.around(site.nodes[node].machine, true);
                self.cut(site, links, now);
            }
            Fault::IsolateFromPeers => {
                let links = site.around(site.nodes[node].machine, false);
                self.cut(site, links, now);
            }
            Fault::Bridge => {
                let other = (node + 1) % site.nodes.len();
                let (a, b) = (site.nodes[node].machine, site.nodes[other].machine);
                self.cut(site, vec![(a, b), (b, a)], now);
            }
            Fault::OneWay => {
                let own = site.nodes[node].machine;
                let outward: bool = self.dice.random();
                let mut links = site.around(own, true);
                links.retain(|(from, _)| (*from == own) == outward);
                self.cut(site, links, now);
            }
            Fault::OneWayPair => {
                let other = (node + 1 + self.dice.random_range(0..2)) % site.nodes.len();
                let links = vec![(site.nodes[node].machine, site.nodes[other].machine)];
                self.cut(site, links, now);
            }
            Fault::Slow | Fault::Lossy => {
                let links = site.around(site.nodes[node].machine, true);
                self.spoil(site, links, fault == Fault::Lossy, now);
            }
            Fault::SlowApplication => {
                let links = site.around(site.applications[application], true);
                let lossy = self.dice.random();
                self.spoil(site, links, lossy, now);
            }
            Fault::Kill => {
                if site.is_up(node) {
                    site.world.kill(site.nodes[node].machine);
                    site.nodes[node].state = NodeState::Down(now + ms(&mut self.dice, 1, 4_000));
                }
            }
            Fault::PowerCut => self.cut_power(site, node, now),
            Fault::PowerCutAll => {
                for node in 0..site.nodes.len() {
                    self.cut_power(site, node, now);
                }
            }
            Fault::Freeze => {
                let until = now + ms(&mut self.dice, 50, 7_000);
                site.world.machine(site.nodes[node].machine).freeze(until);
            }
            Fault::WallClock => self.turn_clock(site, node, now),
            Fault::Transfer => board.transfer.store(true, Ordering::Relaxed),
            Fault::PlannedStop => {
                if site.is_up(node)
                    && let Some(stop) = site.nodes[node].stop.take()
                {
                    let _ = stop.send(());
                }
            }
            Fault::DiskFull => {
                site.nodes[node].disk.fill(true);
                self.pending.push((now + ms(&mut self.dice, 500, 6_000), Later::Disk(node)));
            }
            Fault::FalseAlarm | Fault::ClientPortRefuses => {
                let for_peers = fault == Fault::FalseAlarm;
                let port = if for_peers { PEERS_PORT } else { CLIENTS_PORT };
                // Mostly the leader, since that is whom the alarm is about.
                let node = site.leader().unwrap_or(node);
                // Both ways, it reaches nobody either, and does not know yet.
                let both_ways = for_peers && self.dice.random();
                site.world.network.refuse(site.nodes[node].machine, port, both_ways);
                self.pending
                    .push((now + ms(&mut self.dice, 20, 3_000), Later::Refusing(node, port)));
            }
            Fault::Wipe => self.wipe(site, node, now),
            Fault::KillApplication | Fault::ApplicationVanishes => {
                let vanishes = fault == Fault::ApplicationVanishes;
                site.stop_application(application, vanishes);
                let back = now + ms(&mut self.dice, 10, 6_000);
                self.pending.push((back, Later::Application(application)));
            }
            Fault::FreezeApplication => {
                let until = now + ms(&mut self.dice, 50, 6_000);
                site.world.machine(site.applications[application]).freeze(until);
            }
            Fault::SlowThenCutApplication => {
                let links = site.around(site.applications[application], true);
                let slow = ms(&mut self.dice, 150, 400);
                for (from, to) in &links {
                    site.world.network.link(*from, *to, |link| {
                        (link.latency_min, link.latency_max) = (slow / 2, slow);
                    });
                }
                let later = now + ms(&mut self.dice, 1_000, 3_000);
                self.pending.push((later, Later::Cut(links)));
            }
            Fault::ResetApplication => {
                site.world.network.reset(site.applications[application]);
                if self.dice.random_range(0..4) > 0 {
                    let links = site.around(site.applications[application], true);
                    self.cut(site, links, now);
                }
            }
            Fault::FreezeAll => {
                let until = now + ms(&mut self.dice, 50, 5_000);
                for node in 0..site.nodes.len() {
                    site.world.machine(site.nodes[node].machine).freeze(until);
                }
            }
            Fault::CutApplication => {
                let links = site.around(site.applications[application], true);
                self.cut(site, links, now);
            }
        }
    }

    fn cut(&mut self, site: &Site, links: Vec<(MachineId, MachineId)>, now: Duration) {
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| link.is_cut = true);
        }
        // Some last for longer than two leases and what a new leader adds to one.
        let longest = if self.dice.random_range(0..4) == 0 { 14_000 } else { 6_000 };
        self.pending.push((now + ms(&mut self.dice, 50, longest), Later::Links(links)));
    }

    fn spoil(
        &mut self,
        site: &Site,
        links: Vec<(MachineId, MachineId)>,
        lossy: bool,
        now: Duration,
    ) {
        let latency_max = ms(&mut self.dice, 5, 400);
        let loss_percent = if lossy { self.dice.random_range(2..30) } else { 0 };
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| {
                *link = Link { latency_max, loss_percent, is_cut: link.is_cut, ..Link::default() };
            });
        }
        self.pending.push((now + ms(&mut self.dice, 200, 8_000), Later::Links(links)));
    }

    /// At once, or in the middle of what the disk does next.
    fn cut_power(&mut self, site: &mut Site, node: usize, now: Duration) {
        let down = NodeState::Down(now + ms(&mut self.dice, 100, 5_000));
        if !site.is_up(node) {
            return;
        }
        if self.dice.random() {
            site.power_off(node, down);
            return;
        }
        let operations = self.dice.random_range(0..40);
        let (network, machine) = (site.world.network.clone(), site.nodes[node].machine);
        // From the moment of the cut on it sends nothing.
        let then = move || network.set_power(machine, false);
        site.nodes[node].disk.cut_after(operations, then);
    }

    /// One wrong clock at a time: of more than that nobody can make sense.
    fn turn_clock(&mut self, site: &Site, node: usize, now: Duration) {
        let wrong = |node: &crate::cluster::Node| node.clock.offset_ms.load(Ordering::Relaxed) != 0;
        if site.nodes.iter().any(wrong) {
            return;
        }
        const HOUR_MS: i64 = 3_600_000;
        let by = [-HOUR_MS, HOUR_MS, 24 * HOUR_MS, 87_600 * HOUR_MS, -2_000];
        let by = *by.choose(&mut self.dice).expect("there are some");
        site.nodes[node].clock.offset_ms.store(by, Ordering::Relaxed);
        self.pending.push((now + ms(&mut self.dice, 1_000, 20_000), Later::Clock(node)));
    }

    /// Once in a run, since only one node of three may be lost.
    fn wipe(&mut self, site: &mut Site, node: usize, now: Duration) {
        if site.nodes.iter().any(|node| node.state == NodeState::Lost) || !site.is_up(node) {
            return;
        }
        site.power_off(node, NodeState::Down(now));
        site.nodes[node].disk.wipe();
        site.nodes[node].state = NodeState::Lost;
        site.start_node(node);
    }
}
