//! The session table of a leader: when each session was last heard, and which
//! have fallen silent. Pure: `now` is an argument, and nothing here touches a
//! socket, a disk or the ledger.
//!
//! The ledger knows which sessions are open; only the leader knows, in memory,
//! how long each may still stay silent. So a heartbeat costs no disk write, and
//! a new leader starts by giving everybody one full lease; but those who have
//! missed two beats are marked in the log, and get only the rest of theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
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

/// When a session was left without a stream, by the table's own clock; not before it was last heard,
/// though that clock goes back a little when a stall is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left(Awake);

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
pub struct Mark(NonZeroU64);

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
    disconnect_grace_told: Duration,
    /// With a margin.
    disconnect_grace: Duration,
    /// Whether suspects are marked.
    marks: bool,
    next_mark: NonZeroU64,
    /// Not a hash table: with a million sessions one that doubles stops the leader for as long
    /// as its followers wait for it.
    entries: BTreeMap<SessionId, Entry>,
    /// When each session must be looked at, once for each. Too early is well: it is then put
    /// back at the right time, so a heartbeat need not move it.
    due: BTreeSet<(Awake, SessionId)>,
    /// How many sessions each address has.
    crowds: HashMap<IpAddr, u32>,
    /// From where the table's own clock counts: when the table was made, and as much later as
    /// this process was held up since, all in all.
    origin: Instant,
    /// How often [`Sessions::tick`] is called.
    interval: Duration,
    /// A call from then on is late. `None` before the first tick.
    on_time_until: Option<Instant>,
}

/// A moment by a clock that stands still while this process is held up: nanoseconds from when
/// the table was made. So a stall is forgiven to all who were heard before it, and to nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Awake(i64);

impl Awake {
    const NEVER: Awake = Awake(i64::MAX);

    fn since(self, earlier: Awake) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for Awake {
    type Output = Awake;

    fn add(self, more: Duration) -> Awake {
        Awake(self.0.saturating_add(more.as_nanos() as i64))
    }
}

impl Sub<Duration> for Awake {
    type Output = Awake;

    fn sub(self, less: Duration) -> Awake {
        Awake(self.0.saturating_sub(less.as_nanos() as i64))
    }
}

/// A leader keeps one for each session that is open, so it is small.
#[derive(Debug)]
struct Entry {
    /// Where it was opened from, as the sessions of one address are counted.
    address: Option<IpAddr>,
    /// The ledger has said that it is open.
    is_known: bool,
    /// How many proposals that open it may still be applied.
    openings_under_way: u32,
    lease: Millis,
    beat: Millis,
    /// Before this, its silence does not count: when it was last heard, or may have been
    /// by the leader before.
    silent_from: Awake,
    /// The log says that it is silent, or may say so soon.
    mark: Option<Mark>,
    /// The streams that are open, the newest last.
    streams: Vec<StreamId>,
    /// When the client's kernel closed its last socket, if nobody has come back.
    closed: Option<Awake>,
    /// Where it stands in [`Sessions::due`].
    due: Awake,
    /// Its end is proposed.
    ending: Option<Box<Ending>>,
}

#[derive(Debug)]
struct Ending {
    proposed: Awake,
    /// How many proposals may still be applied.
    under_way: u32,
}

/// A lease or a part of one, which is a day at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Millis(u32);

impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Millis(time.as_millis().try_into().unwrap_or(u32::MAX))
    }
}

impl From<Millis> for Duration {
    fn from(Millis(ms): Millis) -> Self {
        Duration::from_millis(u64::from(ms))
    }
}

impl Entry {
    fn new((lease, beat): (Duration, Duration), silent_from: Awake) -> Self {
        Entry {
            address: None,
            is_known: false,
            openings_under_way: 0,
            lease: lease.into(),
            beat: beat.into(),
            silent_from,
            mark: None,
            streams: Vec::new(),
            closed: None,
            due: Awake::NEVER,
            ending: None,
        }
    }

    fn lease_ends(&self) -> Awake {
        let lease = Duration::from(self.lease);
        self.silent_from + lease + lease / DRIFT_ALLOWANCE
    }

    fn suspect_at(&self) -> Awake {
        self.silent_from + Duration::from(self.beat) * SUSPECT_BEATS
    }

    fn verdict(&self, grace: Duration) -> (Awake, Silence) {
        let lease_ends = self.lease_ends();
        match self.closed.map(|closed| closed + grace) {
            Some(ends) if ends < lease_ends => (ends, Silence::Disconnect),
            _ => (lease_ends, Silence::Lease),
        }
    }

    /// When it is to be looked at if it ends at this time.
    fn look_at(&self, marks: bool, ends: Awake) -> Awake {
        let may_mark = marks && self.is_known && self.mark.is_none();
        if may_mark { ends.min(self.suspect_at()) } else { ends }
    }

    fn hear(&mut self, now: Awake) {
        self.silent_from = now;
        self.closed = None;
    }

    /// Its client's kernel closed its last socket: it is given the grace.
    fn close(
        &mut self,
        id: SessionId,
        now: Awake,
        grace: Duration,
        due: &mut BTreeSet<(Awake, SessionId)>,
    ) {
        if mutation::is_on(Mutation::CloseIsForgotten) {
            return;
        }
        self.closed = Some(now);
        self.look(id, now + grace, due);
    }

    /// It is looked at then, or before.
    fn look(&mut self, id: SessionId, at: Awake, due: &mut BTreeSet<(Awake, SessionId)>) {
        if at < self.due {
            due.remove(&(self.due, id));
            due.insert((at, id));
            self.due = at;
        }
    }
}

impl Sessions {
    /// The grace after a closed socket that clients may count on: what they are told, as long
    /// as this table lasts.
    pub fn disconnect_grace_told(&self) -> Duration {
        self.disconnect_grace_told
    }

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
            disconnect_grace_told: disconnect_grace,
            disconnect_grace: disconnect_grace + margin,
            marks: false,
            next_mark: NonZeroU64::MIN,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            crowds: HashMap::new(),
            interval: Duration::ZERO,
            on_time_until: None,
            origin: now,
        };
        let now = sessions.awake(now);
        let mut next_mark = sessions.next_mark;
        // Collected, not inserted one by one: it is for this that everybody waits.
        let entries = open.into_iter().map(|Known { id, lease, beat, address, silent }| {
            let mut entry = Entry::new((lease, beat), now + leader_before);
            (entry.is_known, entry.address) = (true, address.map(block_of));
            if let Some(silent) = silent {
                entry.mark = Some(new_mark(&mut next_mark));
                entry.silent_from = now - silent.min(lease);
            }
            entry.due = entry.lease_ends();
            (id, entry)
        });
        sessions.entries = entries.collect();
        sessions.next_mark = next_mark;
        sessions.due = sessions.entries.iter().map(|(id, entry)| (entry.due, *id)).collect();
        for address in sessions.entries.values().filter_map(|entry| entry.address) {
            *sessions.crowds.entry(address).or_default() += 1;
        }
        sessions
    }

    /// From now on, or no longer, sessions that miss two beats are named as suspects.
    pub fn mark_suspects(&mut self, marks: bool) {
        if marks && !self.marks {
            for (id, entry) in &mut self.entries {
                entry.look(*id, entry.look_at(marks, entry.due), &mut self.due);
            }
        }
        self.marks = marks;
    }

    /// What the table's own clock says at this time.
    fn awake(&self, now: Instant) -> Awake {
        match now.checked_duration_since(self.origin) {
            Some(ahead) => Awake(0) + ahead,
            None => Awake(0) - (self.origin - now),
        }
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
        let now = self.notice_stall(now);
        let Some(entry) = self.entries.get_mut(&id) else {
            let address = address.map(block_of);
            if let Some(address) = address {
                let crowd = self.crowds.entry(address).or_default();
                if *crowd >= SESSIONS_PER_ADDRESS_MAX {
                    return Heard::Crowded;
                }
                *crowd += 1;
            }
            let mut entry = Entry { address, ..Entry::new((lease, beat), now) };
            entry.look(id, entry.lease_ends(), &mut self.due);
            self.entries.insert(id, entry);
            return Heard::Kept;
        };
        if entry.ending.is_some() {
            return Heard::Ending;
        }
        entry.lease = entry.lease.max(lease.into());
        if mutation::is_on(Mutation::OpenDoesNotRefresh) {
            return Heard::Kept;
        }
        entry.hear(now);
        entry.mark.map_or(Heard::Kept, Heard::Marked)
    }

    /// The ledger says that the session is open, and what lease it has. A
    /// session that was opened by a proposal of an earlier term is met here for
    /// the first time.
    pub fn opened(&mut self, id: SessionId, (lease, beat): (Duration, Duration), now: Instant) {
        let now = self.notice_stall(now);
        let entry = self.entries.entry(id).or_insert_with(|| Entry::new((lease, beat), now));
        (entry.is_known, entry.lease, entry.beat) = (true, lease.into(), beat.into());
        entry.look(id, entry.look_at(self.marks, entry.lease_ends()), &mut self.due);
    }

    /// This mark of the session is gone from the log; a later one is not.
    pub fn unmarked(&mut self, id: SessionId, mark: Mark) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.mark == Some(mark)
        {
            entry.mark = None;
            entry.look(id, entry.suspect_at(), &mut self.due);
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
        let now = self.notice_stall(now);
        match self.entries.get_mut(&id) {
            _ if mutation::is_on(Mutation::LateHeartbeatRevives) => Heard::Kept,
            None => Heard::Unknown,
            Some(entry) if entry.ending.is_some() => Heard::Ending,
            Some(entry) => {
                entry.hear(now);
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
            entry.streams.reserve_exact(1);
            entry.streams.push(stream);
            entry.closed = None;
        }
    }

    /// A stream is over. `closed`: the client's kernel closed the socket, which
    /// is what it does when the process dies. A timeout is no such sign, and a
    /// session that has another stream is not dead. Says so if nobody speaks for
    /// it any more and nothing was closed.
    pub fn detach(
        &mut self,
        id: SessionId,
        stream: StreamId,
        closed: bool,
        now: Instant,
    ) -> Option<Left> {
        let now = self.notice_stall(now);
        let entry = self.entries.get_mut(&id)?;
        let open = entry.streams.len();
        entry.streams.retain(|other| *other != stream);
        let is_last = entry.streams.len() < open && entry.streams.is_empty();
        if is_last && closed {
            entry.close(id, now, self.disconnect_grace, &mut self.due);
        }
        (is_last && !closed).then(|| Left(now.max(entry.silent_from)))
    }

    /// The socket of the stream that was a session's last was closed after it. Who was heard
    /// since speaks through another.
    pub fn closed_after(&mut self, id: SessionId, left: Left, now: Instant) {
        let now = self.notice_stall(now);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.streams.is_empty() && entry.silent_from <= left.0 {
            entry.close(id, now, self.disconnect_grace, &mut self.due);
        }
    }

    /// The ledger did not know the session, or has closed it. One whose opening is still under
    /// way may be open after that: it goes on being watched.
    pub fn not_open(&mut self, id: SessionId) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.openings_under_way > 0 => entry.is_known = false,
            _ => self.ended(id),
        }
    }

    /// The session is gone from the ledger, for good.
    pub fn ended(&mut self, id: SessionId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.due.remove(&(entry.due, id));
        let Some(address) = entry.address else { return };
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
        let now = self.awake(now);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match &mut entry.ending {
            Some(ending) if ending.under_way > 1 => ending.under_way -= 1,
            _ => {
                entry.ending = None;
                entry.look(id, now + END_RETRY, &mut self.due);
            }
        }
    }

    /// Looks at the time. Call it every `interval`; a call that comes late
    /// means that this process was held up, and everybody is forgiven that.
    pub fn tick(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.on_time_until.get_or_insert(self.origin + interval + STALL_MIN);
        self.notice_stall(now);
        self.on_time_until = Some(now + interval + STALL_MIN);
    }

    /// Forgives what held this process up until now, and tells what the table's own clock says
    /// then. What is heard after it must not be taken for something that came before: it would
    /// be forgiven a time in which it was not silent.
    fn notice_stall(&mut self, now: Instant) -> Awake {
        if let Some(until) = self.on_time_until.filter(|until| now >= *until)
            && !mutation::is_on(Mutation::NoStallForgiveness)
        {
            self.on_time_until = Some(now + self.interval + STALL_MIN);
            self.origin += (now - until) + STALL_MIN;
        }
        self.awake(now)
    }

    /// The sessions whose silence has lasted too long. Each is named once, and
    /// again while its end may have got lost; it is not acknowledged any more.
    pub fn fallen(&mut self, now: Instant) -> Fallen {
        let now = self.awake(now);
        let mut fallen = Fallen::default();
        for _ in 0..LOOKS_MAX {
            let Some(&(at, id)) = self.due.first().filter(|(at, _)| *at <= now) else { break };
            self.due.remove(&(at, id));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.due = Awake::NEVER;
            let (ends, silence) = entry.verdict(self.disconnect_grace);
            let next = match &mut entry.ending {
                None if ends > now => {
                    let is_unmarked = self.marks && entry.is_known && entry.mark.is_none();
                    if is_unmarked && entry.suspect_at() <= now {
                        // From here on no heartbeat of it is acknowledged without the log.
                        entry.mark = Some(new_mark(&mut self.next_mark));
                        fallen.suspects.push((id, now.since(entry.silent_from)));
                    }
                    entry.look_at(self.marks, ends)
                }
                Some(ending) if now < ending.proposed + END_RETRY => ending.proposed + END_RETRY,
                ending => {
                    let under_way = ending.as_ref().map_or(0, |ending| ending.under_way) + 1;
                    *ending = Some(Box::new(Ending { proposed: now, under_way }));
                    fallen.ended.push((id, silence));
                    now + END_RETRY
                }
            };
            entry.look(id, next, &mut self.due);
        }
        fallen
    }
}

fn new_mark(next: &mut NonZeroU64) -> Mark {
    let mark = Mark(*next);
    *next = next.saturating_add(1);
    mark
}

#[cfg(test)]
// Named, since the instruction counts take this file in from elsewhere.
#[path = "sessions/tests.rs"]
mod tests;
