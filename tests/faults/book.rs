//! The oracle: what clients were told, by their own one clock, and what must be
//! true of it. Nodes have no say in it.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use triad_client::{Checkout, Error, Reason, State};
use triad_tests::history::Read;

use crate::figures::Figures;

/// States of the ledger that are compared between the nodes: as many as the
/// slowest node is behind.
const HASHES_MAX: usize = 20_000;

/// A seat that a client believes in.
struct Believed {
    feature: &'static str,
    user: String,
    seat: Arc<Checkout>,
}

/// Everything that was said, and what was wrong with it.
pub struct Book {
    seats: BTreeMap<&'static str, usize>,
    believed: BTreeMap<u64, Believed>,
    granted: BTreeSet<u64>,
    confirmed_index: u64,
    /// Looks that a node called confirmed, for the check of the history.
    pub reads: Vec<Read>,
    hashes: BTreeMap<u64, String>,
    last_answer: Instant,
    longest_gap: Duration,
    worst_gap: Duration,
    /// What broke a promise.
    pub violations: Vec<String>,
    /// What was counted.
    pub tally: Tally,
}

/// How much of everything there was.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seats granted.
    pub grants: u64,
    /// Seats that a client gave back.
    pub returns: u64,
    /// Denials because all seats were held.
    pub denials: u64,
    /// Requests that nobody answered in time.
    pub unavailable: u64,
    /// Seats that a client was told it had lost.
    pub losses: u64,
    /// Answers of nodes, confirmed by a quorum.
    pub confirmations: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { grants, returns, denials, unavailable, losses, confirmations } = self;
        write!(
            f,
            "{grants} granted, {returns} returned, {denials} denied, {unavailable} not served, \
             {losses} lost, {confirmations} confirmed looks"
        )
    }
}

impl Book {
    /// An empty book about these features, with so many seats each.
    pub fn new(seats: BTreeMap<&'static str, usize>) -> Self {
        Book {
            seats,
            believed: BTreeMap::new(),
            granted: BTreeSet::new(),
            confirmed_index: 0,
            reads: Vec::new(),
            hashes: BTreeMap::new(),
            last_answer: Instant::now(),
            longest_gap: Duration::ZERO,
            worst_gap: Duration::ZERO,
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// A client was granted a seat, and believes in it from now on. P1, P3, P4:
    /// the number is new, and with the others who believe in theirs there are no
    /// more than there are seats.
    pub fn granted(&mut self, feature: &'static str, user: &str, seat: &Arc<Checkout>) {
        self.answered();
        self.tally.grants += 1;
        if !self.granted.insert(seat.id()) {
            self.complain(format!("P3: checkout {} was granted twice, now to {user}", seat.id()));
        }
        let believed = Believed { feature, user: user.to_owned(), seat: seat.clone() };
        self.believed.insert(seat.id(), believed);
        let holders = self.believed.values().filter(|b| b.feature == feature && b.is_believed());
        let holders: Vec<&str> = holders.map(|believed| believed.user.as_str()).collect();
        if holders.len() > self.seats[feature] {
            let text =
                format!("P4: {} seats of {feature}, held by {holders:?}", self.seats[feature]);
            self.complain(text);
        }
    }

    /// A client is about to give its seat back: it believes in it no more.
    /// Whether it did until now.
    pub fn returning(&mut self, id: u64) -> bool {
        let believed = self.believed.remove(&id).expect("it was granted");
        let is_believed = believed.is_believed();
        if !is_believed {
            self.tally.losses += 1;
        }
        is_believed
    }

    /// A seat was given back, and the client heard of it.
    pub fn returned(&mut self) {
        self.tally.returns += 1;
        self.answered();
    }

    /// A request was not granted.
    pub fn refused(&mut self, user: &str, error: &Error) {
        match error {
            Error::Denied(_) if error.reason() == Some(Reason::LicensesExhausted) => {
                self.tally.denials += 1;
                self.answered();
            }
            Error::Unavailable(_) => self.tally.unavailable += 1,
            Error::Lost(_) => self.tally.losses += 1,
            other => self.complain(format!("{user} was refused: {other}")),
        }
    }

    /// What was confirmed by a quorum before a question is asked: the answer may
    /// not know less.
    pub fn confirmed_index(&self) -> u64 {
        self.confirmed_index
    }

    /// A node answered, and its answer was confirmed by a quorum. P6: it knows
    /// what was confirmed before it was asked.
    pub fn confirmed(&mut self, node: &str, known_before: u64, read: Read) {
        let index = read.index;
        self.tally.confirmations += 1;
        self.reads.push(read);
        if index < known_before {
            let text = format!("P6: {node} confirms entry {index} after {known_before} was known");
            self.complain(text);
        }
        self.confirmed_index = self.confirmed_index.max(index);
    }

    /// A node has this ledger at this entry. P7: so has everybody.
    pub fn hashed(&mut self, node: &str, index: u64, hash: &str) {
        match self.hashes.entry(index) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(hash.to_owned())),
            btree_map::Entry::Occupied(entry) if entry.get() == hash => {}
            btree_map::Entry::Occupied(entry) => {
                let text = format!("P7: {node} has {hash} at {index}, not {}", entry.get());
                self.violations.push(text);
            }
        }
        if self.hashes.len() > HASHES_MAX {
            self.hashes.pop_first();
        }
    }

    /// Who holds which checkout, as far as the clients know.
    pub fn believed(&self) -> BTreeMap<u64, String> {
        let held = self.believed.iter().filter(|(_, believed)| believed.is_believed());
        held.map(|(id, believed)| (*id, believed.user.clone())).collect()
    }

    /// Forgets the gaps until now.
    pub fn forget_gaps(&mut self) {
        self.longest_gap = Duration::ZERO;
        self.last_answer = Instant::now();
    }

    /// The longest time in which nobody was given an answer.
    pub fn longest_gap(&mut self) -> Duration {
        let gap = self.longest_gap.max(self.last_answer.elapsed());
        self.worst_gap = self.worst_gap.max(gap);
        gap
    }

    /// What was counted, for whoever compares runs.
    pub fn figures(&self) -> Figures {
        let Tally { grants, returns, denials, .. } = self.tally;
        Figures {
            operations: grants + returns + denials,
            longest_gap: self.worst_gap,
            violations: self.violations.len() as u64,
            ..Figures::default()
        }
    }

    fn answered(&mut self) {
        let now = Instant::now();
        self.longest_gap = self.longest_gap.max(now - self.last_answer);
        self.last_answer = now;
    }

    /// Something broke a promise.
    pub fn complain(&mut self, text: String) {
        self.violations.push(text);
    }
}

impl Believed {
    fn is_believed(&self) -> bool {
        !matches!(self.seat.state(), State::Lost { .. })
    }
}
