//! Whether any order of the operations explains what was told: the check that
//! knows nothing of the log. It tries them all (Wing and Gong, with a memory of
//! the states that led nowhere), so it is for small histories of one feature:
//! at most [`OPERATIONS_MAX`], all of them answered, no queue, no loan, and no
//! session that was ended by a server.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{Asked, Operation, Reply};

/// More than this is not searched.
pub const OPERATIONS_MAX: usize = 200;
/// States that are looked at before the search is given up.
const STATES_MAX: usize = 2_000_000;

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains it.
    Explained,
    /// None does.
    Impossible,
    /// It is too large, or not of the kind that can be searched.
    NotSearched,
}

/// One operation of one feature.
struct Step {
    invoked: Duration,
    returned: Duration,
    what: What,
}

enum What {
    Granted { checkout: u64, seats: u64 },
    Denied { seats: u64 },
    Returned { checkout: u64, was_held: bool },
}

/// Looks for an order of the operations about one feature that has so many
/// seats.
pub fn search(operations: &[Operation], feature: &str, licensed: u64) -> Verdict {
    let Some(steps) = steps(operations, feature) else { return Verdict::NotSearched };
    if steps.len() > OPERATIONS_MAX {
        return Verdict::NotSearched;
    }
    let mut search = Search { steps: &steps, licensed, seen: HashSet::new() };
    let mut done = vec![false; steps.len()];
    match search.go_on(&mut done, &mut BTreeMap::new()) {
        Some(true) => Verdict::Explained,
        Some(false) => Verdict::Impossible,
        None => Verdict::NotSearched,
    }
}

/// `None` if something cannot be searched.
fn steps(operations: &[Operation], feature: &str) -> Option<Vec<Step>> {
    let of_feature = |items: &super::Items| match &items[..] {
        [(name, seats)] => Some((name == feature).then_some(*seats)),
        _ => None,
    };
    let mut own = HashSet::new();
    let mut steps = Vec::new();
    for operation in operations {
        let answered = operation.answers.first()?;
        let what = match (&operation.asked, &answered.reply) {
            (Asked::Seats { items, wait: None }, reply) => {
                let Some(seats) = of_feature(items)? else { continue };
                match reply {
                    Reply::Granted { checkout, .. } => {
                        own.insert(*checkout);
                        What::Granted { checkout: *checkout, seats }
                    }
                    Reply::Denied(_) => What::Denied { seats },
                    _ => return None,
                }
            }
            (Asked::Return { checkout }, Reply::Returned { was_held }) => {
                What::Returned { checkout: *checkout, was_held: *was_held }
            }
            _ => return None,
        };
        let (invoked, returned) = (operation.invoked, answered.returned);
        steps.push(Step { invoked, returned, what });
    }
    let is_own = |step: &Step| match step.what {
        What::Returned { checkout, .. } => own.contains(&checkout),
        _ => true,
    };
    steps.retain(is_own);
    Some(steps)
}

struct Search<'a> {
    steps: &'a [Step],
    licensed: u64,
    seen: HashSet<Vec<u64>>,
}

impl Search<'_> {
    /// Whether what is not done can be put in order; `None` if that takes too
    /// long. The seats that are open follow from what is done.
    fn go_on(&mut self, done: &mut Vec<bool>, open: &mut BTreeMap<u64, u64>) -> Option<bool> {
        // Who comes next has begun before any of the others had returned.
        let left = || self.steps.iter().zip(done.iter()).filter(|(_, done)| !**done);
        let Some(first_end) = left().map(|(step, _)| step.returned).min() else {
            return Some(true);
        };
        let may_come = |(step, done): (&Step, &bool)| !*done && step.invoked <= first_end;
        let next: Vec<usize> = self
            .steps
            .iter()
            .zip(done.iter())
            .enumerate()
            .filter(|(_, pair)| may_come(*pair))
            .map(|(number, _)| number)
            .collect();
        for number in next {
            let Some(undo) = self.take(number, open) else { continue };
            done[number] = true;
            if self.is_new(done)? && self.go_on(done, open)? {
                return Some(true);
            }
            done[number] = false;
            match undo {
                Undo::Nothing => {}
                Undo::Close(checkout) => {
                    open.remove(&checkout);
                }
                Undo::Open(checkout, seats) => {
                    open.insert(checkout, seats);
                }
            }
        }
        Some(false)
    }

    /// Does one step, if it may be the next.
    fn take(&self, number: usize, open: &mut BTreeMap<u64, u64>) -> Option<Undo> {
        let held: u64 = open.values().sum();
        match self.steps[number].what {
            What::Granted { checkout, seats } => {
                let fits = held + seats <= self.licensed && !open.contains_key(&checkout);
                fits.then(|| {
                    open.insert(checkout, seats);
                    Undo::Close(checkout)
                })
            }
            What::Denied { seats } => (held + seats > self.licensed).then_some(Undo::Nothing),
            What::Returned { checkout, was_held } => match (open.remove(&checkout), was_held) {
                (Some(seats), true) => Some(Undo::Open(checkout, seats)),
                (None, false) => Some(Undo::Nothing),
                (Some(seats), false) => {
                    open.insert(checkout, seats);
                    None
                }
                (None, true) => None,
            },
        }
    }

    fn is_new(&mut self, done: &[bool]) -> Option<bool> {
        let words = done.chunks(64).map(|bits| {
            bits.iter().enumerate().fold(0, |word, (bit, done)| word | u64::from(*done) << bit)
        });
        let is_new = self.seen.insert(words.collect());
        (self.seen.len() <= STATES_MAX).then_some(is_new)
    }
}

/// How a step is taken back.
enum Undo {
    Nothing,
    Close(u64),
    Open(u64, u64),
}
