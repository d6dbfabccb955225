//! What is granted to this session, and what of it is ended alone.

use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use triad_proto::v1;

use super::{EARLY_ENDS_MAX, Granted, Held, Seats, Session, leader};
use crate::client::EndMark;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::requests::Waiting;

impl Session {
    pub(super) fn taken(&mut self, taken: v1::Taken, now: Instant) {
        use v1::taken::Outcome;
        let Some(stream) = &self.stream else { return };
        let waiting = self.requests.answered(taken.request_id);
        let Some(Waiting::Take { reply, .. }) = waiting else { return };
        let index = taken.position.unwrap_or_default().index;
        let granted = Granted { by: leader(&stream.open), index, heard_at: now };
        match taken.outcome {
            Some(Outcome::Grant(grant)) => {
                self.idleness.granted();
                let ended: EndMark = Arc::new(OnceLock::new());
                let (id, epoch) = (grant.checkout_id, self.epoch);
                if let Some(reason) = self.early_ends.remove(&id) {
                    let _ = ended.set(reason);
                }
                let held = Held { id, epoch, items: grant.items, ended: ended.clone() };
                let kept = reply.is_some_and(|reply| reply.send(Ok(held)).is_ok());
                if kept || mutation::is_on(Mutation::KeepAbandonedGrant) {
                    self.held.insert(id, Seats { ended, granted });
                } else {
                    // Granted to nobody: the application has given up.
                    self.requests.add(Waiting::GiveBack { id, reply: None });
                }
            }
            Some(Outcome::Denial(denial)) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(Error::denied(denial)));
                }
            }
            None => {}
        }
    }

    pub(super) fn checkout_ended(&mut self, checkout_id: u64, reason: i32, words: &str) {
        let reason = v1::EndReason::try_from(reason).unwrap_or_default();
        let name = reason.as_str_name().trim_start_matches("END_REASON_");
        let words = if words.is_empty() { String::new() } else { format!(" ({words})") };
        let name = if reason == v1::EndReason::Unspecified { "over" } else { name };
        let reason = format!("the server ended the checkout: {name}{words}");
        match self.held.remove(&checkout_id) {
            Some(seats) => {
                let _ = seats.ended.set(reason);
                // Wakes whoever waits for a loss.
                self.announce.send_modify(|_| {});
            }
            // Its grant may still be on the way.
            None => {
                self.early_ends.insert(checkout_id, reason);
                while self.early_ends.len() > EARLY_ENDS_MAX {
                    self.early_ends.pop_first();
                }
            }
        }
    }
}
