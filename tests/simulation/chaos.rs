//! The faults: which happen in a run, when, and how each is mended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::auditor::{Blackboard, Replacement};
use crate::cluster::{CLIENTS_PORT, NODES, NodeState, PEERS_PORT};
use crate::figures::Figures;
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
    /// Something on the way forgets its connections, and lets new ones through.
    ForgottenApplication,
    /// All nodes at once, as when they share a host that is suspended.
    FreezeAll,
    /// Syncs of one node take up to seconds, or of two.
    SlowDisk,
    /// The next sync of one node fails, and what it was to keep is gone.
    SyncFails,
    /// Little gets through to one node, and from it.
    NarrowLinks,
    /// Two wall clocks at once: the date may be anything, and nothing else.
    TwoWallClocks,
    /// What was synced is altered on the disk of one node.
    Damage,
    /// The others believe that the leader is dead. It alone is reached by an
    /// application, which a moment later reaches nobody.
    StrandedApplication,
    /// The leader reaches no other node for longer than a lease, and applications
    /// reach it.
    StrandedLeader,
    /// An application is cut off, comes back for a moment, and is cut off again.
    BriefReturn,
    /// An application is cut off for less than a lease, and what it holds is
    /// taken back meanwhile.
    RevokedWhileAway,
}

/// For how long a leader believes what a clock showed.
const CLOCK_REMEMBERED: Duration = Duration::from_secs(6);

/// What breaks a promise today, and is known to: a client takes a refused port
/// for a dead process, and believes in its seats for longer than the leader,
/// which lives, keeps them. Only with `--known`.
const KNOWN: [Fault; 1] = [Fault::ClientPortRefuses];

/// What is known to break one, too: an application stands still while something resets its
/// connection to a leader that lives. It counts the grace from when it wakes, and the leader's
/// margin is half a second. So nobody is reset while he stands still, but with `--known`.
fn counts_too_late(site: &Site, application: MachineId, with_known: bool) -> bool {
    !with_known && site.world.machines[application.0].is_frozen()
}

const ALL: [Fault; 35] = [
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
    Fault::ForgottenApplication,
    Fault::FreezeAll,
    Fault::SlowDisk,
    Fault::SyncFails,
    Fault::NarrowLinks,
    Fault::TwoWallClocks,
    Fault::Damage,
    Fault::StrandedApplication,
    Fault::StrandedLeader,
    Fault::BriefReturn,
    Fault::RevokedWhileAway,
];

/// See the module.
pub struct Chaos {
    dice: StdRng,
    /// A run has some kinds of faults and not others: each kind alone finds what
    /// it would hide together with the rest.
    kinds: Vec<Fault>,
    with_known: bool,
    pause_max: Duration,
    next: Duration,
    /// What is to be done or undone, and when.
    pending: Vec<(Duration, Later)>,
    /// A node that was lost waits for this before another takes its place.
    replace_at: Option<Duration>,
    /// Until when each clock counts as wrong: what it showed is remembered.
    clocks_wrong_until: [Duration; NODES.len()],
    next_id: u64,
    figures: Figures,
    pub count: u64,
}

enum Later {
    Cut(Vec<(MachineId, MachineId)>),
    Reset(MachineId),
    Links(Vec<(MachineId, MachineId)>),
    Clock(usize),
    Disk(usize),
    SlowDisk(usize),
    Refusing(usize, u16),
    Application(usize),
}

impl Fault {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Fault> {
        ALL.into_iter().chain(KNOWN).find(|fault| format!("{fault:?}") == name)
    }
}

fn ms(dice: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(dice.random_range(from..to))
}

impl Chaos {
    /// The kinds are drawn, unless some are named.
    pub fn new(
        mut dice: StdRng,
        only: &[Fault],
        with_known: bool,
        calm: u32,
        figures: Figures,
    ) -> Self {
        let mut kinds = ALL.to_vec();
        kinds.shuffle(&mut dice);
        kinds.truncate(dice.random_range(3..12));
        if !only.is_empty() {
            kinds = only.to_vec();
        }
        if with_known {
            kinds.extend(KNOWN);
        }
        let pause_max = ms(&mut dice, 300, 4_000) * calm;
        Chaos {
            dice,
            kinds,
            with_known,
            pause_max,
            next: Duration::ZERO,
            pending: Vec::new(),
            replace_at: None,
            clocks_wrong_until: Default::default(),
            next_id: NODES.len() as u64 + 1,
            figures,
            count: 0,
        }
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
            if self.begin(site, fault, now, board) {
                self.count += 1;
                self.figures.count(&format!("faults.{fault:?}"));
            }
            self.next = now + self.dice.random_range(Duration::from_millis(50)..self.pause_max);
        }
    }

    /// Sooner or later a new node takes the place of one that was lost.
    pub fn replace_lost(&mut self, site: &mut Site, board: &Blackboard, soon: bool) {
        let now = site.world.now();
        let lost = site.nodes.iter().position(|node| node.state == NodeState::Lost);
        let Some(lost) = lost else { return };
        let wait = if soon { Duration::ZERO } else { ms(&mut self.dice, 500, 15_000) };
        let at = *self.replace_at.get_or_insert(now + wait);
        if now < at && !soon {
            return;
        }
        let mut wanted = board.replacement.lock().expect("no panic while held");
        if wanted.is_some() {
            return;
        }
        self.replace_at = None;
        let machine = site.nodes[lost].machine;
        if site.world.machines[machine.0].is_running() {
            site.world.power_off(machine);
        }
        let node = &mut site.nodes[lost];
        let (old_id, new_id) = (node.id, self.next_id);
        self.next_id += 1;
        node.renew(new_id);
        tracing::info!(old_id, new_id, "a new node takes the place of a lost one");
        *wanted = Some(Replacement { place: node.place, old_id, new_id });
        drop(wanted);
        site.start_node(lost);
    }

    /// Whether all nodes are there, and nobody takes another's place: one more may
    /// be lost for good.
    fn may_lose_one(site: &Site, board: &Blackboard) -> bool {
        let replacing = board.replacement.lock().expect("no panic while held").is_some();
        let lost = |node: &crate::cluster::Node| node.state == NodeState::Lost || node.is_damaged;
        !replacing && !site.nodes.iter().any(lost)
    }

    /// All is well again: what is pending is undone now, what is down started.
    pub fn heal(&mut self, site: &mut Site) {
        let now = site.world.now();
        site.world.network.heal();
        for (_, undo) in std::mem::take(&mut self.pending) {
            if !matches!(undo, Later::Cut(_) | Later::Reset(_)) {
                self.undo(site, undo);
            }
        }
        for node in &mut site.nodes {
            node.disk.keep_power();
            node.disk.fail_next_sync(false);
            node.disk.slow_down(Duration::ZERO);
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
            Later::Reset(machine) if counts_too_late(site, machine, self.with_known) => {}
            Later::Reset(machine) => site.world.network.reset(machine),
            Later::Links(links) => {
                for (from, to) in links {
                    site.world.network.link(from, to, |link| *link = Default::default());
                }
            }
            Later::Clock(node) => {
                site.nodes[node].clock.offset_ms.store(0, Ordering::Relaxed);
            }
            Later::Disk(node) => site.nodes[node].disk.fill(false),
            Later::SlowDisk(node) => site.nodes[node].disk.slow_down(Duration::ZERO),
            Later::Refusing(node, port) => {
                site.world.network.accept_again(site.nodes[node].machine, port);
            }
            Later::Application(index) => site.start_application(index),
        }
    }

    /// False if it could not be now.
    fn begin(
        &mut self,
        site: &mut Site,
        fault: Fault,
        now: Duration,
        board: &Arc<Blackboard>,
    ) -> bool {
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
                let loss_percent =
                    if fault == Fault::Lossy { self.dice.random_range(2..30) } else { 0 };
                self.spoil(site, links, loss_percent, u64::MAX, now);
            }
            Fault::NarrowLinks => {
                let links = site.around(site.nodes[node].machine, true);
                let bytes_per_ms = self.dice.random_range(1..20);
                self.spoil(site, links, 0, bytes_per_ms, now);
            }
            Fault::SlowApplication => {
                let links = site.around(site.applications[application], true);
                let lossy = self.dice.random();
                let loss_percent = if lossy { self.dice.random_range(2..30) } else { 0 };
                self.spoil(site, links, loss_percent, u64::MAX, now);
            }
            Fault::Kill => {
                if !site.is_up(node) {
                    return false;
                }
                site.world.kill(site.nodes[node].machine);
                site.nodes[node].state = NodeState::Down(now + ms(&mut self.dice, 1, 4_000));
            }
            Fault::PowerCut => return self.cut_power(site, node, now),
            Fault::PowerCutAll => {
                for node in 0..site.nodes.len() {
                    self.cut_power(site, node, now);
                }
            }
            Fault::Freeze => {
                let until = now + ms(&mut self.dice, 50, 7_000);
                site.world.machine(site.nodes[node].machine).freeze(until);
            }
            Fault::WallClock => return self.turn_clock(site, node, now, 0),
            Fault::TwoWallClocks => return self.turn_clock(site, node, now, 1),
            Fault::Transfer => board.transfer.store(true, Ordering::Relaxed),
            Fault::PlannedStop => {
                let Some(stop) = site.nodes[node].stop.take().filter(|_| site.is_up(node)) else {
                    return false;
                };
                let _ = stop.send(());
            }
            Fault::DiskFull => {
                site.nodes[node].disk.fill(true);
                self.pending.push((now + ms(&mut self.dice, 500, 6_000), Later::Disk(node)));
            }
            Fault::SlowDisk => {
                let both: bool = self.dice.random();
                for node in
                    [node, (node + 1) % site.nodes.len()].into_iter().take(1 + usize::from(both))
                {
                    let longest =
                        *[30, 300, 2_500, 8_000].choose(&mut self.dice).expect("there are some");
                    site.nodes[node].disk.slow_down(ms(&mut self.dice, 5, longest));
                    let later = now + ms(&mut self.dice, 500, 9_000);
                    self.pending.push((later, Later::SlowDisk(node)));
                }
            }
            Fault::SyncFails => site.nodes[node].disk.fail_next_sync(true),
            Fault::Damage => return self.damage(site, node, now, board),
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
            Fault::Wipe => return self.wipe(site, node, now, board),
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
                if self.dice.random() {
                    self.pending.push((later, Later::Reset(site.applications[application])));
                }
                self.pending.push((later, Later::Cut(links)));
            }
            Fault::StrandedApplication => {
                let Some(leader) = site.leader().filter(|leader| site.is_up(*leader)) else {
                    return false;
                };
                let leader = (leader, site.nodes[leader].machine);
                let links = site.around(site.applications[application], true);
                let to_others = links.iter().filter(|(a, b)| ![*a, *b].contains(&leader.1));
                for (from, to) in to_others {
                    site.world.network.link(*from, *to, |link| link.is_cut = true);
                }
                site.world.network.refuse(leader.1, PEERS_PORT, true);
                let later = now + ms(&mut self.dice, 20, 3_000);
                self.pending.push((later, Later::Refusing(leader.0, PEERS_PORT)));
                self.pending.push((now + ms(&mut self.dice, 20, 700), Later::Cut(links)));
            }
            Fault::ResetApplication => {
                if counts_too_late(site, site.applications[application], self.with_known) {
                    return false;
                }
                site.world.network.reset(site.applications[application]);
                if self.dice.random_range(0..4) > 0 {
                    let links = site.around(site.applications[application], true);
                    self.cut(site, links, now);
                }
            }
            Fault::ForgottenApplication => {
                site.world.network.forget(site.applications[application]);
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
            Fault::StrandedLeader => {
                let Some(leader) = site.leader().filter(|leader| site.is_up(*leader)) else {
                    return false;
                };
                let links = site.around(site.nodes[leader].machine, false);
                self.cut_for(site, links, now, 3_000, 9_000);
            }
            Fault::BriefReturn => {
                let links = site.around(site.applications[application], true);
                let back = self.cut_for(site, links.clone(), now, 800, 2_600);
                if self.dice.random() {
                    self.pending.push((back, Later::Reset(site.applications[application])));
                }
                let again = back + ms(&mut self.dice, 30, 600);
                self.pending.push((again, Later::Cut(links)));
            }
            Fault::RevokedWhileAway => {
                let links = site.around(site.applications[application], true);
                let back = self.cut_for(site, links, now, 500, 2_400);
                self.pending.push((back, Later::Reset(site.applications[application])));
                *board.away.lock().expect("no panic while held") = Some(application);
            }
        }
        true
    }

    fn cut(&mut self, site: &Site, links: Vec<(MachineId, MachineId)>, now: Duration) {
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| link.is_cut = true);
        }
        // Some last for longer than two leases and what a new leader adds to one.
        let longest = if self.dice.random_range(0..4) == 0 { 14_000 } else { 6_000 };
        self.pending.push((now + ms(&mut self.dice, 50, longest), Later::Links(links)));
    }

    /// Until when: so many milliseconds, drawn.
    fn cut_for(
        &mut self,
        site: &Site,
        links: Vec<(MachineId, MachineId)>,
        now: Duration,
        from_ms: u64,
        to_ms: u64,
    ) -> Duration {
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| link.is_cut = true);
        }
        let until = now + ms(&mut self.dice, from_ms, to_ms);
        self.pending.push((until, Later::Links(links)));
        until
    }

    fn spoil(
        &mut self,
        site: &Site,
        links: Vec<(MachineId, MachineId)>,
        loss_percent: u32,
        bytes_per_ms: u64,
        now: Duration,
    ) {
        let latency_max = ms(&mut self.dice, 5, 400);
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| {
                let is_cut = link.is_cut;
                let bytes_per_ms = bytes_per_ms.min(Link::default().bytes_per_ms);
                *link = Link { latency_max, loss_percent, bytes_per_ms, is_cut, ..Link::default() };
            });
        }
        self.pending.push((now + ms(&mut self.dice, 200, 8_000), Later::Links(links)));
    }

    /// At once, or in the middle of what the disk does next.
    fn cut_power(&mut self, site: &mut Site, node: usize, now: Duration) -> bool {
        let down = NodeState::Down(now + ms(&mut self.dice, 100, 5_000));
        if !site.is_up(node) {
            return false;
        }
        if self.dice.random() {
            site.power_off(node, down);
            return true;
        }
        let operations = self.dice.random_range(0..40);
        let (network, machine) = (site.world.network.clone(), site.nodes[node].machine);
        // From the moment of the cut on it sends nothing.
        let then = move || network.set_power(machine, false);
        site.nodes[node].disk.cut_after(operations, then);
        true
    }

    /// Turns a clock while so many others are wrong.
    fn turn_clock(&mut self, site: &Site, node: usize, now: Duration, wrong_max: usize) -> bool {
        let wrong = self.clocks_wrong_until.iter().filter(|until| now < **until).count();
        if wrong > wrong_max || now < self.clocks_wrong_until[node] {
            return false;
        }
        if wrong > 0 {
            site.lose_date();
        }
        const HOUR_MS: i64 = 3_600_000;
        let by = [-HOUR_MS, HOUR_MS, 24 * HOUR_MS, 87_600 * HOUR_MS, -2_000];
        let by = *by.choose(&mut self.dice).expect("there are some");
        site.nodes[node].clock.offset_ms.store(by, Ordering::Relaxed);
        let until = now + ms(&mut self.dice, 1_000, 20_000);
        self.clocks_wrong_until[node] = until + CLOCK_REMEMBERED;
        self.pending.push((until, Later::Clock(node)));
        true
    }

    /// Only one node of three may be lost at a time.
    fn wipe(&mut self, site: &mut Site, node: usize, now: Duration, board: &Blackboard) -> bool {
        if !Self::may_lose_one(site, board) || !site.is_up(node) {
            return false;
        }
        site.power_off(node, NodeState::Down(now));
        site.nodes[node].disk.wipe();
        site.nodes[node].state = NodeState::Lost;
        // It is started once, to see that it refuses.
        site.start_node(node);
        true
    }

    /// Its power goes, and what it had synced is not what it finds.
    fn damage(&mut self, site: &mut Site, node: usize, now: Duration, board: &Blackboard) -> bool {
        if !Self::may_lose_one(site, board) || !site.is_up(node) {
            return false;
        }
        site.power_off(node, NodeState::Down(now + ms(&mut self.dice, 1, 2_000)));
        let Some((path, at)) = site.nodes[node].disk.corrupt(&mut self.dice) else { return false };
        tracing::info!(node = node + 1, path = %path.display(), at, "damaged");
        site.nodes[node].is_damaged = true;
        true
    }
}
