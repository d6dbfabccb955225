//! The session table of a leader: when each session was last heard, and which
//! have fallen silent. Pure: `now` is an argument, and nothing here touches a
//! socket, a disk or the ledger.
//!
//! The ledger knows which sessions are open; only the leader knows, in memory,
//! how long each may still stay silent. So a heartbeat costs no disk write, and
//! a new leader starts by giving everybody one full lease; but those who have
//! missed two beats are marked in the log, and get only the rest of theirs.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::Silence;
use triad_ledger::names::SessionId;
use triad_proto::net::block_of;

use crate::mutation::{self, Mutation};

/// A client's clock may run slower than ours, so it is given a little more than
/// its lease: one part in this many. Clocks that differ by more are broken.
const DRIFT_ALLOWANCE: u32 = 128;
/// A timer that fires later than this was held up: the process was stopped, or
/// the machine was. Nobody could be heard meanwhile, so it is nobody's silence.
const STALL_MIN: Duration = Duration::from_millis(50);
/// An end whose outcome is unknown is proposed again after this.
const END_RETRY: Duration = Duration::from_millis(500);
/// Sessions looked at in one go. One lease after a promotion all of them come
/// due at once; the rest wait for the next tick.
const LOOKS_MAX: usize = 4_096;
/// Streams of one session that are remembered. A client has one, and for a
/// moment two when it reconnects.
const STREAMS_MAX: usize = 8;
/// Missed beats after which a session is a suspect.
const SUSPECT_BEATS: u32 = 2;
/// What the grace of a closed socket is given on top, since client and server
/// each count from when they noticed: a quarter, and at least this.
const GRACE_MARGIN_MIN: Duration = Duration::from_millis(500);

/// Sessions that one address may open: a twentieth of what a ledger keeps, and
/// more than the machines behind one gateway come to.
pub const SESSIONS_PER_ADDRESS_MAX: u32 = 100_000;

/// One socket's stream, numbered by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub u64);

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The lease is extended: acknowledge it.
    Kept,
    /// The lease is extended, but the log says that it is silent: acknowledge it
    /// only when that is taken back there.
    Marked(Mark),
    /// Its end has been proposed and cannot be taken back: do not acknowledge.
    Ending,
    /// A session that would be one too many of its address.
    Crowded,
    /// Not a session of this leader.
    Unknown,
}

/// One marking of one session in the log, to tell a later one from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// What the ledger knows of a session, for a new leader.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Which.
    pub id: SessionId,
    /// How long it may stay silent.
    pub lease: Duration,
    /// How often it is to be heard.
    pub beat: Duration,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// For how long it has been silent, if that is marked.
    pub silent: Option<Duration>,
}

/// Who has been silent for too long.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fallen {
    /// Their time is over.
    pub ended: Vec<(SessionId, Silence)>,
    /// Two beats were missed; and for how long it has been silent.
    pub suspects: Vec<(SessionId, Duration)>,
}

/// The sessions of one term of leadership.
#[derive(Debug)]
pub struct Sessions {
    disconnect_grace: Duration,
    /// Whether suspects are marked.
    marks: bool,
    next_mark: u64,
    entries: HashMap<SessionId, Entry>,
    /// When each session must be looked at. An entry may be out of date; it is
    /// then put back at the right time, so a heartbeat need not move it.
    due: BTreeSet<(Instant, SessionId)>,
    /// How many sessions each address has.
    crowds: HashMap<IpAddr, u32>,
    began: Instant,
    /// How long this process was held up, all in all.
    stalled: Duration,
    /// How often [`Sessions::tick`] is called.
    interval: Duration,
    /// A call from then on is late. `None` before the first tick.
    on_time_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    /// The ledger has said that it is open.
    is_known: bool,
    /// Where it was opened from, as the sessions of one address are counted.
    address: Option<IpAddr>,
    lease: Duration,
    beat: Duration,
    heard: Instant,
    /// [`Sessions::stalled`] when it was last heard: later stalls are forgiven.
    stalled_before: Duration,
    /// The lease of the leader before, until it is first heard.
    leader_before: Duration,
    /// How long it was silent under leaders before, until it is first heard.
    silent_before: Duration,
    /// The log says that it is silent, or may say so soon.
    mark: Option<Mark>,
    /// The streams that are open, the newest last.
    streams: Vec<StreamId>,
    /// When the client's kernel closed its last socket, if nobody has come back.
    closed: Option<Instant>,
    /// When the end was last proposed, and how many proposals may still be
    /// applied.
    ending: Option<Instant>,
    ends_under_way: u32,
    /// How many proposals that open it may still be applied.
    openings_under_way: u32,
}

impl Entry {
    fn new(lease: Duration, beat: Duration, now: Instant, stalled: Duration) -> Self {
        Entry {
            is_known: false,
            address: None,
            lease,
            beat,
            heard: now,
            stalled_before: stalled,
            leader_before: Duration::ZERO,
            silent_before: Duration::ZERO,
            mark: None,
            streams: Vec::new(),
            closed: None,
            ending: None,
            ends_under_way: 0,
            openings_under_way: 0,
        }
    }

    /// Before this, nobody's silence counts.
    fn counts_from(&self, stalled: Duration) -> Instant {
        self.heard + self.leader_before + (stalled - self.stalled_before)
    }

    fn lease_ends(&self, stalled: Duration) -> Instant {
        let rest = self.lease.saturating_sub(self.silent_before) + self.lease / DRIFT_ALLOWANCE;
        self.counts_from(stalled) + rest
    }

    fn suspect_at(&self, stalled: Duration) -> Instant {
        self.counts_from(stalled) + self.beat * SUSPECT_BEATS
    }

    fn verdict(&self, grace: Duration, stalled: Duration) -> (Instant, Silence) {
        let lease_ends = self.lease_ends(stalled);
        match self.closed.map(|closed| closed + grace) {
            Some(ends) if ends < lease_ends => (ends, Silence::Disconnect),
            _ => (lease_ends, Silence::Lease),
        }
    }

    fn hear(&mut self, now: Instant, stalled: Duration) {
        self.heard = now;
        self.stalled_before = stalled;
        self.leader_before = Duration::ZERO;
        self.silent_before = Duration::ZERO;
        self.closed = None;
    }
}

impl Sessions {
    /// A new leader's table. Every open session gets one full lease, and on top
    /// of it the time for which the leader before may still have acknowledged
    /// heartbeats. One that is marked gets the rest of its lease: no leader before
    /// acknowledged a heartbeat of it without the log saying so.
    pub fn promoted(
        open: impl IntoIterator<Item = Known>,
        leader_before: Duration,
        disconnect_grace: Duration,
        now: Instant,
    ) -> Self {
        let margin = (disconnect_grace / 4).max(GRACE_MARGIN_MIN);
        let mut sessions = Sessions {
            disconnect_grace: disconnect_grace + margin,
            marks: false,
            next_mark: 0,
            entries: HashMap::new(),
            due: BTreeSet::new(),
            crowds: HashMap::new(),
            began: now,
            interval: Duration::ZERO,
            on_time_until: None,
            stalled: Duration::ZERO,
        };
        for Known { id, lease, beat, address, silent } in open {
            let address = address.map(block_of);
            let new = Entry::new(lease, beat, now, Duration::ZERO);
            let mut entry = Entry { is_known: true, address, leader_before, ..new };
            if let Some(silent_before) = silent {
                entry.mark = Some(sessions.new_mark());
                (entry.silent_before, entry.leader_before) = (silent_before, Duration::ZERO);
            }
            sessions.due.insert((sessions.look_at(&entry, entry.lease_ends(Duration::ZERO)), id));
            sessions.entries.insert(id, entry);
            if let Some(address) = address {
                *sessions.crowds.entry(address).or_default() += 1;
            }
        }
        sessions
    }

    /// From now on, or no longer, sessions that miss two beats are named as suspects.
    pub fn mark_suspects(&mut self, marks: bool) {
        if marks && !self.marks {
            let at = |(id, entry): (&SessionId, &Entry)| (entry.suspect_at(self.stalled), *id);
            self.due.extend(self.entries.iter().map(at));
        }
        self.marks = marks;
    }

    fn new_mark(&mut self) -> Mark {
        self.next_mark += 1;
        Mark(self.next_mark)
    }

    /// When an entry is to be looked at that ends at this time.
    fn look_at(&self, entry: &Entry, ends: Instant) -> Instant {
        let may_mark = self.marks && entry.is_known && entry.mark.is_none();
        if may_mark { ends.min(entry.suspect_at(self.stalled)) } else { ends }
    }

    /// How many sessions are watched.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is watched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A session is about to be opened or resumed. Called *before* the ledger
    /// is asked, so that no open session is ever unwatched; an end of one that
    /// never came about does nothing. Opening counts as a heartbeat, also when
    /// it is repeated; a mark is gone when it is committed ([`Sessions::unmarked`]).
    pub fn opening(
        &mut self,
        id: SessionId,
        (lease, beat): (Duration, Duration),
        address: Option<IpAddr>,
        now: Instant,
    ) -> Heard {
        self.notice_stall(now);
        let stalled = self.stalled;
        let Some(entry) = self.entries.get_mut(&id) else {
            let address = address.map(block_of);
            if let Some(address) = address {
                let crowd = self.crowds.entry(address).or_default();
                if *crowd >= SESSIONS_PER_ADDRESS_MAX {
                    return Heard::Crowded;
                }
                *crowd += 1;
            }
            let entry = Entry { address, ..Entry::new(lease, beat, now, stalled) };
            self.due.insert((entry.lease_ends(stalled), id));
            self.entries.insert(id, entry);
            return Heard::Kept;
        };
        if entry.ending.is_some() {
            return Heard::Ending;
        }
        entry.lease = entry.lease.max(lease);
        if mutation::is_on(Mutation::OpenDoesNotRefresh) {
            return Heard::Kept;
        }
        entry.hear(now, stalled);
        entry.closed = None;
        entry.mark.map_or(Heard::Kept, Heard::Marked)
    }

    /// The ledger says that the session is open, and what lease it has. A
    /// session that was opened by a proposal of an earlier term is met here for
    /// the first time.
    pub fn opened(&mut self, id: SessionId, (lease, beat): (Duration, Duration), now: Instant) {
        self.notice_stall(now);
        let stalled = self.stalled;
        let new = || Entry::new(lease, beat, now, stalled);
        let entry = self.entries.entry(id).or_insert_with(new);
        (entry.is_known, entry.lease, entry.beat) = (true, lease, beat);
        let look_at =
            if self.marks { entry.suspect_at(stalled) } else { entry.lease_ends(stalled) };
        self.due.insert((look_at, id));
    }

    /// This mark of the session is gone from the log; a later one is not.
    pub fn unmarked(&mut self, id: SessionId, mark: Mark) {
        let stalled = self.stalled;
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.mark == Some(mark)
        {
            entry.mark = None;
            self.due.insert((entry.suspect_at(stalled), id));
        }
    }

    /// Its opening is proposed.
    pub fn opening_begins(&mut self, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.openings_under_way += 1;
        }
    }

    /// One such proposal was applied, or never will be.
    pub fn opening_is_over(&mut self, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.openings_under_way = entry.openings_under_way.saturating_sub(1);
        }
    }

    /// The session was certainly not opened by this. If nobody speaks for it, and
    /// it was not open before, it need not be watched.
    pub fn not_opened(&mut self, id: SessionId) {
        let idle = |entry: &Entry| {
            let may_open = entry.is_known || entry.openings_under_way > 0;
            !may_open && entry.streams.is_empty() && entry.ending.is_none()
        };
        if self.entries.get(&id).is_some_and(idle) {
            self.ended(id);
        }
    }

    /// A heartbeat arrived.
    pub fn heard(&mut self, id: SessionId, now: Instant) -> Heard {
        self.notice_stall(now);
        match self.entries.get_mut(&id) {
            _ if mutation::is_on(Mutation::LateHeartbeatRevives) => Heard::Kept,
            None => Heard::Unknown,
            Some(entry) if entry.ending.is_some() => Heard::Ending,
            Some(entry) => {
                entry.hear(now, self.stalled);
                match entry.mark {
                    Some(mark) if !mutation::is_on(Mutation::SuspectHeardAtOnce) => {
                        Heard::Marked(mark)
                    }
                    _ => Heard::Kept,
                }
            }
        }
    }

    /// The session now speaks through this stream. An earlier one may still be
    /// open for a while.
    pub fn attach(&mut self, id: SessionId, stream: StreamId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.streams.len() >= STREAMS_MAX {
                entry.streams.remove(0);
            }
            entry.streams.push(stream);
            entry.closed = None;
        }
    }

    /// A stream is over. `closed`: the client's kernel closed the socket, which
    /// is what it does when the process dies. A timeout is no such sign, and a
    /// session that has another stream is not dead.
    pub fn detach(&mut self, id: SessionId, stream: StreamId, closed: bool, now: Instant) {
        self.notice_stall(now);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let open = entry.streams.len();
        entry.streams.retain(|other| *other != stream);
        let was_open = entry.streams.len() < open;
        if was_open && closed && entry.streams.is_empty() {
            entry.closed = Some(now);
            self.due.insert((now + self.disconnect_grace, id));
        }
    }

    /// The session is gone from the ledger.
    pub fn ended(&mut self, id: SessionId) {
        let address = self.entries.remove(&id).and_then(|entry| entry.address);
        let Some(address) = address else { return };
        if let Some(crowd) = self.crowds.get_mut(&address) {
            *crowd -= 1;
            if *crowd == 0 {
                self.crowds.remove(&address);
            }
        }
    }

    /// One proposal of its end was certainly not applied. When none is left
    /// that may be, it can be heard again.
    pub fn end_refused(&mut self, id: SessionId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.ends_under_way = entry.ends_under_way.saturating_sub(1);
            if entry.ends_under_way == 0 {
                entry.ending = None;
                self.due.insert((now + END_RETRY, id));
            }
        }
    }

    /// Looks at the time. Call it every `interval`; a call that comes late
    /// means that this process was held up, and everybody is forgiven that.
    pub fn tick(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.on_time_until.get_or_insert(self.began + interval + STALL_MIN);
        self.notice_stall(now);
        self.on_time_until = Some(now + interval + STALL_MIN);
    }

    /// Forgives what held this process up until now. What is heard after it must not be taken for
    /// something that came before: it would be forgiven a time in which it was not silent.
    fn notice_stall(&mut self, now: Instant) {
        let Some(until) = self.on_time_until.filter(|until| now >= *until) else { return };
        if mutation::is_on(Mutation::NoStallForgiveness) {
            return;
        }
        let late = (now - until) + STALL_MIN;
        self.on_time_until = Some(now + self.interval + STALL_MIN);
        self.stalled += late;
        // A close that was seen before the stall gets its grace anew.
        for entry in self.entries.values_mut() {
            entry.closed = entry.closed.map(|closed| closed + late);
        }
    }

    /// The sessions whose silence has lasted too long. Each is named once, and
    /// again while its end may have got lost; it is not acknowledged any more.
    pub fn fallen(&mut self, now: Instant) -> Fallen {
        let mut fallen = Fallen::default();
        for _ in 0..LOOKS_MAX {
            let Some(&(at, id)) = self.due.first().filter(|(at, _)| *at <= now) else { break };
            self.due.remove(&(at, id));
            let (marks, next_mark) = (self.marks, Mark(self.next_mark + 1));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let (ends, silence) = entry.verdict(self.disconnect_grace, self.stalled);
            if entry.ending.is_none() && ends > now {
                let is_unmarked = marks && entry.is_known && entry.mark.is_none();
                if is_unmarked && entry.suspect_at(self.stalled) <= now {
                    // From here on no heartbeat of it is acknowledged without the log.
                    entry.mark = Some(next_mark);
                    self.next_mark += 1;
                    fallen.suspects.push((id, now - entry.counts_from(self.stalled)));
                }
                let entry = &self.entries[&id];
                self.due.insert((self.look_at(entry, ends), id));
                continue;
            }
            if let Some(since) = entry.ending
                && now < since + END_RETRY
            {
                self.due.insert((since + END_RETRY, id));
                continue;
            }
            entry.ending = Some(now);
            entry.ends_under_way += 1;
            self.due.insert((now + END_RETRY, id));
            fallen.ended.push((id, silence));
        }
        fallen
    }
}

#[cfg(test)]
mod tests {
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
        let ended = sessions.fallen(at(t, 90.9)).ended;
        assert_eq!(ended, [(id(3), Silence::Lease), (id(1), Silence::Lease)]);
    }

    /// P15: sessions of one address are bounded, and nobody else is in their way.
    #[test]
    fn one_address_cannot_fill_the_table() {
        let t = Instant::now();
        let numbered = |n: u32| SessionId(u128::from(n).to_be_bytes());
        let from = |text: &str| Some(text.parse().unwrap());
        let almost =
            (1..SESSIONS_PER_ADDRESS_MAX).map(|n| known(numbered(n), from("10.0.0.1"), None));
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
        let Heard::Marked(mark) = sessions.heard(id(1), at(t, 20.5)) else {
            panic!("it is marked")
        };
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
}
