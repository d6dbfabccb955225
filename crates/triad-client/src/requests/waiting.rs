//! A request that waits for its answer, and who is told of it. Pure: `now` is an
//! argument.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use triad_proto::v1;

use crate::error::Error;
use crate::queue::Place;
use crate::session::Held;

/// The server ends a wait; only if it is silent do we, so much later: one that has said it waits
/// may have to be followed to another.
pub(super) const WAIT_GRACE: Duration = Duration::from_secs(10);
/// The same where no server has said so.
pub(super) const UNHEARD_GRACE: Duration = Duration::from_secs(1);

/// A request without an answer yet.
pub(crate) enum Waiting {
    /// Seats are wanted.
    Take {
        items: Vec<v1::Item>,
        deadline: Instant,
        /// `None` once the application has given up: what is granted then is
        /// returned.
        reply: Option<oneshot::Sender<Result<Held, Error>>>,
        /// In the queue, if they are taken.
        queue: Option<Queueing>,
    },
    /// A checkout is returned; answered with whether it was held.
    GiveBack { id: u64, reply: Option<oneshot::Sender<Result<bool, Error>>> },
    /// A loan is returned, and everybody who asked for it is told. It belongs to no session, so this
    /// outlives one.
    Return { id: u64, replies: Vec<oneshot::Sender<Result<bool, Error>>> },
    /// Seats are to be borrowed.
    Borrow {
        items: Vec<v1::Item>,
        end: v1::borrow::End,
        deadline: Instant,
        reply: Option<oneshot::Sender<Result<v1::BorrowGrant, Error>>>,
    },
}

/// How a request waits in the queue.
pub(crate) struct Queueing {
    /// The application's handle on it.
    pub(crate) ticket: u64,
    pub(crate) priority: Option<u32>,
    /// Until when; `None`: as long as it takes.
    pub(crate) until: Option<Instant>,
    /// What is left of that, as it is sent.
    pub(crate) timeout_ms: u64,
    pub(crate) places: watch::Sender<Option<Place>>,
    /// This server has said that it waits.
    pub(crate) is_queued: bool,
    /// Some server has said so. Since then it is waited for as long as wanted,
    /// whatever becomes of that server.
    pub(crate) has_waited: bool,
    /// The application does not want it any more.
    pub(crate) is_cancelled: bool,
}

impl Queueing {
    /// When nobody waits any more for a server to say that the time is over.
    fn given_up_at(&self, grace: Duration) -> Option<Instant> {
        self.until.map(|until| until.checked_add(grace).unwrap_or(until))
    }

    /// It is about to be sent, and waits for what is left of its time.
    pub(super) fn count_down(&mut self, now: Instant) {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(now);
            // 0 would be for ever.
            self.timeout_ms = (left.as_millis() as u64).max(1);
        }
    }
}

impl Waiting {
    pub(super) fn queue(&self) -> Option<&Queueing> {
        match self {
            Waiting::Take { queue, .. } => queue.as_ref(),
            _ => None,
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        self.queue().is_some_and(|queue| queue.is_queued)
    }

    /// Until when somebody waits for the answer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Waiting::Take { reply: Some(_), deadline, queue, .. } => match queue {
                Some(queue) if queue.has_waited => queue.given_up_at(WAIT_GRACE),
                Some(queue) => {
                    let own = queue.given_up_at(UNHEARD_GRACE);
                    Some(own.map_or(*deadline, |own| own.min(*deadline)))
                }
                None => Some(*deadline),
            },
            Waiting::Borrow { reply: Some(_), deadline, .. } => Some(*deadline),
            _ => None,
        }
    }

    /// Tells whoever waits for it.
    pub(super) fn fail(&mut self, error: Error) {
        match self {
            Waiting::Take { reply, .. } => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Err(error));
                }
            }
            Waiting::GiveBack { reply, .. } => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Err(error));
                }
            }
            Waiting::Return { replies, .. } => {
                for reply in replies.drain(..) {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Waiting::Borrow { reply, .. } => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    /// Tells whoever waits for it that it is returned.
    pub(crate) fn returned(self, was_held: bool) {
        let replies = match self {
            Waiting::GiveBack { reply, .. } => reply.into_iter().collect(),
            Waiting::Return { replies, .. } => replies,
            Waiting::Take { .. } | Waiting::Borrow { .. } => Vec::new(),
        };
        for reply in replies {
            let _ = reply.send(Ok(was_held));
        }
    }

    /// Whether the application would take what is granted.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Waiting::Take { queue: Some(queue), .. } if queue.is_cancelled => false,
            Waiting::Take { reply, .. } => reply.as_ref().is_some_and(|reply| !reply.is_closed()),
            Waiting::Borrow { reply, .. } => reply.as_ref().is_some_and(|reply| !reply.is_closed()),
            Waiting::GiveBack { .. } | Waiting::Return { .. } => true,
        }
    }
}
