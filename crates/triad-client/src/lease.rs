//! What the client may believe: the lease, counted on its own clock. Pure:
//! `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::mutation::{self, Mutation};

/// The least that a leader adds to the grace, since both sides count it from when each saw the close.
const GRACE_MARGIN: Duration = Duration::from_millis(500);

/// Whether the session, and with it every seat, is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no session yet.
    Idle,
    /// Held, and heartbeats are acknowledged.
    Held,
    /// The stream is broken and the leader is being looked for. Held until the
    /// deadline all the same.
    Reconnecting {
        /// Until when the seats are certainly ours.
        deadline: Instant,
    },
    /// The seats may belong to somebody else from now on.
    Lost {
        /// Why, for people.
        reason: String,
    },
}

/// A path to the leader is given up for dead after this part of a lease, which leaves the rest for
/// another.
const PATHS_PER_LEASE: u32 = 3;

/// The facts from which the deadline follows.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    lease: Duration,
    grace: Duration,
    held_until: Instant,
    /// When the socket was closed, unless it is certain that this leader ends
    /// nobody any more.
    closed: Option<Instant>,
}

impl Lease {
    /// A session that was opened by a message sent at `sent`.
    pub(crate) fn opened(sent: Instant, lease: Duration, grace: Duration) -> Self {
        Lease { lease, grace, held_until: sent + lease, closed: None }
    }

    /// The leader that resumed the session has this grace; leaders may differ.
    pub(crate) fn resumed(&mut self, sent: Instant, grace: Duration) {
        self.grace = grace;
        self.acknowledged(sent);
    }

    /// A heartbeat sent at `sent` was acknowledged.
    pub(crate) fn acknowledged(&mut self, sent: Instant) {
        self.held_until = self.held_until.max(sent + self.lease);
        self.closed = None;
    }

    /// The socket is closed, whoever closed it, and the leader said nothing. If
    /// it lives and saw the same, it ends the session after the grace; so we must
    /// not believe in it longer either.
    pub(crate) fn closed(&mut self, now: Instant) {
        if !mutation::is_on(Mutation::CloseIsNoSign) {
            self.closed = Some(now);
        }
    }

    /// That leader's process is dead, or another node leads: nobody ends the
    /// session before a new leader has given it a whole lease. If it was known
    /// in time: later, it may have ended the session before.
    pub(crate) fn leader_is_gone(&mut self, known_at: Instant) {
        if known_at < self.over_at() {
            self.closed = None;
        }
    }

    /// Whether a leader that has owed an answer since then is to be dialled anew. Something on the way
    /// may have forgotten the connection, as firewalls and address translation do, and let another
    /// through. Not sooner than this: a leader to which everybody comes again is slower still.
    pub(crate) fn path_may_be_dead(&self, owed_since: Instant, now: Instant) -> bool {
        let silent = now.saturating_duration_since(owed_since);
        silent >= self.lease / PATHS_PER_LEASE && !mutation::is_on(Mutation::StayOnDeadPath)
    }

    /// Until when the seats are certainly ours.
    pub(crate) fn deadline(&self) -> Instant {
        match self.closed {
            Some(closed) => self.held_until.min(closed + self.grace),
            None => self.held_until,
        }
    }

    /// When the seats may be somebody else's. Later than the deadline only after a close, and until
    /// then it may still be heard that the leader is gone.
    pub(crate) fn over_at(&self) -> Instant {
        match self.closed {
            Some(closed) => self.held_until.min(closed + self.grace + GRACE_MARGIN),
            None => self.held_until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(2);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_lease_counts_from_when_the_heartbeat_was_sent() {
        let t = Instant::now();
        let mut lease = Lease::opened(t, LEASE, GRACE);
        assert_eq!(lease.deadline(), at(t, 30));
        // Acknowledged late: what counts is when it was sent.
        lease.acknowledged(at(t, 5));
        assert_eq!(lease.deadline(), at(t, 35));
        // An older acknowledgement takes nothing away.
        lease.acknowledged(at(t, 1));
        assert_eq!(lease.deadline(), at(t, 35));
    }

    #[test]
    fn a_closed_socket_shortens_it_until_the_leader_is_known_to_be_gone() {
        let t = Instant::now();
        let mut lease = Lease::opened(t, LEASE, GRACE);
        lease.closed(at(t, 10));
        assert_eq!(lease.deadline(), at(t, 12));
        assert_eq!(lease.over_at(), at(t, 12) + GRACE_MARGIN);
        // Who hears of it too late does not know whether the session was ended before.
        lease.leader_is_gone(lease.over_at());
        assert_eq!(lease.deadline(), at(t, 12));
        lease.leader_is_gone(at(t, 12));
        assert_eq!(lease.deadline(), at(t, 30));
        // Close to the end of the lease the grace prolongs nothing.
        lease.closed(at(t, 29));
        assert_eq!(lease.deadline(), at(t, 30));
        assert_eq!(lease.over_at(), at(t, 30));
        lease.acknowledged(at(t, 29));
        assert_eq!(lease.deadline(), at(t, 59));
    }
}
