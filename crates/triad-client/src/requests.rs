//! The requests of a session: numbered once, sent again on every new stream,
//! and kept until they are answered. Pure: `now` is an argument.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::session_call::Call;

use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::session::Held;

/// Requests that wait for an answer, on the wire or not yet.
pub(crate) const REQUESTS_WAITING_MAX: usize = 1_024;
/// How far the newest request on the wire may be ahead of the oldest without an
/// answer. The server remembers twice as many answers.
const WINDOW: u64 = 128;
/// What one message carries: far less than a server takes.
const CALLS_PER_MESSAGE: usize = 64;
const BYTES_PER_MESSAGE: usize = 16 << 10;

/// A request without an answer yet.
pub(crate) enum Waiting {
    /// Seats are wanted.
    Take {
        items: Vec<v1::Item>,
        deadline: Instant,
        /// `None` once the application has given up: what is granted then is
        /// returned.
        reply: Option<oneshot::Sender<Result<Held, Error>>>,
    },
    /// A checkout is returned.
    GiveBack { id: u64, reply: Option<oneshot::Sender<Result<(), Error>>> },
}

/// All requests of a session that have no answer yet.
pub(crate) struct Requests {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// On the current stream everything up to here has been sent.
    sent_through: u64,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Requests { waiting: BTreeMap::new(), next: 1, sent_through: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= REQUESTS_WAITING_MAX
    }

    /// Numbers a request. It is sent when there is a stream and room on it.
    pub(crate) fn add(&mut self, request: Waiting) {
        self.waiting.insert(self.next, request);
        self.next += 1;
    }

    /// The request that this answer is to, if it is still waited for.
    pub(crate) fn answered(&mut self, id: u64) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    /// A new stream: everything without an answer is sent again, under the same
    /// numbers.
    pub(crate) fn resend(&mut self) {
        self.sent_through = 0;
        if mutation::is_on(Mutation::RetryIsNew) {
            for (_, waiting) in std::mem::take(&mut self.waiting) {
                self.add(waiting);
            }
        }
    }

    /// True if something waits to be sent and may be.
    pub(crate) fn has_unsent(&self) -> bool {
        self.next_unsent().is_some()
    }

    fn next_unsent(&self) -> Option<u64> {
        let oldest = *self.waiting.keys().next()?;
        let (id, _) = self.waiting.range(self.sent_through + 1..).next()?;
        (*id < oldest + WINDOW).then_some(*id)
    }

    /// The calls of the next message. They count as sent; [`Requests::unsend`]
    /// takes that back.
    pub(crate) fn next_message(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        let mut bytes = 0;
        while calls.len() < CALLS_PER_MESSAGE && bytes < BYTES_PER_MESSAGE {
            let Some(id) = self.next_unsent() else { break };
            let call = self.call(id);
            bytes += prost_len(&call);
            calls.push(call);
            self.sent_through = id;
        }
        calls
    }

    /// The message could not be put on the wire after all.
    pub(crate) fn unsend(&mut self, calls: &[Call]) {
        let first = calls.iter().find_map(|call| match call {
            Call::Take(take) => Some(take.request_id),
            Call::GiveBack(give_back) => Some(give_back.request_id),
            _ => None,
        });
        if let Some(first) = first {
            self.sent_through = first - 1;
        }
    }

    fn call(&self, request_id: u64) -> Call {
        let oldest = self.waiting.keys().next().copied().unwrap_or(self.next);
        let answered_through = oldest - 1;
        match &self.waiting[&request_id] {
            Waiting::Take { items, .. } => {
                Call::Take(v1::Take { request_id, answered_through, items: items.clone() })
            }
            Waiting::GiveBack { id, .. } => {
                Call::GiveBack(v1::GiveBack { request_id, answered_through, checkout_id: *id })
            }
        }
    }

    /// Tells everybody whose time is up.
    pub(crate) fn give_up_late(&mut self, now: Instant, refusal: &Refusal) {
        for waiting in self.waiting.values_mut() {
            if let Waiting::Take { deadline, reply, .. } = waiting
                && *deadline <= now
                && let Some(reply) = reply.take()
            {
                let _ = reply.send(Err(Error::unavailable(refusal.clone())));
            }
        }
    }

    /// Forgets what nobody waits for, where nothing was ever sent.
    pub(crate) fn forget_unwanted(&mut self) {
        self.waiting.retain(|_, waiting| match waiting {
            Waiting::Take { reply, .. } => reply.is_some(),
            Waiting::GiveBack { .. } => true,
        });
    }

    /// The first deadline that somebody waits for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.waiting.values().filter_map(|waiting| match waiting {
            Waiting::Take { deadline, reply: Some(_), .. } => Some(*deadline),
            Waiting::Take { .. } | Waiting::GiveBack { .. } => None,
        });
        deadlines.min()
    }

    /// The session is gone. What is returned is free already; what is still
    /// wanted is asked for anew, by another session, from number 1.
    pub(crate) fn start_over(&mut self, reason: &str) {
        let before = std::mem::replace(self, Requests::new());
        for waiting in before.waiting.into_values() {
            match waiting {
                Waiting::GiveBack { reply: Some(reply), .. } => {
                    let _ = reply.send(Err(Error::Lost(reason.to_owned())));
                }
                Waiting::Take { reply: Some(_), .. } => self.add(waiting),
                Waiting::GiveBack { .. } | Waiting::Take { .. } => {}
            }
        }
    }

    /// Nobody gets anything any more.
    pub(crate) fn refuse_all(&mut self, error: &Error) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            match waiting {
                Waiting::Take { reply: Some(reply), .. } => {
                    let _ = reply.send(Err(error.clone()));
                }
                Waiting::GiveBack { reply: Some(reply), .. } => {
                    let _ = reply.send(Err(error.clone()));
                }
                Waiting::Take { .. } | Waiting::GiveBack { .. } => {}
            }
        }
    }
}

/// A good guess at a call's bytes.
fn prost_len(call: &Call) -> usize {
    match call {
        Call::Take(take) => {
            let item = |item: &v1::Item| 16 + item.feature.len() + item.version.len();
            32 + take.items.iter().map(item).sum::<usize>()
        }
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give_backs(count: u64) -> Requests {
        let mut requests = Requests::new();
        for id in 1..=count {
            requests.add(Waiting::GiveBack { id, reply: None });
        }
        requests
    }

    fn ids(calls: &[Call]) -> Vec<(u64, u64)> {
        let id = |call: &Call| match call {
            Call::GiveBack(g) => (g.request_id, g.answered_through),
            Call::Take(t) => (t.request_id, t.answered_through),
            other => panic!("not a request: {other:?}"),
        };
        calls.iter().map(id).collect()
    }

    #[test]
    fn the_window_bounds_what_is_on_the_wire() {
        let mut requests = give_backs(1_000);
        let mut sent = 0;
        while requests.has_unsent() {
            sent += requests.next_message().len();
        }
        assert_eq!(sent as u64, WINDOW);
        // The oldest is answered: one more may go, and it says so.
        requests.answered(1);
        assert_eq!(ids(&requests.next_message()), [(129, 1)]);
        // Another than the oldest is answered: nothing more may go.
        requests.answered(77);
        assert!(!requests.has_unsent());
    }

    #[test]
    fn a_new_stream_gets_everything_again_under_the_same_numbers() {
        let mut requests = give_backs(3);
        assert_eq!(ids(&requests.next_message()), [(1, 0), (2, 0), (3, 0)]);
        requests.answered(1);
        requests.answered(3);
        requests.resend();
        let calls = requests.next_message();
        assert_eq!(ids(&calls), [(2, 1)]);
        // It did not fit on the wire.
        requests.unsend(&calls);
        assert_eq!(ids(&requests.next_message()), [(2, 1)]);
    }

    #[test]
    fn long_requests_share_a_message_only_as_far_as_it_goes() {
        let mut requests = Requests::new();
        for _ in 0..100 {
            let item = v1::Item { feature: "f".repeat(64), version: String::new(), seats: 1 };
            let items = vec![item; 64];
            requests.add(Waiting::Take { items, deadline: Instant::now(), reply: None });
        }
        let bytes: usize = requests.next_message().iter().map(prost_len).sum();
        assert!(bytes < 2 * BYTES_PER_MESSAGE, "{bytes}");
    }
}
