//! The naive ledger with one mistake each: random histories must find every
//! one of them, or they do not reach the rule that is broken.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::actions::histories;
use crate::reference::Reference;
use crate::replicas::Cadence;

/// What a careless ledger might do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    AcceptsOldSerials,
    AnyoneMayResume,
    ChecksInForOthers,
    DateRunsBack,
    EndKeepsSeats,
    EvictsWhenLowered,
    ExpiryStrands,
    ExpiryTakesHalf,
    ForgetsAnswers,
    ForgetsDenials,
    HeedsOldLeaders,
    IgnoresExclude,
    IgnoresInclude,
    IgnoresMax,
    IgnoresReserve,
    IgnoresStarts,
    IgnoresSupersedes,
    IgnoresVersions,
    KeepsHalfACheckout,
    LastDayTooLong,
    LendsTheLastingFirst,
    MovesPastThePolicy,
    NoOverdraft,
    Oversells,
    RenewalStrands,
    ReopensEnded,
    ReservesWhatIsHeld,
    ResumeOpens,
    SupersedesTooEarly,
}

const ALL: [Mistake; 29] = [
    Mistake::AcceptsOldSerials,
    Mistake::AnyoneMayResume,
    Mistake::ChecksInForOthers,
    Mistake::DateRunsBack,
    Mistake::EndKeepsSeats,
    Mistake::EvictsWhenLowered,
    Mistake::ExpiryStrands,
    Mistake::ExpiryTakesHalf,
    Mistake::ForgetsAnswers,
    Mistake::ForgetsDenials,
    Mistake::HeedsOldLeaders,
    Mistake::IgnoresExclude,
    Mistake::IgnoresInclude,
    Mistake::IgnoresMax,
    Mistake::IgnoresReserve,
    Mistake::IgnoresStarts,
    Mistake::IgnoresSupersedes,
    Mistake::IgnoresVersions,
    Mistake::KeepsHalfACheckout,
    Mistake::LastDayTooLong,
    Mistake::LendsTheLastingFirst,
    Mistake::MovesPastThePolicy,
    Mistake::NoOverdraft,
    Mistake::Oversells,
    Mistake::RenewalStrands,
    Mistake::ReopensEnded,
    Mistake::ReservesWhatIsHeld,
    Mistake::ResumeOpens,
    Mistake::SupersedesTooEarly,
];

/// Several times what the slowest mistake takes to be found.
const HISTORIES_MAX: usize = 400;

#[test]
fn every_mistake_is_found() {
    let mut dice = TestRunner::deterministic();
    let strategy = histories(500..501);
    let mut draw = || strategy.new_tree(&mut dice).expect("nothing is rejected").current();
    let histories: Vec<_> = (0..HISTORIES_MAX).map(|_| draw()).collect();
    for mistake in ALL {
        let found = histories.iter().position(|actions| {
            let reference = Reference::with(mistake);
            crate::run(actions, Cadence::NEVER, reference).is_err()
        });
        assert!(found.is_some(), "{mistake:?} was not found in {HISTORIES_MAX} histories");
    }
}
