//! A main server and a back-up that took over: two ledgers that go on from one,
//! apart, and then are one again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use triad_ledger::names::{CheckoutId, SessionId};
use triad_ledger::{
    Auditor, ChainHash, Command, EPOCH_NUMBERS, EndReason, Happening, Ledger, Outcome, Stay,
    Takeover, decode_commands, encode_commands, encode_event,
};

use crate::actions::{Action, Scribe, rich_histories};

/// A ledger, who writes to it, and what it told.
struct Server {
    scribe: Scribe,
    ledger: Ledger,
    events: Vec<triad_ledger::Event>,
}

impl Server {
    fn new() -> Self {
        Server { scribe: Scribe::default(), ledger: Ledger::default(), events: Vec::new() }
    }

    fn apply(&mut self, action: &Action) {
        let last = self.ledger.checkouts(CheckoutId(0)).last().map_or(0, |(id, _)| id.0);
        let (at, command) = self.scribe.write(action, last, self.ledger.state_hash());
        // A hash of another ledger is no business of this test.
        let command = match command {
            Command::Compare { .. } => Command::Tick,
            // A back-up serves by the rights and the policy that it has.
            Command::Install { .. } | Command::SetPolicy { .. } if self.ledger.epoch() % 2 == 1 => {
                Command::Tick
            }
            command => command,
        };
        let _ = self.ledger.apply(at, &command);
        self.events.extend(self.ledger.take_events());
    }

    fn command(&mut self, command: &Command) -> Outcome {
        let at = self.scribe.stamp();
        let answer = self.ledger.apply(at, command).expect("it is not denied");
        self.events.extend(self.ledger.take_events());
        self.ledger.assert_balanced();
        answer
    }

    /// What was given back by somebody's word since the epoch began.
    fn released(&self) -> BTreeSet<CheckoutId> {
        let (_, _, last) = self.ledger.epoch_begun();
        let since = self.events.iter().filter(|event| event.sequence > last);
        let released = since.filter_map(|event| match event.what {
            Happening::Returned { checkout, reason, .. } => {
                matches!(reason, EndReason::Closed | EndReason::Revoked).then_some(checkout)
            }
            _ => None,
        });
        released.collect()
    }
}

fn written_and_read(command: &Command) -> Command {
    let bytes = encode_commands(std::slice::from_ref(command));
    decode_commands(&bytes).expect("as it was written").remove(0)
}

fn adopt(main: &mut Server, parts: &[Takeover]) -> Vec<Outcome> {
    let adopt = |part: &Takeover| Command::Adopt { takeover: Box::new(part.clone()) };
    let commands: Vec<Command> = parts.iter().map(adopt).collect();
    let mut answers = Vec::new();
    for command in &commands {
        assert_eq!(written_and_read(command), *command);
        answers.push(main.command(command));
    }
    answers
}

/// What is held live, and by whom.
fn live(server: &Server) -> BTreeSet<(CheckoutId, SessionId)> {
    let all = server.ledger.checkouts(CheckoutId(0));
    let live = all.filter(|(_, checkout)| checkout.stay == Stay::Live);
    live.map(|(id, checkout)| (id, checkout.session)).collect()
}

/// Both go on from the same ledger, with these actions.
fn parted(common: &[Action], at_main: &[Action], at_backup: &[Action]) -> (Server, Server) {
    let [mut main, mut backup] = [(); 2].map(|()| Server::new());
    for server in [&mut main, &mut backup] {
        common.iter().for_each(|action| server.apply(action));
    }
    assert_eq!(main.ledger.chain(), backup.ledger.chain());
    backup.command(&Command::BeginEpoch { epoch: 1, adopted: 0, restored: false });
    at_backup.iter().for_each(|action| backup.apply(action));
    at_main.iter().for_each(|action| main.apply(action));
    (main, backup)
}

proptest! {
    #![proptest_config(crate::quiet())]

    /// P1, P5: whatever a main and its back-up did apart, the main holds afterwards what either
    /// granted and nobody gave back, no number stands for two checkouts, the books balance, and
    /// the history is proven.
    #[test]
    fn what_both_granted_is_held_by_the_main(
        common in rich_histories(20..120),
        at_main in rich_histories(0..60),
        at_backup in rich_histories(1..120),
    ) {
        let (mut main, backup) = parted(&common, &at_main, &at_backup);
        // What is due is done before it is looked.
        main.command(&Command::BeginEpoch { epoch: 2, adopted: 0, restored: false });
        let before: Vec<_> =
            main.ledger.checkouts(CheckoutId(0)).map(|(id, _)| id).collect();
        let parts = backup.ledger.takeover(backup.released());
        let released: BTreeSet<_> = parts.iter().flat_map(|part| part.released.clone()).collect();
        adopt(&mut main, &parts);
        for (id, theirs) in backup.ledger.checkouts(CheckoutId(EPOCH_NUMBERS - 1)) {
            let ours = main.ledger.find_checkout(id);
            let items = backup.ledger.granted_items(theirs).into_iter();
            let mut features = items.flat_map(|item| {
                [item.feature].into_iter().chain(item.tokens.map(|tokens| tokens.feature))
            });
            let is_known = |feature| main.ledger.pools().any(|(_, pool)| pool.key.feature == feature);
            if ours.is_none() && !features.all(is_known) {
                // What the main may not lend any more it does not count either.
                continue;
            }
            let is_over = match theirs.stay {
                Stay::Live => false,
                Stay::Lingering { .. } => true,
                Stay::Borrowed { until_ms, .. } => until_ms <= main.ledger.at().date_ms,
            };
            if is_over {
                continue;
            }
            prop_assert!(ours.is_some(), "{id} was granted by the back-up and is not held");
            let ours = ours.unwrap();
            prop_assert_eq!((ours.session, ours.since_ms), (theirs.session, theirs.since_ms));
        }
        prop_assert!(main.ledger.suspect_count() == 0, "the back-up may have heard them");
        for id in before {
            let held = main.ledger.find_checkout(id).is_some();
            prop_assert_eq!(held, !released.contains(&id), "{}", id);
        }
        for (id, _) in backup.ledger.sessions(None) {
            prop_assert!(main.ledger.session(id).is_some(), "{id} is gone");
        }
        // Again: nothing more happens.
        let hash = |server: &mut Server| {
            server.ledger.take_changes();
            server.ledger.records().filter(|(key, _)| key[0] != 0).collect::<Vec<_>>()
        };
        let once = hash(&mut main);
        for answer in adopt(&mut main, &parts) {
            prop_assert!(matches!(answer, Outcome::Adopted { checkouts: 0, .. }), "{:?}", answer);
        }
        prop_assert_eq!(hash(&mut main), once);

        // What comes later of that epoch is void.
        main.command(&Command::BeginEpoch { epoch: 0, adopted: 1, restored: false });
        for answer in adopt(&mut main, &parts) {
            prop_assert_eq!(answer, Outcome::Void);
        }
        let restored = Ledger::from_records(main.ledger.records()).expect("as it was recorded");
        prop_assert_eq!(restored.state_hash(), { main.ledger.take_changes(); main.ledger.state_hash() });
        let mut auditor = Auditor::new(0, ChainHash::default());
        main.events.iter().for_each(|event| auditor.observe(&encode_event(event)));
        let last = main.events.last().map_or(0, |event| event.sequence);
        let audit = auditor.finish((last, main.ledger.chain()));
        prop_assert!(audit.faults.is_empty(), "{:?}", audit.faults);

        // And life goes on.
        at_main.iter().for_each(|action| main.apply(action));
        main.ledger.assert_balanced();
    }

    /// A main that was dead meanwhile has afterwards exactly what the back-up had.
    #[test]
    fn a_main_that_was_away_holds_what_the_back_up_held(
        common in rich_histories(20..120),
        at_backup in rich_histories(1..120),
    ) {
        let (mut main, backup) = parted(&common, &[], &at_backup);
        let parts = backup.ledger.takeover(backup.released());
        main.command(&Command::BeginEpoch { epoch: 2, adopted: 0, restored: false });
        adopt(&mut main, &parts);
        for held in live(&backup) {
            prop_assert!(live(&main).contains(&held), "{:?} is lost", held);
        }
    }

    /// P5: the main took over, or tried to, and fell again; the back-up heard nothing of it and
    /// goes on, in an epoch of its own. What it grants then is taken over as well.
    #[test]
    fn a_back_up_that_goes_on_is_taken_over_again(
        common in rich_histories(20..120),
        first in rich_histories(1..80),
        then in rich_histories(1..80),
        is_done in any::<bool>(),
    ) {
        let (mut main, mut backup) = parted(&common, &[], &first);
        main.command(&Command::BeginEpoch { epoch: 2, adopted: 0, restored: false });
        if is_done {
            adopt(&mut main, &backup.ledger.takeover(backup.released()));
            main.command(&Command::BeginEpoch { epoch: 0, adopted: 1, restored: false });
        }
        let begun = backup.ledger.epoch_begun();
        backup.command(&Command::BeginEpoch { epoch: 3, adopted: 0, restored: false });
        prop_assert_eq!(backup.ledger.epoch_begun(), begun, "it may serve no longer for that");
        then.iter().for_each(|action| backup.apply(action));
        main.command(&Command::BeginEpoch { epoch: 4, adopted: 0, restored: false });
        adopt(&mut main, &backup.ledger.takeover(backup.released()));
        for held in live(&backup) {
            prop_assert!(live(&main).contains(&held), "{:?} is lost", held);
        }
    }
}
