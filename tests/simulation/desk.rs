//! What the applications hold in their hands, for the oracle to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use triad_client::{Borrowed, Checkout, State};

use crate::figures::Figures;

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
pub struct Desk {
    pub figures: Figures,
    /// How many times as long everybody rests.
    pub calm: u32,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    phase: Phase,
    now: Duration,
    next: u64,
    held: BTreeMap<(usize, u64), Arc<Checkout>>,
    /// What is lent to each application; it outlives the process.
    loans: BTreeMap<usize, Vec<Loan>>,
    /// When each application was last given an answer.
    answered: BTreeMap<usize, Duration>,
    waits_in_vain: BTreeSet<usize>,
    /// Every answer so far, for the trace.
    answers: Vec<(usize, u64)>,
    returned: Vec<u64>,
}

impl Desk {
    pub fn new(figures: Figures, calm: u32) -> Arc<Self> {
        Arc::new(Desk { figures, calm, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while held")
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

    /// What is lent to some other application, drawn by a number.
    pub fn loan_of_another(&self, application: usize, drawn: u64) -> Option<u64> {
        let table = self.table();
        let others = table.loans.iter().filter(|(index, _)| **index != application);
        let loans: Vec<u64> = others.flat_map(|(_, loans)| loans).map(|l| l.checkout).collect();
        loans.get(drawn as usize % loans.len().max(1)).copied()
    }

    /// Seats were lent to the application.
    pub fn lent(&self, application: usize, loan: &Borrowed) {
        let until = loan.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let loan = Loan { checkout: loan.checkout_id, until_ms: until.as_millis() as u64 };
        let mut table = self.table();
        let now = table.now;
        table.answers.push((application, loan.checkout));
        table.answered.insert(application, now);
        table.loans.entry(application).or_default().push(loan);
    }

    /// The application stops using what was lent to it longest ago.
    pub fn end_loan(&self, application: usize) -> Option<u64> {
        let mut table = self.table();
        let loans = table.loans.get_mut(&application).filter(|loans| !loans.is_empty())?;
        Some(loans.remove(0).checkout)
    }

    /// How many loans the application has.
    pub fn loans(&self, application: usize) -> usize {
        self.table().loans.get(&application).map_or(0, Vec::len)
    }

    /// What the application has on loan and uses until its end, by a clock that
    /// is right.
    pub fn lent_at(&self, application: usize, date_ms: u64) -> Vec<u64> {
        let mut table = self.table();
        let Some(loans) = table.loans.get_mut(&application) else { return Vec::new() };
        loans.retain(|loan| loan.until_ms > date_ms);
        loans.iter().map(|loan| loan.checkout).collect()
    }

    /// The application waited for seats that are free.
    pub fn waits_in_vain(&self, application: usize) {
        self.table().waits_in_vain.insert(application);
    }

    /// They had a reason to wait.
    pub fn forget_who_waits(&self) {
        self.table().waits_in_vain.clear();
    }

    pub fn who_waits_in_vain(&self) -> Option<usize> {
        self.table().waits_in_vain.first().copied()
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
    pub fn believed(&self, application: usize) -> Vec<u64> {
        let table = self.table();
        let own = table.held.range((application, 0)..(application + 1, 0));
        let believed = own.filter(|(_, checkout)| !matches!(checkout.state(), State::Lost { .. }));
        believed.map(|(_, checkout)| checkout.id()).collect()
    }

    /// Every checkout and loan that some application knows of.
    pub fn known(&self) -> BTreeSet<u64> {
        let table = self.table();
        let loans = table.loans.values().flatten().map(|loan| loan.checkout);
        table.held.values().map(|checkout| checkout.id()).chain(loans).collect()
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

/// Seats that are used without a server.
struct Loan {
    checkout: u64,
    /// Milliseconds since 1970 UTC.
    until_ms: u64,
}
