//! What becomes known of a leader whose socket was closed without a word.

use tokio::time::Instant;

use super::Session;

impl Session {
    /// A node's port refuses connections. If it is the leader that closed our
    /// socket, it ends nobody any more.
    pub(super) fn died(&mut self, address: &str, now: Instant) {
        if let (Some(by), Some(lease)) = (&self.closed_by, &mut self.lease)
            && by.address == address
        {
            lease.leader_is_gone(now);
            self.announce_state(now);
        }
    }

    /// Before the seats are given up: whether anybody in this process was refused by that leader's
    /// port. Of ten thousand clients that lose the same leader, most come to dial it too late.
    pub(super) fn ask_whether_it_died(&mut self, now: Instant) {
        if let (Some(by), Some(lease)) = (&self.closed_by, &mut self.lease)
            && lease.deadline() <= now
            && let Some(known_at) = by.is_dead_since(&self.settings.dialer.network)
        {
            lease.leader_is_gone(known_at);
        }
    }
}
