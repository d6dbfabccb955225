//! The sessions: who is connected, what each holds, and what each was told.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::slice;

use crate::command::{Answer, Grant, GrantedItem, Holder, Outcome, UNACKNOWLEDGED_MAX};
use crate::denial::Denial;
use crate::few::Few;
use crate::names::{CheckoutId, RequestId};

/// One open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub holder: Arc<Holder>,
    /// How long seats are kept after the last heartbeat, ms.
    pub lease_ms: u64,
    /// When it was opened, ms since 1970 UTC.
    pub opened_ms: u64,
    /// What it holds. Not part of the record: the checkouts say it.
    pub checkouts: CheckoutIds,
    /// Since when its user is idle, in cluster time.
    pub idle_since_ms: Option<u64>,
    /// Since when it is not heard, in cluster time, if that is marked.
    pub silent_since_ms: Option<u64>,
    pub(crate) receipts: Receipts,
}

/// The checkouts of one session, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckoutIds(Few<CheckoutId>);

impl CheckoutIds {
    /// One by one, in order.
    pub fn iter(&self) -> slice::Iter<'_, CheckoutId> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    pub fn contains(&self, id: CheckoutId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    pub(crate) fn insert(&mut self, id: CheckoutId) {
        if let Err(place) = self.0.binary_search(&id) {
            self.0.insert(place, id);
        }
    }

    pub(crate) fn remove(&mut self, id: CheckoutId) {
        if let Ok(place) = self.0.binary_search(&id) {
            self.0.remove(place);
        }
    }
}

impl<'a> IntoIterator for &'a CheckoutIds {
    type Item = &'a CheckoutId;
    type IntoIter = slice::Iter<'a, CheckoutId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The answers that a session was given and has not acknowledged. A request
/// that is asked again finds its answer here and changes nothing.
///
/// A request that waits does not keep a client from acknowledging those after
/// it. Its final answer then comes late, below what is acknowledged, and stays
/// until the client says that it has it ([`Receipts::forget`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    pub(crate) answered_through: u64,
    pub(crate) answers: Answers,
}

/// What the receipts say of a request.
pub(crate) enum Seen {
    /// It is new: decide it, then [`Receipts::remember`].
    New,
    /// It was answered so.
    Before(Answer),
    /// It is new, but there is no room to remember its answer.
    Full,
}

impl Receipts {
    /// Looks a request up, and forgets what the client has acknowledged.
    pub(crate) fn look_up(&mut self, request: RequestId, answered_through: RequestId) -> Seen {
        let before = self.answered_through;
        let acknowledged = answered_through.0.max(before);
        if acknowledged > before {
            self.answered_through = acknowledged;
            // What stands below came late, and is acknowledged by itself.
            self.answers.retain(|request, _| request.0 <= before || request.0 > acknowledged);
        }
        if let Some(receipt) = self.answers.get(request) {
            return Seen::Before(receipt.answer());
        }
        if request.0 <= acknowledged {
            let answered_through = RequestId(acknowledged);
            return Seen::Before(Err(Denial::RequestForgotten { request, answered_through }));
        }
        if self.answers.len() >= UNACKNOWLEDGED_MAX { Seen::Full } else { Seen::New }
    }

    /// Keeps the answer until the client acknowledges it.
    pub(crate) fn remember(&mut self, request: RequestId, receipt: Receipt) {
        self.answers.insert(request, receipt);
    }

    /// Keeps what is granted in many of them once.
    pub(crate) fn share(&mut self, mut shared: impl FnMut(&[GrantedItem]) -> Arc<[GrantedItem]>) {
        for receipt in self.answers.iter_mut() {
            if let Receipt::Granted { items, .. } = receipt {
                *items = shared(items);
            }
        }
    }

    /// Joins what another server answered the same client while it served in our
    /// place. What waits there only has no answer here; what was final here stays.
    /// `waits`: whether a request waits here. Done twice it is done once.
    pub(crate) fn join(&mut self, theirs: &Receipts, waits: impl Fn(RequestId) -> bool) {
        // Whoever was asked last knows more.
        let theirs_is_newer = theirs.last() > self.last();
        for (request, receipt) in theirs.answers.iter().filter(|(_, receipt)| receipt.is_final()) {
            let is_wanted = match self.answers.get(request) {
                Some(ours) if ours.is_final() => theirs_is_newer,
                Some(_) => true,
                None => request.0 > self.answered_through || waits(request),
            };
            if is_wanted {
                self.answers.insert(request, receipt.clone());
            }
        }
        let (before, acknowledged) = (self.answered_through, theirs.answered_through);
        if acknowledged > before {
            self.answered_through = acknowledged;
            self.answers.retain(|request, _| {
                let lately = request.0 > before && request.0 <= acknowledged;
                !lately || theirs.answers.get(request).is_some()
            });
        }
    }

    /// The last request that was asked.
    fn last(&self) -> u64 {
        let answered = self.answers.iter().last().map_or(0, |(request, _)| request.0);
        answered.max(self.answered_through)
    }

    /// The client has the answer to a request that waited.
    pub(crate) fn forget(&mut self, request: RequestId) {
        if request.0 <= self.answered_through {
            self.answers.retain(|other, _| other != request);
        }
    }
}

/// An answer as it is kept. Most are grants, and most grants of a pool are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    Granted { checkout: CheckoutId, items: Arc<[GrantedItem]> },
    Returned { was_held: bool },
    Other(Box<Answer>),
}

impl Receipt {
    /// `shared`: these items, of those that were granted before if they are the same.
    pub(crate) fn of(
        answer: &Answer,
        shared: impl FnOnce(&[GrantedItem]) -> Arc<[GrantedItem]>,
    ) -> Self {
        match answer {
            Ok(Outcome::Granted(Grant { checkout, items })) => {
                Receipt::Granted { checkout: *checkout, items: shared(items) }
            }
            Ok(Outcome::Returned { was_held }) => Receipt::Returned { was_held: *was_held },
            other => Receipt::Other(Box::new(other.clone())),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        match self {
            Receipt::Granted { checkout, items } => {
                Ok(Outcome::Granted(Grant { checkout: *checkout, items: items.to_vec() }))
            }
            Receipt::Returned { was_held } => Ok(Outcome::Returned { was_held: *was_held }),
            Receipt::Other(answer) => Answer::clone(answer),
        }
    }

    /// Whether the request does not wait any more.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Receipt::Other(answer) if matches!(**answer, Ok(Outcome::Queued { .. })))
    }
}

/// Answers by their requests, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers(Few<(RequestId, Receipt)>);

impl Answers {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (RequestId, &Receipt)> {
        self.0.iter().map(|(request, receipt)| (*request, receipt))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Receipt> {
        self.0.iter_mut().map(|(_, receipt)| receipt)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, request: RequestId) -> Option<&Receipt> {
        self.place(request).ok().map(|place| &self.0[place].1)
    }

    /// Adds an answer, or puts it in the place of the one there was.
    pub(crate) fn insert(&mut self, request: RequestId, receipt: Receipt) {
        match self.place(request) {
            Ok(place) => self.0[place].1 = receipt,
            Err(place) => self.0.insert(place, (request, receipt)),
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(RequestId, &Receipt) -> bool) {
        self.0.retain_mut(|(request, receipt)| keep(*request, receipt));
    }

    /// Where it is, or belongs.
    fn place(&self, request: RequestId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&request, |(request, _)| *request)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_checkouts_of_a_session_are_a_set_in_order() {
        let mut ids = CheckoutIds::default();
        let mut expected = BTreeSet::new();
        // Each is put in twice and taken out twice, in an order of its own.
        for (step, taken) in [(7, 5), (3, 8), (11, 1)] {
            for n in 0..26 {
                let id = CheckoutId(n / 2 * step % 13);
                ids.insert(id);
                expected.insert(id);
                assert!(ids.iter().eq(&expected), "{id} was put in");
            }
            for n in 0..26 {
                let id = CheckoutId(n / 2 * taken % 13);
                ids.remove(id);
                expected.remove(&id);
                assert!(ids.iter().eq(&expected), "{id} was taken out");
                assert!(!ids.contains(id));
                assert!(expected.iter().all(|id| ids.contains(*id)));
            }
            assert_eq!(ids, CheckoutIds::default());
        }
    }
}
