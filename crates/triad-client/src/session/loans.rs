//! Borrowed seats, which belong to no session, and the end of a session: it waits
//! until no seat can be lent to nobody.

use tokio::sync::oneshot;
use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::session_call::Call;

use super::{CLOSE_TIMEOUT, Closing, Session};
use crate::error::Error;
use crate::requests::{Waiting, too_many_requests};

impl Session {
    /// The application is done. What it holds is not its own any more, whenever the
    /// server hears of it.
    pub(super) fn close(&mut self, reply: Option<oneshot::Sender<()>>) {
        let now = Instant::now();
        for (_, seats) in self.held.drain() {
            let _ = seats.ended.set("the client is closed".into());
        }
        self.announce.send_modify(|_| {});
        self.requests.abandon_all(&Error::Closed);
        self.closing = Some(Closing { reply, deadline: now + CLOSE_TIMEOUT, is_said: false });
        self.search_at = now;
    }

    /// Closing is over when the session is, or when it takes too long.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let Some(closing) = &self.closing else { return false };
        !self.may_be_open() || now >= closing.deadline
    }

    /// Whether a leader has the session, or may have it, unheard of.
    pub(super) fn may_be_open(&self) -> bool {
        self.lease.is_some() || self.openings.are_unanswered()
    }

    /// Says that the session is over, once, on each stream. With it goes every seat
    /// but those that are lent: as long as some may be, unknown to anybody, they are
    /// returned first.
    pub(super) fn say_close(&mut self, now: Instant) {
        let (Some(closing), Some(stream)) = (&mut self.closing, &mut self.stream) else { return };
        if !closing.is_said && self.requests.is_empty() {
            closing.is_said = stream.send(vec![Call::Close(v1::Close {})], now);
            stream.full |= !closing.is_said;
        }
    }

    /// Seats that were borrowed are back, says the application.
    pub(super) fn return_loan(
        &mut self,
        id: u64,
        reply: Option<oneshot::Sender<Result<bool, Error>>>,
    ) {
        match reply {
            // A seat of this session is no loan, and would be free while we believe in it.
            Some(reply) if self.held.contains_key(&id) => drop(reply.send(Ok(false))),
            // Nobody waits for the answer, and nobody would ask again.
            Some(reply) if !self.requests.returns(id) && self.requests.is_full() => {
                let _ = reply.send(Err(too_many_requests()));
            }
            reply => self.requests.return_loan(id, reply),
        }
    }

    pub(super) fn borrowed(&mut self, borrowed: v1::Borrowed) {
        use v1::borrowed::Outcome;
        let waiting = self.requests.answered(borrowed.request_id);
        let Some(Waiting::Borrow { reply, .. }) = waiting else { return };
        let reply = reply.filter(|reply| !reply.is_closed());
        match (borrowed.outcome, reply) {
            (Some(Outcome::Grant(lent)), Some(reply)) => {
                if let Err(Ok(lent)) = reply.send(Ok(lent)) {
                    self.return_unwanted(&lent);
                }
            }
            // Lent to nobody: the application has given up.
            (Some(Outcome::Grant(lent)), None) => self.return_unwanted(&lent),
            (Some(Outcome::Denial(denial)), Some(reply)) => {
                let _ = reply.send(Err(Error::denied(denial)));
            }
            _ => {}
        }
    }

    fn return_unwanted(&mut self, lent: &v1::BorrowGrant) {
        if let Some(grant) = &lent.grant {
            self.requests.add(Waiting::Return { id: grant.checkout_id, replies: Vec::new() });
        }
    }
}
