//! The paths that are counted. What a case needs is made before it is measured;
//! whatever is random in a node is fixed here.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::{decode_commands, encode_commands};

use crate::record::{self, Header, Kind};
use crate::sessions::{Fallen, Heard, Known, Sessions};
use crate::site::{self, POOLS, Site};

/// Others that hold a seat, or have a session.
const OTHERS: usize = 10_000;
/// Seats of each pool: room for all of them in one.
const SEATS: u32 = 20_000;
/// Cycles that are measured, after as many that are not.
const CYCLES: usize = 1_000;
/// Commands of one log entry under load: cycles of so many sessions.
const BATCH: usize = 64;
const LEASE: Duration = Duration::from_secs(30);

/// One path.
pub struct Case {
    /// Its name in `bounds.toml`.
    pub name: &'static str,
    /// How often it is gone.
    pub steps: u64,
    run: fn(),
}

/// All of them.
pub const CASES: [Case; 9] = [
    Case { name: "cycle", steps: CYCLES as u64, run: || cycles(Site::new(SEATS), POOLS) },
    Case { name: "cycle_beside_10k", steps: CYCLES as u64, run: beside_others },
    Case { name: "cycle_hot_pool_beside_10k", steps: CYCLES as u64, run: in_the_same_pool },
    Case { name: "command_encode", steps: 2 * BATCH as u64, run: encode },
    Case { name: "command_decode", steps: 2 * BATCH as u64, run: decode },
    Case { name: "log_record_encode", steps: CYCLES as u64, run: record_encode },
    Case { name: "log_record_decode", steps: CYCLES as u64, run: record_decode },
    Case { name: "heartbeat", steps: OTHERS as u64, run: heartbeats },
    Case { name: "session_tick_of_10k", steps: 1, run: tick },
];

/// Goes one path.
///
/// # Panics
///
/// If there is none of this name.
pub fn run(name: &str) {
    let case = CASES.iter().find(|case| case.name == name);
    (case.unwrap_or_else(|| panic!("no case {name:?}")).run)();
}

/// What is counted: valgrind knows this function by its name.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn cycles(mut site: Site, pools: usize) {
    let mut run = || (0..CYCLES).for_each(|n| site.cycle(n * 7 % pools));
    run();
    measured(run);
}

fn beside_others() {
    cycles(Site::new(SEATS).with_others(OTHERS, |n| n % POOLS), POOLS);
}

fn in_the_same_pool() {
    cycles(Site::new(SEATS).with_others(OTHERS, |_| 0), 1);
}

fn encode() {
    let batch = site::batch(BATCH);
    measured(|| black_box(encode_commands(black_box(&batch))));
}

fn decode() {
    let bytes = encode_commands(&site::batch(BATCH));
    let decoded = measured(|| decode_commands(black_box(&bytes)));
    assert!(decoded.is_ok_and(|commands| commands.len() == 2 * BATCH));
}

/// An entry as large as a batch.
fn payload() -> Vec<u8> {
    encode_commands(&site::batch(BATCH))
}

fn encode_record(payload: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    let header = Header { kind: Kind::Entry, index: 7, number: 9, durable: 8 };
    record::encode(1, black_box(header), black_box(payload), buffer);
}

fn record_encode() {
    let (payload, mut buffer) = (payload(), Vec::new());
    encode_record(&payload, &mut buffer);
    measured(|| (0..CYCLES).for_each(|_| encode_record(&payload, &mut buffer)));
}

fn record_decode() {
    let mut buffer = Vec::new();
    encode_record(&payload(), &mut buffer);
    let intact = measured(|| {
        (0..CYCLES).filter(|_| record::decode(1, black_box(&buffer)).is_some()).count()
    });
    assert_eq!(intact, CYCLES);
}

fn table(now: Instant) -> Sessions {
    let known = |n| Known {
        id: site::other(n),
        lease: LEASE,
        beat: LEASE / 6,
        address: None,
        silent: None,
    };
    let open = (0..OTHERS).map(known);
    Sessions::promoted(open, Duration::ZERO, Duration::from_secs(2), now)
}

fn heartbeats() {
    let now = Instant::now();
    let mut sessions = table(now);
    let later = now + Duration::from_secs(5);
    let kept = measured(|| {
        (0..OTHERS).filter(|n| sessions.heard(site::other(*n), later) == Heard::Kept).count()
    });
    assert_eq!(kept, OTHERS);
}

/// The tick at which all come due and were heard meanwhile: the dearest one that
/// ends nobody.
fn tick() {
    let now = Instant::now();
    let mut sessions = table(now);
    let interval = LEASE + LEASE / 64;
    let heard = now + LEASE / 2;
    (0..OTHERS).for_each(|n| assert_eq!(sessions.heard(site::other(n), heard), Heard::Kept));
    let fallen = measured(|| {
        sessions.tick(interval, now + interval);
        sessions.fallen(now + interval)
    });
    assert_eq!(fallen, Fallen::default());
}
