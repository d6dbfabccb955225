//! Forged histories: for each promise that the checker watches, one that
//! breaks it, and the checker's complaint.

use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, PoolId, RequestId, Seats, Version,
};
use triad_ledger::rights::{About, License, Line, Terms};
use triad_ledger::{
    At, Auditor, ChainHash, Command, Denial, EndReason, Event, FreeSeats, Grant, Happening, Holder,
    Item, Ledger, Outcome, Silence, encode_event,
};

use crate::actions::session_id;
use crate::history::{History, Step};

fn cad() -> FeatureName {
    FeatureName::parse("cad").expect("good")
}

/// One seat of cad is licensed, and session 1 takes it.
pub fn one_seat_taken() -> Vec<Command> {
    vec![install(1, 1), open(1), checkout(1, 1)]
}

fn install(serial: u64, seats: u32) -> Command {
    install_until(serial, seats, None)
}

fn install_until(serial: u64, seats: u32, expires_ms: Option<u64>) -> Command {
    let line = Line {
        feature: cad(),
        version: Version::default(),
        seats,
        overdraft: 0,
        starts_ms: None,
        expires_ms,
        vendor_string: Label::default(),
        terms: Terms::default(),
        about: About::default(),
    };
    let license = License {
        id: LicenseId::parse("acme").expect("good"),
        publisher: Label::default(),
        serial,
        text: String::new(),
        lines: vec![line],
    };
    Command::Install { license }
}

fn open(number: u8) -> Command {
    let (session, holder) = (session_id(number), Holder::default());
    Command::Open { session, holder, lease_ms: 1, resume: false }
}

fn checkout(number: u8, request: u64) -> Command {
    let item = Item { feature: cad(), version: Version::default(), seats: Seats::MIN };
    Command::Checkout {
        session: session_id(number),
        request: RequestId(request),
        answered_through: RequestId(0),
        items: vec![item],
        wait: None,
    }
}

fn checkin(number: u8, request: u64, checkout: u64) -> Command {
    Command::Checkin {
        session: session_id(number),
        request: RequestId(request),
        answered_through: RequestId(0),
        checkout: CheckoutId(checkout),
    }
}

fn end(number: u8, term: u64) -> Command {
    Command::End { session: session_id(number), term, silence: Silence::Lease }
}

/// What a true ledger makes of these commands, in term 7.
fn truth(commands: impl IntoIterator<Item = Command>) -> Vec<Step> {
    let mut ledger = Ledger::default();
    let mut steps = Vec::new();
    for (index, command) in (1..).zip(commands) {
        let at = At { index, term: 7, cluster_ms: index, date_ms: 1000 + index };
        let answer = ledger.apply(at, &command);
        let events = ledger.take_events();
        let pools = ledger.pools().map(|(id, pool)| (id, pool.clone())).collect();
        steps.push(Step { at, command, answer, events, pools });
    }
    steps
}

fn judge(steps: &[Step]) -> Result<(), String> {
    let mut history = History::default();
    steps.iter().try_for_each(|step| history.observe(step))
}

/// The steps are true until `forge` has changed the last; then the checker
/// says `complaint`.
fn assert_caught(mut steps: Vec<Step>, complaint: &str, forge: impl FnOnce(&mut Step)) {
    assert_eq!(judge(&steps), Ok(()));
    forge(steps.last_mut().expect("some steps"));
    let verdict = judge(&steps).expect_err("a forged history passed");
    assert!(verdict.contains(complaint), "{verdict:?} instead of {complaint:?}");
}

fn event(sequence: u64, at: At, what: Happening) -> Event {
    Event { sequence, at, by: None, holder: None, pools: Vec::new(), what }
}

/// The grant of that one seat.
fn granted() -> Grant {
    match truth(one_seat_taken()).pop().map(|step| step.answer) {
        Some(Ok(Outcome::Granted(grant))) => grant,
        other => unreachable!("the seat is free: {other:?}"),
    }
}

/// One more step, told as if it had been granted checkout `number`.
fn as_if_granted(step: &mut Step, events: u64, session: u8, number: u64) {
    let mut grant = granted();
    grant.checkout = CheckoutId(number);
    let (checkout, items) = (grant.checkout, grant.items.clone());
    let what = Happening::Granted { session: session_id(session), checkout, items };
    step.events = vec![event(events + 1, step.at, what)];
    step.answer = Ok(Outcome::Granted(grant));
    step.pools.get_mut(&PoolId(1)).expect("cad").held += 1;
}

fn and(more: impl IntoIterator<Item = Command>) -> Vec<Step> {
    truth(one_seat_taken().into_iter().chain(more))
}

#[test]
fn loans_beyond_what_is_held_are_caught() {
    assert_caught(and([open(2)]), "lent more than is held", |step| {
        step.pools.get_mut(&PoolId(1)).expect("cad").borrowed = 2;
    });
}

#[test]
fn a_seat_that_lingers_too_briefly_is_caught() {
    assert_caught(and([open(2)]), "was cut short", |step| {
        let (session, checkout) = (session_id(1), CheckoutId(1));
        let (items, until_ms) = (granted().items, 1_000_000);
        let lingering = Happening::Lingering { session, checkout, items, until_ms };
        let ended = Happening::Returned { session, checkout, reason: EndReason::Lingered };
        step.events = vec![event(4, step.at, lingering), event(5, step.at, ended)];
    });
}

#[test]
fn a_seat_taken_by_one_who_needs_none_is_caught() {
    assert_caught(and([install(2, 2), open(2), checkout(2, 1)]), "is not counted", |step| {
        let mut own = step.pools[&PoolId(1)].clone();
        own.key.terms.uncounted = true;
        own.held = 0;
        step.pools.insert(PoolId(2), own);
    });
}

#[test]
fn a_seat_sold_twice_is_caught() {
    assert_caught(and([open(2), checkout(2, 1)]), "P1: oversold: granted from", |step| {
        as_if_granted(step, 4, 2, 2);
    });
}

#[test]
fn a_grant_while_overdrawn_is_caught() {
    let lowered = [checkin(1, 2, 1), install(2, 2), checkout(1, 3), checkout(1, 4)];
    let then = [install(3, 1), checkin(1, 5, 2), checkout(1, 6)];
    assert_caught(and(lowered.into_iter().chain(then)), "P1: oversold", |step| {
        as_if_granted(step, 9, 1, 4);
    });
}

#[test]
fn seats_that_appear_without_a_grant_are_caught() {
    assert_caught(and([Command::Tick]), "P1: oversold: PoolId(1) without a license", |step| {
        step.pools.get_mut(&PoolId(1)).expect("cad").held += 1;
    });
}

#[test]
fn a_count_that_sinks_without_a_license_is_caught() {
    assert_caught(and([Command::Tick]), "P1: oversold: PoolId(1) without a license", |step| {
        step.pools.get_mut(&PoolId(1)).expect("cad").licensed = 0;
    });
}

#[test]
fn a_seat_lost_without_a_return_is_caught() {
    assert_caught(and([Command::Tick]), "events say", |step| {
        step.pools.get_mut(&PoolId(1)).expect("cad").held = 0;
    });
}

#[test]
fn a_move_that_the_history_does_not_tell_is_caught() {
    assert_caught(and([install_until(2, 1, Some(9_000))]), "events say", |step| {
        step.events.remove(0);
        step.events[0].sequence -= 1;
    });
}

#[test]
fn a_move_that_changes_what_is_held_is_caught() {
    for forge in [
        |happening: &mut Happening| {
            let Happening::Moved { items, .. } = happening else { unreachable!("a renewal") };
            items[0].seats = Seats::MAX;
        },
        |happening: &mut Happening| {
            let Happening::Moved { session, .. } = happening else { unreachable!("a renewal") };
            *session = session_id(2);
        },
        |happening: &mut Happening| {
            let Happening::Moved { items, .. } = happening else { unreachable!("a renewal") };
            items[0] = granted().items.remove(0);
        },
    ] {
        let renewed = and([install_until(2, 1, Some(9_000))]);
        assert_caught(renewed, "CheckoutId(1) moved from", |step| {
            forge(&mut step.events[0].what);
        });
    }
}

#[test]
fn a_move_to_a_line_for_others_is_caught() {
    let renewed = || and([install_until(2, 1, Some(9_000))]);
    let to = |step: &mut Step, forge: fn(&mut Terms)| {
        let pool = step.pools.values_mut().next().expect("the renewed one");
        forge(&mut pool.key.terms);
    };
    assert_caught(renewed(), "moved to", |step| {
        to(step, |terms| terms.users_max = Seats::new(1));
    });
    assert_caught(renewed(), "moved to", |step| {
        to(step, |terms| terms.hostids = vec![Label::parse("ID:1").expect("good")]);
    });
}

#[test]
fn a_retry_that_gets_a_second_seat_is_caught() {
    assert_caught(and([install(2, 2), checkout(1, 1)]), "P3: first", |step| {
        as_if_granted(step, 4, 1, 2);
    });
}

#[test]
fn a_retry_that_gets_another_answer_is_caught() {
    assert_caught(and([checkout(1, 1)]), "P3: first", |step| {
        let (feature, wanted) = (cad(), Seats::MIN);
        let free = FreeSeats { pools: 1, sum: 0, largest: 0 };
        step.answer = Err(Denial::NoSeat { feature, wanted, in_use: 1, total: 1, free });
    });
}

#[test]
fn a_checkout_number_used_twice_is_caught() {
    assert_caught(and([install(2, 2), open(2), checkout(2, 1)]), "P3: CheckoutId(1)", |step| {
        as_if_granted(step, 5, 2, 1);
    });
}

#[test]
fn a_grant_to_a_session_that_is_not_open_is_caught() {
    assert_caught(and([install(2, 2), checkout(2, 1)]), "P4: CheckoutId(2)", |step| {
        as_if_granted(step, 4, 2, 2);
    });
}

#[test]
fn an_end_by_an_earlier_leader_is_caught() {
    assert_caught(and([end(1, 7)]), "was ended by a leader of term 6", |step| {
        step.command = end(1, 6);
    });
}

#[test]
fn seats_that_outlive_their_session_are_caught() {
    assert_caught(and([end(1, 7)]), "CheckoutId(1) outlives its session", |step| {
        let mut ended = step.events.remove(1);
        ended.sequence = 4;
        step.events = vec![ended];
    });
}

#[test]
fn an_end_of_nobody_is_caught() {
    assert_caught(and([end(2, 7)]), "was not open", |step| {
        let (session, holder) = (session_id(2), Holder::default());
        let (reason, checkouts) = (EndReason::Closed, 0);
        let what = Happening::Ended { session, holder, reason, checkouts };
        step.events = vec![event(4, step.at, what)];
    });
}

#[test]
fn a_session_opened_twice_is_caught() {
    assert_caught(and([open(1)]), "was opened twice", |step| {
        let what = Happening::Opened { session: session_id(1), holder: Holder::default() };
        step.events = vec![event(4, step.at, what)];
    });
}

#[test]
fn a_session_opened_after_its_end_is_caught() {
    assert_caught(and([end(1, 7), open(2)]), "P3: SessionId", |step| {
        let what = Happening::Opened { session: session_id(1), holder: Holder::default() };
        step.events[0].what = what;
    });
}

#[test]
fn a_return_by_another_session_is_caught() {
    assert_caught(and([checkin(1, 2, 1)]), "CheckoutId(1) returned, held by", |step| {
        let (session, checkout, reason) = (session_id(2), CheckoutId(1), EndReason::Closed);
        step.events[0].what = Happening::Returned { session, checkout, reason };
    });
}

#[test]
fn a_missing_event_is_caught() {
    assert_caught(and([open(2)]), "event 5 instead of 4", |step| {
        step.events[0].sequence = 5;
    });
}

#[test]
fn a_clock_that_runs_back_is_caught() {
    for back in [
        |at: &mut At| at.date_ms -= 500,
        |at: &mut At| at.cluster_ms = 0,
        |at: &mut At| at.index = 1,
    ] {
        assert_caught(and([open(2)]), "P9:", |step| back(&mut step.events[0].at));
    }
}

/// The events of a history, as a node keeps them.
fn kept(steps: &[Step]) -> Vec<Event> {
    steps.iter().flat_map(|step| step.events.clone()).collect()
}

/// What an auditor finds in these events, of a ledger that ended with `head`.
fn audited(events: &[Event], head: (u64, ChainHash)) -> Vec<String> {
    let mut auditor = Auditor::new(0, ChainHash::default());
    events.iter().for_each(|event| auditor.observe(&encode_event(event)));
    auditor.finish(head).faults
}

fn head_of(events: &[Event]) -> (u64, ChainHash) {
    let chain = events.iter().fold(ChainHash::default(), |c, e| c.extend(&encode_event(e)));
    (events.last().map_or(0, |event| event.sequence), chain)
}

#[test]
fn an_auditor_finds_nothing_in_the_truth() {
    let events = kept(&and([checkin(1, 2, 1), end(1, 7)]));
    assert_eq!(audited(&events, head_of(&events)), [] as [&str; 0]);
}

#[test]
fn an_auditor_finds_what_was_altered_removed_or_added() {
    let events = kept(&and([checkin(1, 2, 1)]));
    let head = head_of(&events);
    let finds = |forge: &dyn Fn(&mut Vec<Event>), complaint: &str| {
        let mut forged = events.clone();
        forge(&mut forged);
        let faults = audited(&forged, head);
        assert!(faults.iter().any(|fault| fault.contains(complaint)), "{faults:?}, {complaint:?}");
    };
    let grant = events.iter().position(|e| matches!(e.what, Happening::Granted { .. }));
    let grant = grant.expect("one was granted");
    finds(&|e| e[grant].pools[0].total += 1, "the chain of hashes is broken");
    finds(&|e| drop(e.remove(grant)), "follows event");
    finds(&|e| drop(e.pop()), "the history ends at event");
    finds(&|e| e[grant].pools[0].held += 1, "are said to be held");
    finds(&|e| e[grant].pools[0].total = 0, "oversold");
    finds(&|e| e[grant].at.cluster_ms += 1 << 40, "time runs back");
    finds(&|e| e[grant].sequence = u64::MAX, "follows event");
    finds(&|e| e[grant].what = Happening::PolicySet { version: 1 }, "was not held");
}
