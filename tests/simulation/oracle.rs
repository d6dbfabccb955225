//! The oracle: sees what every node applies and what every application believes,
//! and says which promise is broken. It asks the system nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use triad_ledger::{StateHash, encode_commands};
use triad_raft::{Observed, Observer};

use crate::desk::Desk;
use crate::model::Model;
use crate::world::Machine;

/// See the module.
pub struct Oracle(Mutex<Seen>);

struct Seen {
    now: Duration,
    model: Model,
    /// The log as the first node that applied each entry saw it.
    log: BTreeMap<u64, Entry>,
    /// The last entry with commands in it.
    last_command: u64,
    applied: BTreeMap<u64, u64>,
    first_to_apply: Option<u64>,
    trace: Trace,
    violations: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    term: u64,
    content: u64,
    hash: StateHash,
}

/// A running hash of everything that happened.
#[derive(Clone, Copy)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Trace(0xCBF2_9CE4_8422_2325)
    }
}

impl Trace {
    pub fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.note(&number.to_le_bytes());
        }
    }
}

/// What a run came to, in numbers.
pub struct Summary {
    pub entries: u64,
    pub grants: u64,
    pub denials: u64,
    pub ends: u64,
    pub trace: u64,
}

impl Oracle {
    pub fn new(licensed: &[(&str, u32)]) -> Arc<Self> {
        Arc::new(Oracle(Mutex::new(Seen {
            now: Duration::ZERO,
            model: Model::new(licensed),
            log: BTreeMap::new(),
            last_command: 0,
            applied: BTreeMap::new(),
            first_to_apply: None,
            trace: Trace::default(),
            violations: Vec::new(),
        })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no panic while held")
    }

    /// Watches one node.
    pub fn watch(self: &Arc<Self>, node: u64) -> Arc<dyn Observer> {
        Arc::new(Watch { oracle: self.clone(), node })
    }

    pub fn set_now(&self, now: Duration) {
        self.seen().now = now;
    }

    /// Something is wrong.
    pub fn violated(&self, what: impl Into<String>) {
        let mut seen = self.seen();
        let at = seen.now;
        seen.violations.push(format!("at {at:?}: {}", what.into()));
    }

    pub fn first_violation(&self) -> Option<String> {
        self.seen().violations.first().cloned()
    }

    /// Some task of some process panicked.
    pub fn panicked(&self, what: &str) {
        // The oracle itself may have; then there is nothing to add.
        match self.0.try_lock() {
            Ok(mut seen) => seen.fail(format!("a panic: {what}")),
            Err(_) => eprintln!("{what}"),
        }
    }

    /// The node that first applied the newest entry: the leader, most likely.
    pub fn leader(&self) -> Option<u64> {
        self.seen().first_to_apply
    }

    /// A newer answer than this exists nowhere.
    pub fn last_command(&self) -> u64 {
        self.seen().last_command
    }

    /// Compares what the applications believe with what the log says.
    pub fn compare(&self, desk: &Desk, applications: &[(usize, &Machine)]) {
        let mut seen = self.seen();
        let (answers, returned) = desk.news();
        let now = seen.now.as_millis() as u64;
        for (application, checkout) in answers {
            tracing::debug!(now, application, checkout, "answered");
            seen.trace.numbers(&[now, application as u64, checkout]);
        }
        for checkout in returned {
            if seen.model.is_open(checkout) {
                let what = format!("P2: checkout {checkout} was returned, and is still held");
                seen.fail(what);
            }
        }
        let mut believed: BTreeMap<String, u64> = BTreeMap::new();
        for (index, machine) in applications {
            // Frozen, it can use nothing, and looks at its clock when it wakes.
            if machine.is_frozen() {
                continue;
            }
            let Some(_clock) = machine.enter() else { continue };
            for own in desk.believed(*index) {
                if !seen.model.is_open(own.checkout) {
                    let what = format!(
                        "P2/P4/P5: {} believes in checkout {}, which the ledger does not have",
                        machine.name, own.checkout
                    );
                    seen.fail(what);
                }
                for (feature, seats) in own.items {
                    *believed.entry(feature).or_default() += u64::from(seats);
                }
            }
        }
        for (feature, seats) in believed {
            let licensed = seen.model.licensed(&feature);
            if seats > licensed {
                let what = format!("P1: {seats} of {licensed} seats of {feature} are believed");
                seen.fail(what);
            }
        }
    }

    /// All of these nodes have applied everything there is.
    pub fn are_equal(&self, nodes: &[u64]) -> bool {
        let seen = self.seen();
        let last = seen.log.last_key_value().map(|(index, _)| *index);
        nodes.iter().all(|node| seen.applied.get(node).copied() == last)
    }

    /// Where each node stands, for a message.
    pub fn positions(&self) -> String {
        let seen = self.seen();
        let last = seen.log.last_key_value().map_or(0, |(index, _)| *index);
        format!("the log ends at {last}, the nodes at {:?}", seen.applied)
    }

    pub fn holders(&self) -> String {
        self.seen().model.holders()
    }

    pub fn seats_held(&self) -> u64 {
        self.seen().model.held()
    }

    pub fn summary(&self) -> Summary {
        let seen = self.seen();
        Summary {
            entries: seen.log.len() as u64,
            grants: seen.model.grants,
            denials: seen.model.denials,
            ends: seen.model.ends,
            trace: seen.trace.0,
        }
    }
}

impl Seen {
    fn fail(&mut self, what: String) {
        let at = self.now;
        self.violations.push(format!("at {at:?}: {what}"));
    }

    fn applied(&mut self, node: u64, observed: &Observed<'_>) {
        let Observed { at, commands, answers, events: _, hash } = *observed;
        let (term, index) = (at.term, at.index);
        let mut content = Trace::default();
        content.note(&encode_commands(commands));
        let entry = Entry { term, content: content.0, hash };
        self.applied.insert(node, index);
        let now = self.now.as_millis() as u64;
        tracing::debug!(now, node, index, term, ?commands, ?answers, "applied");
        self.trace.numbers(&[now, node, index, term, content.0]);
        self.trace.note(&hash.0);
        match self.log.get(&index) {
            None => {
                self.log.insert(index, entry);
                self.first_to_apply = Some(node);
                if !commands.is_empty() {
                    self.last_command = self.last_command.max(index);
                }
                for (command, answer) in commands.iter().zip(answers) {
                    if let Err(what) = self.model.apply(command, answer) {
                        self.fail(what);
                    }
                }
            }
            Some(first) if (first.term, first.content) != (term, entry.content) => {
                let what = format!(
                    "P2: node {node} applies another entry {index} (term {term}) than was applied \
                     before (term {})",
                    first.term
                );
                self.fail(what);
            }
            Some(first) if first.hash != hash => {
                let what = format!("P7: node {node} has another ledger after entry {index}");
                self.fail(what);
            }
            Some(_) => {}
        }
    }

    fn installed(&mut self, node: u64, index: u64, hash: StateHash) {
        self.applied.insert(node, index);
        let now = self.now.as_millis() as u64;
        self.trace.numbers(&[now, node, index]);
        if self.log.get(&index).is_some_and(|entry| entry.hash != hash) {
            self.fail(format!("P7: the snapshot at {index} for node {node} is another ledger"));
        }
    }
}

struct Watch {
    oracle: Arc<Oracle>,
    node: u64,
}

impl Observer for Watch {
    fn applied(&self, entry: &Observed<'_>) {
        self.oracle.seen().applied(self.node, entry);
    }

    fn installed(&self, index: u64, hash: StateHash) {
        self.oracle.seen().installed(self.node, index, hash);
    }
}
