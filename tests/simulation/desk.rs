//! What the applications hold in their hands, for the oracle to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use triad_client::{Borrowed, Checkout, State};

use crate::figures::Figures;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// One thing goes wrong, and nobody changes rights or rules.
    Drill,
    /// Faults happen.
    #[default]
    Chaos,
    /// All is mended; everybody is to be served again.
    Healed,
    /// Applications return what they hold and stop.
    Quiet,
}

/// A loan of which nobody has heard is over by then.
const LOAN_UNKNOWN: Duration = Duration::from_secs(30);
/// What is on its way is there by then.
const TOO_MANY_FOR: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Desk {
    pub figures: Figures,
    /// How many times as long everybody rests.
    pub calm: u32,
    /// By so much the leases of this run are longer than the shortest there are: the seats of the dead
    /// come back later.
    pub longer_lease: Duration,
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
    /// Whose loans end when, in ms since 1970, and how long they were to be.
    ends: Vec<(usize, Option<u64>, Duration)>,
    /// Does nothing but keep what it has.
    still: Option<usize>,
    /// What applications were told that nobody may be told.
    complaints: Vec<String>,
    /// Since when each application's user is active, if he is; not known of one that has not said.
    active_since: BTreeMap<usize, Duration>,
    /// Applications that ask for a loan, or return one, and have no answer.
    asking: BTreeSet<usize>,
    /// Until when one more loan may be out to each application than it knows of: an answer that was
    /// lost, or a return whose outcome is unknown.
    loans_unknown: BTreeMap<usize, Vec<Duration>>,
    /// Since when more are out than that.
    too_many_loans: BTreeMap<usize, Duration>,
    /// Every answer so far, for the trace.
    answers: Vec<(usize, u64)>,
    returned: Vec<u64>,
}

impl Desk {
    pub fn new(figures: Figures, calm: u32, longer_lease: Duration) -> Arc<Self> {
        Arc::new(Desk { figures, calm, longer_lease, table: Mutex::default() })
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

    /// The application does nothing from now on but keep what it has; or all may do something again.
    pub fn hold_still(&self, application: Option<usize>) {
        self.table().still = application;
    }

    pub fn is_still(&self, application: usize) -> bool {
        self.table().still == Some(application)
    }

    /// The application was told what nobody may be told.
    pub fn complain(&self, what: String) {
        self.table().complaints.push(what);
    }

    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.table().complaints)
    }

    /// The application's user is active from now on, or idle.
    pub fn user_is(&self, application: usize, is_active: bool) {
        let mut table = self.table();
        let now = table.now;
        match is_active {
            true => drop(table.active_since.entry(application).or_insert(now)),
            false => drop(table.active_since.remove(&application)),
        }
    }

    /// Since when the application's user is active, if he is.
    pub fn active_since(&self, application: usize) -> Option<Duration> {
        self.table().active_since.get(&application).copied()
    }

    /// The application asks for a loan, or returns one.
    pub fn asks_about_a_loan(&self, application: usize) {
        self.table().asking.insert(application);
    }

    /// It has an answer; or none, and does not know what became of the loan.
    pub fn has_asked(&self, application: usize, is_answered: bool) {
        self.table().has_asked(application, is_answered);
    }

    /// P3: so many loans are out to the application. Says how many it knows of, if that has been too
    /// few for some time.
    pub fn has_too_many_loans(&self, application: usize, out: usize) -> Option<usize> {
        let table = &mut *self.table();
        let now = table.now;
        let unknown = table.loans_unknown.entry(application).or_default();
        unknown.retain(|until| *until > now);
        let known = table.loans.get(&application).map_or(0, Vec::len);
        let asking = usize::from(table.asking.contains(&application));
        if out <= known + unknown.len() + asking {
            table.too_many_loans.remove(&application);
            return None;
        }
        let since = *table.too_many_loans.entry(application).or_insert(now);
        (now - since > TOO_MANY_FOR).then_some(known)
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
    pub fn lent(&self, application: usize, loan: &Borrowed, length: Duration) {
        let until = loan.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let loan = Loan { checkout: loan.checkout_id, until_ms: until.as_millis() as u64 };
        let mut table = self.table();
        let now = table.now;
        table.ends.push((application, Some(loan.until_ms), length));
        table.answers.push((application, loan.checkout));
        table.answered.insert(application, now);
        table.loans.entry(application).or_default().push(loan);
    }

    /// The application was told that it asks for too long a loan.
    pub fn lent_too_long(&self, application: usize, length: Duration) {
        self.table().ends.push((application, None, length));
    }

    /// The ends of loans as they were told since this was last asked, in ms since 1970, of which
    /// application, and for how long it had asked. None at all if that was said to be too long.
    pub fn ends_of_loans(&self) -> Vec<(usize, Option<u64>, Duration)> {
        std::mem::take(&mut self.table().ends)
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
        table.has_asked(application, false);
        table.active_since.remove(&application);
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

    /// What it has in its hands, and does not believe in. Its clock must be current.
    pub fn lost(&self, application: usize) -> Vec<u64> {
        let table = self.table();
        let own = table.held.range((application, 0)..(application + 1, 0));
        let lost = own.filter(|(_, checkout)| matches!(checkout.state(), State::Lost { .. }));
        lost.map(|(_, checkout)| checkout.id()).collect()
    }

    /// Whether it has anything in its hands that is not lent.
    pub fn has_in_hand(&self, application: usize) -> bool {
        let table = self.table();
        table.held.range((application, 0)..(application + 1, 0)).next().is_some()
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

impl Table {
    fn has_asked(&mut self, application: usize, is_answered: bool) {
        if self.asking.remove(&application) && !is_answered {
            let until = self.now + LOAN_UNKNOWN;
            self.loans_unknown.entry(application).or_default().push(until);
        }
    }
}

/// Seats that are used without a server.
struct Loan {
    checkout: u64,
    /// Milliseconds since 1970 UTC.
    until_ms: u64,
}
