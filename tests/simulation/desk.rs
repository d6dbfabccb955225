//! What the applications hold in their hands, for the oracle to look at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use triad_client::{Checkout, State};

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Faults happen.
    #[default]
    Chaos,
    /// All is mended; everybody is to be served again.
    Healed,
    /// Applications return what they hold and stop.
    Quiet,
}

#[derive(Default)]
pub struct Desk(Mutex<Table>);

#[derive(Default)]
struct Table {
    phase: Phase,
    now: Duration,
    next: u64,
    held: BTreeMap<(usize, u64), Arc<Checkout>>,
    /// When each application was last given an answer.
    answered: BTreeMap<usize, Duration>,
    /// Every answer so far, for the trace.
    answers: Vec<(usize, u64)>,
    returned: Vec<u64>,
}

impl Desk {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no panic while held")
    }

    pub fn set(&self, phase: Phase, now: Duration) {
        let mut table = self.table();
        (table.phase, table.now) = (phase, now);
    }

    pub fn phase(&self) -> Phase {
        self.table().phase
    }

    /// The application was granted seats, and uses them from now on.
    pub fn take(&self, application: usize, checkout: Checkout) -> u64 {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.answers.push((application, checkout.id()));
        table.held.insert((application, number), Arc::new(checkout));
        let now = table.now;
        table.answered.insert(application, now);
        number
    }

    /// The application was denied.
    pub fn denied(&self, application: usize) {
        let mut table = self.table();
        let now = table.now;
        table.answers.push((application, 0));
        table.answered.insert(application, now);
    }

    /// The application stops using them.
    pub fn give_up(&self, application: usize, number: u64) -> Option<Checkout> {
        let held = self.table().held.remove(&(application, number))?;
        Some(Arc::into_inner(held).expect("nobody else keeps it"))
    }

    /// The ledger has confirmed that it has them back.
    pub fn returned(&self, checkout: u64) {
        self.table().returned.push(checkout);
    }

    /// The application is no more.
    pub fn gone(&self, application: usize) {
        let mut table = self.table();
        let gone = |(of, _): &(usize, u64)| *of == application;
        let held = std::mem::take(&mut table.held);
        let (gone, kept): (BTreeMap<_, _>, _) = held.into_iter().partition(|(key, _)| gone(key));
        table.held = kept;
        drop(table);
        drop(gone);
    }

    /// What an application believes that it holds. Its clock must be current.
    pub fn believed(&self, application: usize) -> Vec<Believed> {
        let table = self.table();
        let own = table.held.range((application, 0)..(application + 1, 0));
        let believed = own.filter(|(_, checkout)| !matches!(checkout.state(), State::Lost { .. }));
        believed
            .map(|(_, checkout)| Believed {
                checkout: checkout.id(),
                items: checkout.items().iter().map(|i| (i.feature.clone(), i.seats)).collect(),
            })
            .collect()
    }

    pub fn answered_since(&self, application: usize, since: Duration) -> bool {
        self.table().answered.get(&application).is_some_and(|at| *at >= since)
    }

    /// The answers and the confirmed returns since this was last asked.
    pub fn news(&self) -> (Vec<(usize, u64)>, Vec<u64>) {
        let mut table = self.table();
        (std::mem::take(&mut table.answers), std::mem::take(&mut table.returned))
    }
}

/// Seats that an application believes to be its own.
pub struct Believed {
    pub checkout: u64,
    pub items: Vec<(String, u32)>,
}
