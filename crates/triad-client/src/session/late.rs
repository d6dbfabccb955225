//! What whoever waited in vain is told.

use tokio::time::Instant;
use triad_proto::v1::{Reason, Refusal};

use super::Session;

impl Session {
    /// Tells everybody whose time is up what it failed for.
    pub(super) fn give_up_late(&mut self, now: Instant) {
        if self.requests.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &self.stream {
            // What others said before, or say meanwhile, is not the reason.
            Some(stream) => {
                let message = format!("{} leads and did not answer in time", stream.open.address);
                self.requests.give_up_late(now, &Refusal::because(Reason::Deadline, message));
            }
            None => self.requests.give_up_late(now, &self.last_refusal),
        }
    }
}

/// The stream is gone, and no node has said anything since.
pub(super) fn nobody_after(address: &str) -> Refusal {
    let message = format!("{address} led, and no node was reached since");
    Refusal::because(Reason::NodeUnreachable, message)
}
