//! Histories of a small cluster, as in the ledger's own tests, but steered by what they reach:
//! three ledgers, the naive one and the promises must agree after every command.

#![no_main]

// What the ledger's tests use beside.
#[allow(dead_code)]
#[path = "../../../crates/triad-ledger/tests/model/actions.rs"]
mod actions;
#[allow(dead_code)]
#[path = "../../../crates/triad-ledger/tests/model/history.rs"]
mod history;
#[allow(dead_code, unused_imports)]
#[path = "../../../crates/triad-ledger/tests/model/mistakes.rs"]
mod mistakes;
#[allow(dead_code)]
#[path = "../../../crates/triad-ledger/tests/model/reference.rs"]
mod reference;
#[allow(dead_code)]
#[path = "../../../crates/triad-ledger/tests/model/replicas.rs"]
mod replicas;

use actions::{Action, histories, rich_histories};
use libfuzzer_sys::{Corpus, fuzz_target};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reference::Reference;
use replicas::{Cluster, cadences};

/// The bytes that decide one action. Two are enough for all that is likely, and so few that an
/// input which grows or shrinks by a piece of another still says much of the same.
const ACTION_BYTES: usize = 2;
/// The actions of one history.
const ACTIONS_MAX: usize = 150;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else { return Corpus::Reject };
    let plain = kind % 2 == 0;
    let one = match plain {
        true => histories(1..2).boxed(),
        false => rich_histories(1..2).boxed(),
    };
    let actions: Vec<Action> =
        rest.chunks(ACTION_BYTES).take(ACTIONS_MAX).flat_map(|seed| drawn(&one, seed)).collect();
    let mut cluster = Cluster::new(drawn(&cadences(), &[*kind]), plain.then(Reference::default));
    for (step, action) in actions.iter().enumerate() {
        if let Err(wrong) = cluster.step(action) {
            panic!("step {step}, {action:?}: {wrong}\n{actions:#?}");
        }
    }
    if let Err(wrong) = cluster.finish() {
        panic!("at the end: {wrong}\n{actions:#?}");
    }
    Corpus::Keep
});

/// What the dice of this seed make of a strategy.
fn drawn<S: Strategy>(strategy: &S, seed: &[u8]) -> S::Value {
    let mut whole = [0x5A; 16];
    whole[..seed.len()].copy_from_slice(seed);
    let dice = TestRng::from_seed(RngAlgorithm::XorShift, &whole);
    let mut dice = TestRunner::new_with_rng(Config::default(), dice);
    strategy.new_tree(&mut dice).expect("nothing is rejected").current()
}
