//! What becomes known of a leader whose socket was closed without a word.

use tokio::time::Instant;

use super::Session;

/// That leader.
pub(super) struct ClosedBy {
    pub(super) term: u64,
    pub(super) address: String,
    /// When the stream on that socket was open: the process behind it lived then.
    pub(super) opened_at: Instant,
}

impl Session {
    /// A node's port refuses connections. If it is the leader that closed our
    /// socket, it ends nobody any more.
    pub(super) fn died(&mut self, address: &str, now: Instant) {
        if let (Some(by), Some(lease)) = (&self.closed_by, &mut self.lease)
            && by.address == address
        {
            lease.leader_is_gone();
            self.announce_state(now);
        }
    }

    /// Before the seats are given up: whether anybody in this process was refused by that leader's
    /// port. Of ten thousand clients that lose the same leader, most come to dial it too late.
    pub(super) fn ask_whether_it_died(&mut self, now: Instant) {
        if let (Some(by), Some(lease)) = (&self.closed_by, &mut self.lease)
            && lease.deadline() <= now
            && self.settings.dialer.network.refused_since(&by.address, by.opened_at)
        {
            lease.leader_is_gone();
        }
    }
}
