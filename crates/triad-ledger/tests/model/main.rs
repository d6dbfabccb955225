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

use proptest::prelude::*;

use actions::{Action, histories};
use reference::Reference;
use replicas::{Cadence, Cluster};

/// Runs one history; the error says which step went wrong and how.
fn run(actions: &[Action], cadence: Cadence, reference: Reference) -> Result<(), String> {
    let mut cluster = Cluster::new(cadence, reference);
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

    #[test]
    fn the_ledger_agrees_with_the_naive_one(
        actions in histories(800..1200),
        cadence in replicas::cadences(),
    ) {
        run(&actions, cadence, Reference::default()).map_err(TestCaseError::fail)?;
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
