//! A site to measure on: pools, and sessions that hold seats of them. The same
//! in every run.

use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version,
};
use triad_ledger::rights::{About, License, Line, Terms};
use triad_ledger::{Answer, At, Command, Holder, Item, Ledger, Outcome};

/// The pools of a site.
pub const POOLS: usize = 1_000;
/// The one that measures. The others' ids begin with their number.
const OURS: SessionId = SessionId([0xff; 16]);

/// A ledger, and the session that checks out and in.
#[derive(Clone)]
pub struct Site {
    /// The ledger, for what is not a cycle.
    pub ledger: Ledger,
    at: At,
    last_request: u64,
}

impl Site {
    /// A license of [`POOLS`] pools with so many seats each.
    pub fn new(seats: u32) -> Self {
        let line = |pool| Line {
            feature: feature(pool),
            version: Version::parse("2026.1").expect("a good version"),
            seats,
            overdraft: 0,
            starts_ms: None,
            expires_ms: None,
            vendor_string: Label::default(),
            terms: Terms::default(),
            about: About::default(),
        };
        let license = License {
            id: LicenseId::parse("bench").expect("a good id"),
            publisher: Label::default(),
            serial: 1,
            text: String::new(),
            lines: (0..POOLS).map(line).collect(),
        };
        // A day in 2026.
        let at = At { index: 0, term: 1, cluster_ms: 0, date_ms: 1_790_000_000_000 };
        let mut site = Site { ledger: Ledger::default(), at, last_request: 0 };
        site.apply(&Command::Install { license }).expect("nothing is in its way");
        site.open(OURS, "ours");
        site.settle();
        site
    }

    /// So many others, each with a session and a seat of the pool it is given.
    pub fn with_others(mut self, others: usize, pool_of: impl Fn(usize) -> usize) -> Self {
        for n in 0..others {
            let session = other(n);
            self.open(session, &format!("user{n}"));
            let taken = self.apply(&checkout(session, 1, pool_of(n)));
            assert!(matches!(taken, Ok(Outcome::Granted(_))), "other {n}: {taken:?}");
            self.settle();
        }
        self
    }

    /// One checkout and one checkin, each with what a node does after it: the
    /// history is told, and the image.
    pub fn cycle(&mut self, pool: usize) {
        let request = self.next_request();
        let taken = self.apply(&checkout(OURS, request, pool));
        self.settle();
        let Ok(Outcome::Granted(grant)) = taken else { panic!("no seat: {taken:?}") };
        let request = self.next_request();
        let returned = self.apply(&checkin(OURS, request, grant.checkout));
        self.settle();
        assert!(matches!(returned, Ok(Outcome::Returned { was_held: true })), "{returned:?}");
    }

    /// Applies one command, as if it were an entry of its own.
    pub fn apply(&mut self, command: &Command) -> Answer {
        self.at.index += 1;
        self.at.cluster_ms += 1;
        self.at.date_ms += 1;
        self.ledger.apply(self.at, command)
    }

    fn settle(&mut self) {
        self.ledger.take_encoded_events();
        self.ledger.take_changes();
    }

    fn open(&mut self, session: SessionId, user: &str) {
        let holder = holder(user);
        let open = Command::Open { session, holder, lease_ms: 30_000, resume: false };
        let opened = self.apply(&open);
        assert!(matches!(opened, Ok(Outcome::Opened { .. })), "{user}: {opened:?}");
    }

    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

/// What the leader writes for so many cycles of as many sessions.
pub fn batch(cycles: usize) -> Vec<Command> {
    let cycle = |n: usize| {
        [checkout(other(n), 1, n % POOLS), checkin(other(n), 2, CheckoutId(1_000 + n as u64))]
    };
    (0..cycles).flat_map(cycle).collect()
}

/// The id of another's session.
pub fn other(n: usize) -> SessionId {
    let mut id = [0; 16];
    // Spread over the whole range, as random ids are.
    let spread = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    id[8..].copy_from_slice(&(n as u64).to_be_bytes());
    SessionId(id)
}

/// Who holds.
pub fn holder(user: &str) -> Holder {
    let label = |text: &str| Label::parse(text).expect("a good name");
    Holder {
        user: label(user),
        host: label("ws-00000001.corp.example"),
        display: label(":0.0"),
        application: label("SOLVER_HPC 2026.1"),
        pid: 4_711,
        ..Holder::default()
    }
}

/// One seat of a pool.
pub fn item(pool: usize) -> Item {
    Item { feature: feature(pool), version: Version::default(), seats: Seats::MIN }
}

fn feature(pool: usize) -> FeatureName {
    FeatureName::parse(&format!("pool-{pool:04}")).expect("a good name")
}

fn checkout(session: SessionId, request: u64, pool: usize) -> Command {
    let (request, answered_through) = (RequestId(request), RequestId(request - 1));
    Command::Checkout { session, request, answered_through, items: vec![item(pool)], wait: None }
}

fn checkin(session: SessionId, request: u64, checkout: CheckoutId) -> Command {
    let (request, answered_through) = (RequestId(request), RequestId(request - 1));
    Command::Checkin { session, request, answered_through, checkout }
}
