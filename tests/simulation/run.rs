//! One run: seed, cluster, chaos, healing, verdict.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use triad_server::config::SessionTimes;
use triad_tests::history::Recorder;

use crate::application::Application;
use crate::auditor::{Auditor, Blackboard};
use crate::chaos::{Chaos, Fault};
use crate::cluster::{LEASE_MIN, NODES, Node, NodeSettings, NodeState, lease};
use crate::desk::{Desk, Phase};
use crate::drills;
use crate::figures::Figures;
use crate::oracle::{BeatWatch, Oracle};
use crate::settings::Settings;
use crate::world::{Machine, MachineId, World};

pub const APPLICATIONS: usize = 5;
/// A license is to be in force after this.
const START_LIMIT: Duration = Duration::from_secs(10);
/// After healing: a leader, an answer for every application, equal ledgers.
const LEADER_LIMIT: Duration = Duration::from_secs(3);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const EQUAL_LIMIT: Duration = Duration::from_secs(10);
/// After the applications have returned everything, all seats are free: those
/// of the dead after the shortest lease, a new leader's allowance and the grace.
const FREE_LIMIT: Duration = Duration::from_secs(16);
/// Already before that, while the applications are still there, nothing is held
/// that no application knows of.
const LEAK_LIMIT: Duration = Duration::from_secs(6);
/// How long the answer to one who waited may be under way, and what he returns at once.
const RETURN_LIMIT: Duration = Duration::from_millis(500);
/// A node that stopped by itself is started again by its service manager.
const RESTART: Duration = Duration::from_millis(500);
/// Clocks differ by this at most: half of what the leader allows.
const DRIFT_MAX_PPM: i64 = 3_000;

/// Machines, nodes and applications.
pub struct Site {
    pub world: World,
    pub nodes: Vec<Node>,
    pub applications: Vec<MachineId>,
    auditor: MachineId,
    oracle: Arc<Oracle>,
    desk: Arc<Desk>,
    recorder: Arc<Recorder>,
    settings: NodeSettings,
}

impl Site {
    fn new(seed: u64, oracle: Arc<Oracle>, desk: Arc<Desk>) -> Self {
        let mut world = World::new(seed, desk.calm != 1);
        let nodes = NODES.iter().map(|id| Node::new(&mut world, *id)).collect();
        let application = |index| world.add(&format!("application-{index}"));
        let applications = (0..APPLICATIONS).map(application).collect();
        let auditor = world.add("auditor");
        for machine in &mut world.machines {
            machine.drift_ppm = world.dice.random_range(-DRIFT_MAX_PPM..=DRIFT_MAX_PPM);
        }
        let settings = NodeSettings::new(seed, desk.calm, world.dice.random_range(20..400));
        let clock = oracle.clone();
        let recorder = Recorder::new(move || clock.now());
        Site { world, nodes, applications, auditor, oracle, desk, recorder, settings }
    }

    pub fn start_node(&mut self, node: usize) {
        let machine = self.nodes[node].machine;
        self.world.power_on(machine);
        self.nodes[node].start(&mut self.world, &self.oracle, self.settings);
    }

    /// More wall clocks than one are wrong.
    pub fn lose_date(&self) {
        self.oracle.lose_date();
    }

    /// It is to run, and does.
    pub fn is_up(&self, node: usize) -> bool {
        let Node { state, machine, .. } = self.nodes[node];
        state == NodeState::Up && self.world.machines[machine.0].is_running()
    }

    /// The power of a node goes, and with it what its disk had not synced.
    pub fn power_off(&mut self, node: usize, then: NodeState) {
        self.world.power_off(self.nodes[node].machine);
        self.nodes[node].disk.lose_unsynced(&mut self.world.dice);
        self.nodes[node].state = then;
    }

    /// The links of a machine, in both directions; with or without those to
    /// machines that are no nodes.
    pub fn around(&self, machine: MachineId, all: bool) -> Vec<(MachineId, MachineId)> {
        let is_node = |id: &MachineId| self.nodes.iter().any(|node| node.machine == *id);
        let others = self.world.machines.iter().map(|machine| machine.id);
        let others = others.filter(|other| *other != machine && (all || is_node(other)));
        others.flat_map(|other| [(machine, other), (other, machine)]).collect()
    }

    /// The node that applied an entry of the newest term, if it is plain.
    pub fn leader(&self) -> Option<usize> {
        let leader = self.oracle.leader()?;
        self.nodes.iter().position(|node| node.id == leader)
    }

    pub fn start_application(&mut self, index: usize) {
        let id = self.applications[index];
        self.world.power_on(id);
        if self.world.machine(id).is_running() {
            return;
        }
        let (seed, runtime_seed) = (self.world.dice.random(), self.world.dice.random());
        let (network, desk) = (self.world.network.of(id), self.desk.clone());
        let (oracle, next) = (self.oracle.clone(), self.recorder.clone());
        let witness = Arc::new(BeatWatch { application: index, oracle, next });
        let application = Application { index, seed, network, desk, witness };
        self.world.machine(id).start(runtime_seed, application.live());
    }

    pub fn stop_application(&mut self, index: usize, vanishes: bool) {
        let id = self.applications[index];
        match vanishes {
            true => self.world.power_off(id),
            false => self.world.kill(id),
        }
        self.desk.gone(index);
    }

    /// Starts what is to run and does not.
    fn tend(&mut self) {
        let now = self.world.now();
        for node in 0..self.nodes.len() {
            if self.nodes[node].disk.goes_on() {
                let id = self.nodes[node].id;
                self.oracle.violated(format!("P2: node {id} goes on after a sync has failed"));
            }
            if self.nodes[node].disk.is_off() {
                let until = now + self.world.dice.random_range(RESTART..RESTART * 8);
                self.power_off(node, NodeState::Down(until));
            }
            let is_running = self.world.machine(self.nodes[node].machine).is_running();
            match self.nodes[node].state {
                NodeState::Up if !is_running && self.nodes[node].has_refused() => {
                    if !self.nodes[node].is_damaged {
                        self.oracle.violated(format!(
                            "P8: node {} refuses what nobody has altered",
                            self.nodes[node].id
                        ));
                    }
                    self.desk.figures.count("nodes.refused_damage");
                    self.nodes[node].state = NodeState::Lost;
                }
                NodeState::Up if !is_running => {
                    self.nodes[node].state = NodeState::Down(now + RESTART);
                }
                NodeState::Down(until) if now >= until => {
                    self.nodes[node].state = NodeState::Up;
                    self.start_node(node);
                }
                _ => {}
            }
        }
    }

    /// Who holds seats, if anybody does.
    pub fn holder(&self) -> Option<usize> {
        (0..self.applications.len()).find(|application| self.holds(*application))
    }

    /// Whether the application holds seats that are not lent.
    pub fn holds(&self, application: usize) -> bool {
        self.oracle.checkout_of(application).is_some()
    }

    pub fn is_suspected(&self, application: usize) -> bool {
        self.oracle.is_suspected(application)
    }

    pub fn newest_term(&self) -> u64 {
        self.oracle.newest_term()
    }

    pub fn newest_term_begins(&self) -> u64 {
        self.oracle.newest_term_begins()
    }

    pub fn applied_by(&self, node: u64) -> u64 {
        self.oracle.applied_by(node)
    }

    /// How sessions are kept.
    pub fn sessions(&self) -> SessionTimes {
        self.settings.sessions
    }

    /// A checkout that its application has given up for lost, and that nobody took back.
    pub fn lost_for_nothing(&self) -> Option<(usize, u64)> {
        let lost = (0..self.applications.len()).flat_map(|application| {
            let _clock = self.world.machines[self.applications[application].0].enter();
            self.desk.lost(application).into_iter().map(move |checkout| (application, checkout))
        });
        let mut lost = lost.filter(|(_, checkout)| !self.oracle.taken_back(*checkout));
        lost.next()
    }

    /// An application does nothing but keep what it has, or everybody does as he likes.
    pub fn hold_still(&self, application: Option<usize>) {
        self.desk.hold_still(application);
    }

    /// Whether the application has seats in its hands.
    pub fn has_in_hand(&self, application: usize) -> bool {
        self.desk.has_in_hand(application)
    }

    pub fn violated(&self, what: String) {
        self.oracle.violated(what);
    }

    /// Something is wrong, and the run ends.
    pub fn is_over(&self) -> bool {
        self.oracle.first_violation().is_some()
    }

    pub fn count(&self, name: &str) {
        self.desk.figures.count(name);
    }

    /// How far the run has come.
    pub fn stand(&self, phase: Phase) {
        self.desk.set(phase, self.world.now());
    }

    pub fn step(&mut self, board: &Blackboard) {
        let now = self.world.now();
        self.oracle.set_now(now);
        board.now_ms.store(now.as_millis() as u64, Ordering::Relaxed);
        for node in &self.nodes {
            node.clock.set_world(now);
        }
        self.world.step();
        self.tend();
        let machine = |(index, id): (usize, &MachineId)| (index, &self.world.machines[id.0]);
        let applications: Vec<(usize, &Machine)> =
            self.applications.iter().enumerate().map(machine).collect();
        self.oracle.compare(&self.desk, &applications);
    }

    fn standing_nodes(&self) -> Vec<u64> {
        let standing = self.nodes.iter().filter(|node| node.state != NodeState::Lost);
        standing.map(|node| node.id).collect()
    }
}

/// Runs the seed, prints what became of it.
pub fn run(settings: &Settings) -> ExitCode {
    let seed = settings.from;
    if let Some(bug) = &settings.bug
        && let Err(message) = crate::seeded_bugs::put_in(bug)
    {
        eprintln!("{message}");
        return ExitCode::from(2);
    }
    let mut only = Vec::new();
    for name in &settings.only {
        let Some(fault) = Fault::named(name) else {
            eprintln!("no fault is called {name}");
            return ExitCode::from(2);
        };
        only.push(fault);
    }
    if let Some(log) = &settings.log {
        crate::settings::log_to_stderr(log);
    }
    let figures = Figures::default();
    let oracle = Oracle::new(figures.clone());
    let panicked = oracle.clone();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        panicked.panicked(&panic.to_string());
    }));
    let desk = Desk::new(figures.clone(), settings.calm, lease(seed) - LEASE_MIN);
    let mut site = Site::new(seed, oracle.clone(), desk.clone());
    let dice = StdRng::seed_from_u64(site.world.dice.random());
    let mut chaos = Chaos::new(dice, &only, settings.known, settings.calm, figures.clone());
    live(&mut site, &mut chaos, seed, settings.chaos);
    if oracle.first_violation().is_none() {
        oracle.check_history(&site.recorder);
    }
    if oracle.first_violation().is_none() && figures.of("ledger.grants") == 0 {
        oracle.violated("P12: nobody was ever granted a seat");
    }
    figures.add("simulated_ms", site.world.now().as_millis() as u64);
    let summary = format!(
        "seed {seed}: {:?} simulated, {} faults of {:?}, trace {:016x}",
        site.world.now(),
        chaos.count,
        chaos.kinds(),
        oracle.trace()
    );
    let verdict = oracle.first_violation();
    match &verdict {
        None => println!("ok {summary}"),
        Some(violation) => println!("FAILED {summary}\n  {violation}"),
    }
    println!("{}", figures.line());
    if verdict.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn live(site: &mut Site, chaos: &mut Chaos, run_seed: u64, length: Duration) {
    let (oracle, desk) = (site.oracle.clone(), site.desk.clone());
    let board = Arc::new(Blackboard::default());
    let seed = site.world.dice.random();
    let auditor = Auditor {
        seed,
        network: site.world.network.of(site.auditor),
        oracle: oracle.clone(),
        desk: desk.clone(),
        board: board.clone(),
    };
    let runtime_seed = site.world.dice.random();
    let auditor_machine = site.auditor;
    site.world.machine(auditor_machine).start(runtime_seed, auditor.work());
    let late = late_node(run_seed);
    for node in 0..site.nodes.len() {
        if late == Some(node) {
            site.nodes[node].state = NodeState::Down(Duration::MAX);
        } else {
            site.start_node(node);
        }
    }
    for application in 0..site.applications.len() {
        site.start_application(application);
    }
    let fails = || oracle.first_violation().is_some();
    while !board.is_licensed.load(Ordering::Relaxed) {
        site.step(&board);
        if site.world.now() > START_LIMIT {
            oracle.violated("P14: no license is in force after the start");
        }
        if fails() {
            return;
        }
    }
    if let Some(node) = late {
        comes_late(site, &board, node);
    }
    if fails() {
        return;
    }
    drills::run(site, run_seed, &board);
    if fails() {
        return;
    }
    let end = site.world.now() + length;
    while site.world.now() < end {
        desk.set(Phase::Chaos, site.world.now());
        chaos.tick(site, &board);
        chaos.replace_lost(site, &board, false);
        site.step(&board);
        if fails() {
            return;
        }
    }
    chaos.heal(site);
    let healed = site.world.now();
    judge(site, chaos, &board, healed);
}

/// In three of seven runs two nodes found the cluster, and the third, any of them, starts later.
fn late_node(run_seed: u64) -> Option<usize> {
    let node = (run_seed / 7) as usize % NODES.len();
    matches!(run_seed % 7, 0 | 5 | 6).then_some(node)
}

/// P14: a founder that starts when the others have begun joins them.
fn comes_late(site: &mut Site, board: &Blackboard, node: usize) {
    let (id, begun) = (site.nodes[node].id, site.world.now());
    site.nodes[node].state = NodeState::Down(begun);
    while site.world.now() < begun + EQUAL_LIMIT && !site.oracle.are_equal(&[id]) {
        site.step(board);
    }
    if !site.oracle.are_equal(&[id]) {
        let positions = site.oracle.positions();
        site.violated(format!("P14: node {id} starts later, and does not join: {positions}"));
    }
}

/// What must be, and by when after healing.
fn judge(site: &mut Site, chaos: &mut Chaos, board: &Blackboard, healed: Duration) {
    let (oracle, desk) = (site.oracle.clone(), site.desk.clone());
    let (mut led, mut was_equal, mut is_answered, mut is_clean) = (false, false, false, false);
    let mut suspects = None;
    let (free_limit, leak_limit) = (FREE_LIMIT + desk.longer_lease, LEAK_LIMIT + desk.longer_lease);
    while site.world.now() < healed + ANSWER_LIMIT + free_limit {
        let since = site.world.now() - healed;
        let quiet = since >= ANSWER_LIMIT;
        desk.set(if quiet { Phase::Quiet } else { Phase::Healed }, site.world.now());
        chaos.replace_lost(site, board, true);
        site.step(board);
        if oracle.first_violation().is_some() {
            return;
        }
        let confirmed = Duration::from_millis(board.confirmed_ms.load(Ordering::Relaxed));
        led |= confirmed > healed;
        if since >= LEADER_LIMIT && !led {
            oracle.violated("P12: nobody leads 3 s after everything was mended");
        }
        if quiet && !std::mem::replace(&mut is_answered, true) {
            for application in 0..site.applications.len() {
                if !desk.answered_since(application, healed) {
                    oracle.violated(format!(
                        "P12: application {application} has no answer 5 s after everything was \
                         mended"
                    ));
                }
            }
        }
        if quiet && let Some(loans) = oracle.loans_that_are_over() {
            oracle.violated(format!("P12: loans are over, and not ended: {loans}"));
        }
        if quiet && let Some(overdue) = oracle.overdue() {
            oracle.violated(format!("P12: what is due is not done: {overdue}"));
        }
        if since >= ANSWER_LIMIT + leak_limit {
            // One may have been granted just now, where a loan was over, and be on its way back.
            let suspects = suspects.get_or_insert_with(|| oracle.unknown_holders(&desk.known()));
            if since >= ANSWER_LIMIT + leak_limit + RETURN_LIMIT
                && !std::mem::replace(&mut is_clean, true)
                && let Some(holders) = suspects
                && oracle.unknown_holders(&desk.known()).as_ref() == Some(holders)
            {
                oracle.violated(format!("P3: seats are held that nobody knows of: {holders}"));
            }
        }
        was_equal |= oracle.are_equal(&site.standing_nodes());
        if since >= EQUAL_LIMIT && !was_equal {
            let positions = oracle.positions();
            oracle.violated(format!("P7: the ledgers are not equal after 10 s: {positions}"));
        }
    }
    let standing = site.standing_nodes();
    if !oracle.are_equal(&standing) || standing.len() < site.nodes.len() {
        let positions = oracle.positions();
        oracle.violated(format!("P7: the ledgers are not equal at the end: {positions}"));
    }
    if let Some(wanted) = *board.replacement.lock().expect("no panic while held") {
        oracle.violated(format!("P5: nobody was replaced: {wanted:?}"));
    }
    if let Some(holders) = oracle.unknown_holders(&Default::default()) {
        oracle.violated(format!("P13: seats are held at the end: {holders}"));
    }
    if let Some(sessions) = oracle.silent_since(healed + ANSWER_LIMIT) {
        oracle.violated(format!("P5: sessions are open that nobody speaks for: {sessions}"));
    }
}
