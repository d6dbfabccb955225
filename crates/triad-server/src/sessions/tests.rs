//! What the session table does at which time, and to whom.

use super::*;

const LEASE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(2);
const BEFORE: Duration = Duration::from_secs(1);
const TIMES: (Duration, Duration) = (LEASE, Duration::from_secs(5));
const STREAM: StreamId = StreamId(1);

fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

fn at(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

fn empty(now: Instant) -> Sessions {
    Sessions::promoted([], BEFORE, GRACE, now)
}

fn known(id: SessionId, address: Option<IpAddr>, silent: Option<f64>) -> Known {
    let (lease, beat) = TIMES;
    Known { id, lease, beat, address, silent: silent.map(Duration::from_secs_f64) }
}

#[test]
fn a_silent_session_is_named_once_and_only_after_its_lease() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    assert_eq!(sessions.heard(id(1), at(t, 10.0)), Heard::Kept);
    assert!(sessions.fallen(at(t, 39.9)).ended.is_empty());
    // A little more than the lease, for the client's slow clock.
    assert!(sessions.fallen(at(t, 40.1)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 40.3)).ended, [(id(1), Silence::Lease)]);
    assert!(sessions.fallen(at(t, 40.4)).ended.is_empty());
    assert_eq!(sessions.heard(id(1), at(t, 40.5)), Heard::Ending, "too late to be revived");
    sessions.ended(id(1));
    assert_eq!(sessions.heard(id(1), at(t, 41.0)), Heard::Unknown);
}

#[test]
fn an_end_of_unknown_outcome_is_proposed_again_and_revives_nobody() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    assert_eq!(sessions.fallen(at(t, 31.0)).ended.len(), 1);
    assert_eq!(sessions.opening(id(1), TIMES, None, at(t, 31.1)), Heard::Ending);
    assert_eq!(sessions.fallen(at(t, 31.6)).ended.len(), 1, "again");
    // One of the two was certainly not applied, the other may be.
    sessions.end_refused(id(1), at(t, 31.7));
    assert_eq!(sessions.heard(id(1), at(t, 31.8)), Heard::Ending);
    // Neither was: it may be heard again.
    sessions.end_refused(id(1), at(t, 31.9));
    assert_eq!(sessions.heard(id(1), at(t, 31.9)), Heard::Kept);
    assert!(sessions.fallen(at(t, 33.0)).ended.is_empty());
}

#[test]
fn a_new_leader_gives_one_lease_and_the_time_of_the_leader_before() {
    let t = Instant::now();
    let mut sessions = Sessions::promoted([known(id(1), None, None)], BEFORE, GRACE, t);
    assert!(sessions.fallen(at(t, 31.0)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 31.3)).ended.len(), 1);
}

#[test]
fn a_stall_is_nobodys_silence() {
    let t = Instant::now();
    let tick = Duration::from_millis(100);
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.tick(tick, at(t, 0.1));
    // The process was stopped for a minute.
    sessions.tick(tick, at(t, 60.2));
    assert!(sessions.fallen(at(t, 60.2)).ended.is_empty());
    assert!(sessions.fallen(at(t, 90.1)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 90.4)).ended.len(), 1);
}

#[test]
fn a_closed_socket_ends_a_session_soon_unless_it_comes_back() {
    let t = Instant::now();
    let mut sessions = empty(t);
    for n in 1..=4 {
        sessions.opening(id(n), TIMES, None, t);
        sessions.attach(id(n), STREAM);
    }
    sessions.detach(id(1), STREAM, true, at(t, 5.0));
    // A timeout is no death.
    sessions.detach(id(2), STREAM, false, at(t, 5.0));
    // Resumed on another stream.
    sessions.detach(id(3), STREAM, true, at(t, 5.0));
    sessions.attach(id(3), StreamId(2));
    // Of two streams one closes, whichever it is.
    sessions.attach(id(4), StreamId(2));
    sessions.detach(id(4), StreamId(2), true, at(t, 5.0));
    // The grace, and a margin for who noticed when.
    assert!(sessions.fallen(at(t, 7.4)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 7.6)).ended, [(id(1), Silence::Disconnect)]);
    sessions.ended(id(1));
    assert!(sessions.fallen(at(t, 29.0)).ended.is_empty());
}

/// P13, P4: a process that ends in good order resets its stream before it closes its connection.
/// A session that was heard after the reset, or had another stream, is not dead because of that.
#[test]
fn a_close_after_the_reset_of_the_last_stream_is_a_death() {
    let t = Instant::now();
    let mut sessions = empty(t);
    for n in 1..=4 {
        sessions.opening(id(n), TIMES, None, t);
        sessions.attach(id(n), STREAM);
    }
    sessions.attach(id(4), StreamId(2));
    let left = [1, 2, 3].map(|n| sessions.detach(id(n), STREAM, false, at(t, 5.0)).unwrap());
    assert_eq!(sessions.detach(id(4), STREAM, false, at(t, 5.0)), None);
    // One is on its way back, and one was back for a moment.
    sessions.opening(id(2), TIMES, None, at(t, 5.1));
    sessions.opening(id(3), TIMES, None, at(t, 5.1));
    sessions.attach(id(3), StreamId(2));
    assert!(sessions.detach(id(3), StreamId(2), false, at(t, 5.2)).is_some());
    for (n, left) in [1, 2, 3].into_iter().zip(left) {
        sessions.closed_after(id(n), left, at(t, 5.5));
    }
    assert!(sessions.fallen(at(t, 7.9)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 8.1)).ended, [(id(1), Silence::Disconnect)]);
}

#[test]
fn a_repeated_opening_refreshes_the_lease() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opening(id(1), TIMES, None, at(t, 20.0));
    assert!(sessions.fallen(at(t, 50.0)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 50.3)).ended.len(), 1);
}

#[test]
fn a_session_of_an_earlier_terms_proposal_is_watched_too() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opened(id(1), TIMES, t);
    assert_eq!(sessions.heard(id(1), at(t, 1.0)), Heard::Kept);
    assert_eq!(sessions.fallen(at(t, 31.3)).ended, [(id(1), Silence::Lease)]);
    // One that never came about is forgotten.
    sessions.opening(id(2), TIMES, None, at(t, 31.3));
    sessions.not_opened(id(2));
    assert_eq!(sessions.heard(id(2), at(t, 31.4)), Heard::Unknown);
}

#[test]
fn a_close_long_before_the_lease_ends_cannot_prolong_it() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.attach(id(1), STREAM);
    sessions.detach(id(1), STREAM, true, at(t, 29.9));
    assert_eq!(sessions.fallen(at(t, 30.3)).ended, [(id(1), Silence::Lease)]);
}

#[test]
fn a_session_that_could_not_be_resumed_is_watched_all_the_same() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opened(id(1), TIMES, t);
    sessions.attach(id(1), STREAM);
    sessions.detach(id(1), STREAM, false, t);
    // Its client comes back and is refused for want of a quorum, twice.
    for seconds in [1.0, 2.0] {
        sessions.opening(id(1), TIMES, None, at(t, seconds));
        sessions.not_opened(id(1));
    }
    assert_eq!(sessions.fallen(at(t, 33.0)).ended, [(id(1), Silence::Lease)]);
    // The same for one that an earlier leader opened.
    let mut sessions = Sessions::promoted([known(id(2), None, None)], BEFORE, GRACE, t);
    sessions.opening(id(2), TIMES, None, t);
    sessions.not_opened(id(2));
    assert_eq!(sessions.fallen(at(t, 33.0)).ended, [(id(2), Silence::Lease)]);
}

#[test]
fn an_opening_that_may_still_be_applied_is_watched_though_the_next_is_refused() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opening_begins(id(1));
    // Its client gave up waiting, asks again, and is refused.
    sessions.opening(id(1), TIMES, None, at(t, 1.0));
    sessions.opening_begins(id(1));
    sessions.opening_is_over(id(1));
    sessions.not_opened(id(1));
    assert_eq!(sessions.fallen(at(t, 33.0)).ended, [(id(1), Silence::Lease)]);
}

#[test]
fn an_opening_that_may_still_be_applied_is_watched_though_a_close_came_before_it() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opening_begins(id(1));
    // Its client gives it up and closes: the ledger sees that first, and nobody waits for the
    // answer to the opening.
    sessions.not_open(id(1));
    assert_eq!(sessions.fallen(at(t, 31.3)).ended, [(id(1), Silence::Lease)]);
    sessions.ended(id(1));
    assert!(sessions.is_empty());
    // One that was answered is forgotten at once.
    sessions.opening(id(2), TIMES, None, at(t, 32.0));
    sessions.opening_begins(id(2));
    sessions.opening_is_over(id(2));
    sessions.opened(id(2), TIMES, at(t, 32.0));
    sessions.not_open(id(2));
    assert!(sessions.is_empty());
}

/// P4: whoever is acknowledged has the lease, by whatever way he came.
#[test]
fn a_heartbeat_after_the_last_stream_is_worth_a_lease() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opened(id(1), TIMES, t);
    sessions.attach(id(1), STREAM);
    sessions.detach(id(1), STREAM, true, at(t, 1.0));
    assert!(matches!(sessions.heard(id(1), at(t, 2.0)), Heard::Kept));
    assert_eq!(sessions.fallen(at(t, 20.0)).ended, []);
    assert_eq!(sessions.fallen(at(t, 40.0)).ended, [(id(1), Silence::Lease)]);
}

/// P13: a session that is heard when this process goes on, and before it has looked at the time,
/// is given one lease from there, and not the time in which nobody could be heard on top.
#[test]
fn a_stall_is_forgiven_to_those_who_were_heard_before_it_and_not_after() {
    let t = Instant::now();
    let tick = Duration::from_millis(100);
    let mut sessions = empty(t);
    for n in 1..=3 {
        sessions.opening(id(n), TIMES, None, t);
        sessions.opened(id(n), TIMES, t);
        sessions.attach(id(n), STREAM);
    }
    sessions.tick(tick, at(t, 0.1));
    assert!(matches!(sessions.heard(id(1), at(t, 60.1)), Heard::Kept));
    sessions.detach(id(2), STREAM, true, at(t, 60.1));
    sessions.tick(tick, at(t, 60.2));
    assert_eq!(sessions.fallen(at(t, 63.5)).ended, [(id(2), Silence::Disconnect)]);
    sessions.ended(id(2));
    assert_eq!(sessions.fallen(at(t, 89.9)).ended, []);
    let mut ended = sessions.fallen(at(t, 90.9)).ended;
    ended.sort_by_key(|(id, _)| *id);
    assert_eq!(ended, [(id(1), Silence::Lease), (id(3), Silence::Lease)]);
}

/// P15: sessions of one address are bounded, and nobody else is in their way.
#[test]
fn one_address_cannot_fill_the_table() {
    let t = Instant::now();
    let numbered = |n: u32| SessionId(u128::from(n).to_be_bytes());
    let from = |text: &str| Some(text.parse().unwrap());
    let almost = (1..SESSIONS_PER_ADDRESS_MAX).map(|n| known(numbered(n), from("10.0.0.1"), None));
    let mut sessions = Sessions::promoted(almost, BEFORE, GRACE, t);
    let last = numbered(SESSIONS_PER_ADDRESS_MAX);
    assert_eq!(sessions.opening(last, TIMES, from("::ffff:10.0.0.1"), t), Heard::Kept);
    let more = numbered(SESSIONS_PER_ADDRESS_MAX + 1);
    assert_eq!(sessions.opening(more, TIMES, from("10.0.0.1"), t), Heard::Crowded);
    assert_eq!(sessions.opening(more, TIMES, from("10.0.0.2"), t), Heard::Kept);
    // One that is open is never in its own way, and one that ended makes room.
    assert_eq!(sessions.opening(last, TIMES, from("10.0.0.1"), t), Heard::Kept);
    sessions.ended(numbered(7));
    let next = numbered(SESSIONS_PER_ADDRESS_MAX + 2);
    assert_eq!(sessions.opening(next, TIMES, from("10.0.0.1"), t), Heard::Kept);
}

#[test]
fn who_misses_two_beats_is_marked_once_and_not_acknowledged_without_the_log() {
    let t = Instant::now();
    let mut sessions = empty(t);
    sessions.mark_suspects(true);
    sessions.opening(id(1), TIMES, None, t);
    sessions.opened(id(1), TIMES, t);
    sessions.heard(id(1), at(t, 5.0));
    assert_eq!(sessions.fallen(at(t, 14.9)), Fallen::default());
    let silent = Duration::from_secs_f64(10.5);
    assert_eq!(sessions.fallen(at(t, 15.5)).suspects, [(id(1), silent)]);
    assert_eq!(sessions.fallen(at(t, 20.0)), Fallen::default());
    let Heard::Marked(mark) = sessions.heard(id(1), at(t, 20.5)) else { panic!("it is marked") };
    assert_eq!(sessions.heard(id(1), at(t, 20.6)), Heard::Marked(mark));
    sessions.unmarked(id(1), mark);
    assert_eq!(sessions.heard(id(1), at(t, 21.0)), Heard::Kept);
    // Falling silent again, it is marked again, and what lifts the first mark
    // does not lift the second.
    assert_eq!(sessions.fallen(at(t, 31.0)).suspects.len(), 1);
    sessions.unmarked(id(1), mark);
    assert_ne!(sessions.heard(id(1), at(t, 32.0)), Heard::Kept);
    // And its lease counts from when it was heard last, marked or not.
    assert!(sessions.fallen(at(t, 62.0)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 62.3)).ended, [(id(1), Silence::Lease)]);
}

#[test]
fn a_new_leader_gives_a_suspect_the_rest_of_its_lease() {
    let t = Instant::now();
    let open = [known(id(1), None, Some(12.0)), known(id(2), None, None)];
    let mut sessions = Sessions::promoted(open, BEFORE, GRACE, t);
    assert!(sessions.fallen(at(t, 18.0)).ended.is_empty());
    assert_eq!(sessions.fallen(at(t, 18.3)).ended, [(id(1), Silence::Lease)]);
    sessions.ended(id(1));
    assert_eq!(sessions.fallen(at(t, 31.3)).ended, [(id(2), Silence::Lease)]);
    // Heard in time, it has all of it again, once the log says so.
    let mut sessions = Sessions::promoted(open, BEFORE, GRACE, t);
    let Heard::Marked(mark) = sessions.heard(id(1), at(t, 17.0)) else { panic!("marked") };
    sessions.unmarked(id(1), mark);
    assert!(sessions.fallen(at(t, 47.0)).ended.iter().all(|(ended, _)| *ended != id(1)));
    assert_eq!(sessions.fallen(at(t, 47.3)).ended, [(id(1), Silence::Lease)]);
}

#[test]
fn a_stall_makes_nobody_a_suspect() {
    let t = Instant::now();
    let tick = Duration::from_millis(100);
    let mut sessions = Sessions::promoted([known(id(1), None, None)], BEFORE, GRACE, t);
    sessions.mark_suspects(true);
    sessions.tick(tick, at(t, 0.1));
    sessions.tick(tick, at(t, 40.2));
    assert_eq!(sessions.fallen(at(t, 40.2)), Fallen::default());
    // Ten seconds, the leader's before, and the stall.
    assert!(sessions.fallen(at(t, 50.9)).suspects.is_empty());
    let silent = Duration::from_secs(10);
    assert_eq!(sessions.fallen(at(t, 51.0)).suspects, [(id(1), silent)]);
}
