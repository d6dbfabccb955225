//! Random histories of one cluster: three ledgers, a naive one written
//! independently, and a checker that knows only the promises, must agree after
//! every command. `PROPTEST_CASES` sets how many histories are tried.

mod actions;
mod codec;
mod history;
mod history_forged;
mod mistakes;
mod reference;
mod replicas;
mod takeover;

use proptest::prelude::*;
use triad_ledger::names::CheckoutId;
use triad_ledger::{Ledger, RULES};

use actions::{Action, Rich, histories, rich_histories};
use reference::Reference;
use replicas::{Cadence, Cluster};

/// Runs one history; the error says which step went wrong and how.
fn run(
    actions: &[Action],
    cadence: Cadence,
    reference: impl Into<Option<Reference>>,
) -> Result<(), String> {
    let reference = reference.into();
    // The naive ledger has the newest rules alone.
    let newest = reference.is_some().then_some(Action::Rich(Rich::Raise { rules: RULES as u8 }));
    let mut cluster = Cluster::new(cadence, reference);
    if let Some(raise) = newest {
        cluster.step(&raise)?;
    }
    for (step, action) in actions.iter().enumerate() {
        cluster.step(action).map_err(|wrong| format!("step {step}, {action:?}: {wrong}"))?;
    }
    cluster.finish()
}

fn quiet() -> ProptestConfig {
    // Failures become golden scripts, not seeds in a file.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(quiet())]

    /// P1, P3, P7: random histories get the answers that a naive ledger gives, on three replicas.
    #[test]
    fn the_ledger_agrees_with_the_naive_one(
        actions in histories(800..1200),
        cadence in replicas::cadences(),
    ) {
        run(&actions, cadence, Reference::default()).map_err(TestCaseError::fail)?;
    }

    /// P1, P3, P7: policy, queue, sharing, linger, borrowing, tokens: three ledgers agree,
    /// restarts change nothing, the books balance, nobody waits in vain and
    /// nothing is oversold.
    #[test]
    fn rich_histories_keep_the_promises(
        actions in rich_histories(200..400),
        cadence in replicas::cadences(),
    ) {
        run(&actions, cadence, None).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn short_rich_histories_do_too(
        actions in rich_histories(1..40),
        cadence in replicas::cadences(),
    ) {
        run(&actions, cadence, None).map_err(TestCaseError::fail)?;
    }

    /// What goes wrong early is easiest to read here.
    #[test]
    fn short_histories_agree_too(
        actions in histories(1..40),
        cadence in replicas::cadences(),
    ) {
        run(&actions, cadence, Reference::default()).map_err(TestCaseError::fail)?;
    }
}

/// Rich histories come by everything that may happen, or they prove nothing.
#[test]
fn rich_histories_reach_everything() {
    use proptest::strategy::{Strategy, ValueTree};
    let mut dice = proptest::test_runner::TestRunner::deterministic();
    let strategy = rich_histories(400..401);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..120 {
        let actions = strategy.new_tree(&mut dice).expect("nothing is rejected").current();
        let (mut scribe, mut ledger) = (actions::Scribe::default(), Ledger::default());
        for action in &actions {
            let last = ledger.checkouts(CheckoutId(0)).last().map_or(0, |(id, _)| id.0);
            let (at, command) = scribe.write(action, last, ledger.state_hash());
            let answer = ledger.apply(at, &command);
            let events = ledger.take_events();
            let words = events.iter().map(|event| format!("{:?}", event.what));
            for words in words.chain([format!("{answer:?}")]) {
                // The names of variants, wherever they stand.
                let names = words.split(|c: char| !c.is_ascii_alphanumeric());
                seen.extend(names.filter(|name| REACHED.contains(name)).map(str::to_owned));
            }
        }
    }
    let missing: Vec<_> = REACHED.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

const REACHED: [&str; 39] = [
    "Administered",
    "AllReserved",
    "Blocked",
    "BorrowEnded",
    "BorrowLowwater",
    "BorrowNotAllowed",
    "BorrowOff",
    "BorrowTooLong",
    "Borrowed",
    "BorrowedAway",
    "Cancelled",
    "CheckoutUnknown",
    "Excluded",
    "Expired",
    "HostNotLicensed",
    "Idle",
    "LastAdmin",
    "Lingered",
    "Lingering",
    "MarkedLost",
    "Moved",
    "NoNamedUsers",
    "NotBorrowed",
    "NotIncluded",
    "NotNamed",
    "PolicyMax",
    "PolicySet",
    "PolicySuperseded",
    "QueueNonempty",
    "QueueTimedOut",
    "Queued",
    "Revoked",
    "RoleNeeded",
    "Settled",
    "TokenCreated",
    "TokenExpired",
    "TokenRevoked",
    "TokenUnknown",
    "TokenUsed",
];
