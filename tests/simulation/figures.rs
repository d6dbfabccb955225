//! What really happened in a run, counted by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The word before the counts in what one run prints for the sweep.
const HEADING: &str = "figures";

/// Counts that everybody adds to.
#[derive(Clone, Default)]
pub struct Figures(Arc<Mutex<Counts>>);

/// How often what happened, by its name.
pub type Counts = BTreeMap<String, u64>;

impl Figures {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no panic while held")
    }

    /// It happened once more.
    pub fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// How often it happened.
    pub fn of(&self, name: &str) -> u64 {
        self.counts().get(name).copied().unwrap_or(0)
    }

    pub fn add(&self, name: &str, more: u64) {
        let mut counts = self.counts();
        match counts.get_mut(name) {
            Some(count) => *count += more,
            None => drop(counts.insert(name.to_owned(), more)),
        }
    }

    /// One line, which [`read`] understands.
    pub fn line(&self) -> String {
        let word = |(name, count): (&String, &u64)| format!(" {name}={count}");
        let words: String = self.counts().iter().map(word).collect();
        format!("{HEADING}{words}")
    }
}

/// Adds the counts of a line of [`Figures::line`]; false if it is none.
pub fn read(line: &str, counts: &mut Counts) -> bool {
    let mut words = line.split(' ');
    if words.next() != Some(HEADING) {
        return false;
    }
    for (name, count) in words.filter_map(|word| word.split_once('=')) {
        *counts.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap_or(0);
    }
    true
}
