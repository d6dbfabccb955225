//! Checks what clients were told against the committed log.
//!
//! A replicated log is its own linearization: nothing has to be searched. Sorted
//! by the index at which each request was decided, a history is good if
//!
//! - an operation that had returned before another was invoked was decided at a
//!   smaller index, and a linearizable read is as new as all that had returned;
//! - each reply is what a naive [`Model`] says when it replays the log, and was
//!   given at an entry of that index and term which holds the request;
//! - each acknowledged operation is decided once in the log, and each of unknown
//!   outcome at most once: the model decides a request once, so that one that
//!   was applied twice shows in the numbers of all later checkouts.
//!
//! ```text
//! let recorder = Recorder::new(clock);            // one for all clients
//! Client::builder().witness(recorder.clone())...
//! let history = History { operations: recorder.operations(), reads, log };
//! history.check()?;                               // the first 20 violations
//! ```
//!
//! 10,000 operations take milliseconds. [`search`] is the independent check for
//! small histories: it knows nothing of the log.

mod model;
mod recorder;
mod reply;
pub mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use triad_ledger::names::SessionId;
use triad_ledger::{At, Command, Item, QueueWait};
use triad_proto::v1;

pub use model::{Held, Model, Settled};
pub use recorder::Recorder;
pub use reply::{Items, Reply};

/// Violations that are told; the rest follow from these.
const VIOLATIONS_TOLD: usize = 20;

/// What clients saw and what was committed.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every request of every client, in any order.
    pub operations: Vec<Operation>,
    /// Every read that was called linearizable.
    pub reads: Vec<Read>,
    /// The committed entries that hold commands, by index, from the first one
    /// on; entries without commands may be left out.
    pub log: Vec<Entry>,
}

/// One entry of the committed log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its index, term and stamp.
    pub at: At,
    /// What is in it.
    pub commands: Vec<Command>,
}

/// One request, under the number that its client drew.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Whose.
    pub session: SessionId,
    /// Its number in that session.
    pub request: u64,
    /// What for.
    pub asked: Asked,
    /// When it first went on the wire.
    pub invoked: Duration,
    /// What the client was told, in order: none if the outcome is unknown, and
    /// several if it waited, or heard the same twice.
    pub answers: Vec<Answered>,
}

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Seats.
    Seats {
        /// Which.
        items: Items,
        /// How it waits in the queue if need be.
        wait: Option<QueueWait>,
    },
    /// Seats to be used without a server.
    Loan {
        /// Which.
        items: Items,
    },
    /// The return of a checkout.
    Return {
        /// Which.
        checkout: u64,
    },
}

/// One thing that a client was told about a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When.
    pub returned: Duration,
    /// At which place in the log. `None`: it was refused before it came there.
    pub place: Option<Place>,
    /// What.
    pub reply: Reply,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index.
    pub index: u64,
    /// The term of the entry there.
    pub term: u64,
}

/// A read that a node called linearizable.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// When it was asked.
    pub invoked: Duration,
    /// When it was answered.
    pub returned: Duration,
    /// Up to which index the answer knew.
    pub index: u64,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Requests with a final answer.
    pub answered: usize,
    /// Requests without one.
    pub unknown: usize,
    /// Linearizable reads.
    pub reads: usize,
    /// Entries of the log.
    pub entries: usize,
}

/// Something that cannot have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The log is not one: its indexes or terms do not rise.
    Log(String),
    /// Two requests of one number ask for different things.
    Reused(String),
    /// A request was decided, and another than the client had made.
    Altered(String),
    /// An answer has no entry that gives it.
    Lost(String),
    /// A client was told something else than the log says.
    Reply(String),
    /// An operation was decided before one that had returned before it began.
    Order(String),
    /// A linearizable read did not know what had been acknowledged before.
    Stale(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Log(what) => write!(f, "the log: {what}"),
            Violation::Reused(what) => write!(f, "a request number for two requests: {what}"),
            Violation::Altered(what) => write!(f, "another request than was made: {what}"),
            Violation::Lost(what) => write!(f, "an answer that is not in the log: {what}"),
            Violation::Reply(what) => write!(f, "another reply than the log gives: {what}"),
            Violation::Order(what) => write!(f, "not in the order of time: {what}"),
            Violation::Stale(what) => write!(f, "a stale read: {what}"),
        }
    }
}

/// What the log says of one request.
#[derive(Default)]
struct Decided {
    /// The first command that asks it.
    command: Option<Command>,
    /// The places at which it is asked, and what it is told at each. The first
    /// decides.
    told_at: Vec<(Place, Reply)>,
    /// Its final answer, if it waited for one.
    settled: Option<(Place, Reply)>,
}

type Decisions = BTreeMap<(SessionId, u64), Decided>;

impl History {
    /// Checks all of it.
    ///
    /// # Errors
    ///
    /// The first 20 violations, those of the log first.
    pub fn check(&self) -> Result<Checked, Vec<Violation>> {
        let mut violations = Vec::new();
        let decisions = self.replay(&mut violations);
        for operation in &self.operations {
            let decided = decisions.get(&(operation.session, operation.request));
            self.check_answers(operation, decided, &mut violations);
        }
        self.check_order(&decisions, &mut violations);
        if !violations.is_empty() {
            violations.truncate(VIOLATIONS_TOLD);
            return Err(violations);
        }
        let is_answered = |operation: &&Operation| {
            operation.answers.last().is_some_and(|answered| answered.reply.is_final())
        };
        let answered = self.operations.iter().filter(is_answered).count();
        Ok(Checked {
            answered,
            unknown: self.operations.len() - answered,
            reads: self.reads.len(),
            entries: self.log.len(),
        })
    }

    /// What the log says of each request.
    fn replay(&self, violations: &mut Vec<Violation>) -> Decisions {
        let mut model = Model::default();
        let mut decisions = Decisions::new();
        let mut last = Place { index: 0, term: 0 };
        for Entry { at, commands } in &self.log {
            let place = Place { index: at.index, term: at.term };
            if place.index <= last.index || place.term < last.term {
                violations.push(Violation::Log(format!("{place:?} comes after {last:?}")));
            }
            last = place;
            for command in commands {
                let reply = model.apply(*at, command);
                for Settled { session, request, reply } in model.take_settled() {
                    let decided = decisions.entry((session, request)).or_default();
                    decided.settled = Some((place, reply));
                }
                let Some(key) = request_of(command) else { continue };
                let decided = decisions.entry(key).or_default();
                decided.told_at.push((place, reply));
                match &decided.command {
                    None => decided.command = Some(command.clone()),
                    Some(first) if !asks_the_same(first, command) => {
                        let what = format!("{first:?} and {command:?} at {place:?}");
                        violations.push(Violation::Reused(what));
                    }
                    Some(_) => {}
                }
            }
        }
        decisions
    }

    fn check_answers(
        &self,
        operation: &Operation,
        decided: Option<&Decided>,
        violations: &mut Vec<Violation>,
    ) {
        if let Some(command) = decided.and_then(|decided| decided.command.as_ref())
            && !is_asked_for(&operation.asked, command)
        {
            let what = format!("{command:?} was decided: {operation:?}");
            violations.push(Violation::Altered(what));
        }
        for answered in &operation.answers {
            // Refused before it came to the log: it changed nothing.
            let Some(place) = answered.place else { continue };
            let told_at = decided.map_or(&[][..], |decided| &decided.told_at);
            let settled = decided.and_then(|decided| decided.settled.as_ref());
            let told = told_at.iter().chain(settled).filter(|(at, _)| *at == place);
            let told: Vec<&Reply> = told.map(|(_, reply)| reply).collect();
            if told.is_empty() {
                let what = format!("no entry {place:?} has it: {answered:?} of {operation:?}");
                violations.push(Violation::Lost(what));
            } else if !told.contains(&&answered.reply) {
                let what = format!("{told:?} is right, {answered:?} was told: {operation:?}");
                violations.push(Violation::Reply(what));
            }
        }
    }

    /// Goes through everything in the order of time, and keeps the highest index
    /// that anybody knows of.
    fn check_order(&self, decisions: &Decisions, violations: &mut Vec<Violation>) {
        /// At equal times what begins comes first: it may have overlapped.
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Moment {
            OperationBegins(usize),
            ReadBegins(usize),
            Known { index: u64 },
        }
        let mut moments: Vec<(Duration, Moment)> = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            moments.push((operation.invoked, Moment::OperationBegins(number)));
            let places =
                operation.answers.iter().filter_map(|a| Some((a.returned, a.place?.index)));
            moments.extend(places.map(|(at, index)| (at, Moment::Known { index })));
        }
        for (number, read) in self.reads.iter().enumerate() {
            moments.push((read.invoked, Moment::ReadBegins(number)));
            moments.push((read.returned, Moment::Known { index: read.index }));
        }
        moments.sort_unstable();
        let mut known = 0;
        for (at, moment) in moments {
            match moment {
                Moment::Known { index } => known = known.max(index),
                Moment::ReadBegins(number) => {
                    let read = &self.reads[number];
                    if read.index < known {
                        let what = format!("{known} was known at {at:?}, and then {read:?}");
                        violations.push(Violation::Stale(what));
                    }
                }
                Moment::OperationBegins(number) => {
                    let operation = &self.operations[number];
                    let decided = decisions.get(&(operation.session, operation.request));
                    let first = decided.and_then(|decided| decided.told_at.first());
                    let first = first.map(|(place, _)| place);
                    if let Some(place) = first.filter(|place| place.index <= known) {
                        let what = format!(
                            "{known} was known at {at:?}, and what began then is decided at \
                             {place:?}: {operation:?}"
                        );
                        violations.push(Violation::Order(what));
                    }
                }
            }
        }
    }
}

/// Whose request a command is, and which.
fn request_of(command: &Command) -> Option<(SessionId, u64)> {
    match command {
        Command::Checkout { session, request, .. }
        | Command::Checkin { session, request, .. }
        | Command::Borrow { session, request, .. } => Some((*session, request.0)),
        _ => None,
    }
}

/// Whether two commands are one request; what they acknowledge may differ, and
/// a loan's end is reckoned anew from the time at which it is asked for.
fn asks_the_same(one: &Command, other: &Command) -> bool {
    match (one, other) {
        (
            Command::Checkout { items: a, wait: b, .. },
            Command::Checkout { items: c, wait: d, .. },
        ) => a == c && b == d,
        (Command::Checkin { checkout: a, .. }, Command::Checkin { checkout: b, .. }) => a == b,
        (Command::Borrow { items: a, .. }, Command::Borrow { items: b, .. }) => a == b,
        _ => false,
    }
}

/// Whether a command is what the client asked for.
fn is_asked_for(asked: &Asked, command: &Command) -> bool {
    match (asked, command) {
        (Asked::Seats { items: a, wait: b }, Command::Checkout { items, wait, .. }) => {
            *a == items_of_command(items) && b == wait
        }
        (Asked::Loan { items: a }, Command::Borrow { items, .. }) => *a == items_of_command(items),
        (Asked::Return { checkout: a }, Command::Checkin { checkout, .. }) => *a == checkout.0,
        _ => false,
    }
}

fn items_of_command(items: &[Item]) -> Items {
    items.iter().map(|i| (i.feature.as_str().to_owned(), u64::from(i.seats.get()))).collect()
}

fn items_of_wire(items: &[v1::Item]) -> Items {
    items.iter().map(|item| (item.feature.clone(), u64::from(item.seats))).collect()
}
