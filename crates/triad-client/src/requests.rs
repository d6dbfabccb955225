//! The requests of a session: numbered once, sent again on every new stream,
//! and kept until they are answered. Pure: `now` is an argument.

mod waiting;

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::{Reason, Refusal};

use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::queue::Place;

pub(crate) use self::waiting::{Queueing, Waiting};

/// Requests that wait for an answer, on the wire or not yet.
const REQUESTS_WAITING_MAX: usize = 1_024;
/// How far the newest request on the wire may be ahead of the oldest without an
/// answer. The server remembers twice as many answers. One that waits in the
/// queue has been answered so far, and holds up no others.
const WINDOW: u64 = 128;
/// What one message carries: far less than a server takes.
const CALLS_PER_MESSAGE: usize = 64;
const BYTES_PER_MESSAGE: usize = 16 << 10;
/// Words about requests that were answered late, which may have been lost with
/// the stream and are said again on the next. As many as may wait at once.
const SEEN_MAX: usize = 256;
/// So many answers are left with the server for the sake of one who waits: with a full window less
/// than the server keeps.
const KEPT_FOR_WAITING: u64 = 64;

/// All requests of a session that have no answer yet.
pub(crate) struct Requests {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// On the current stream everything up to here has been sent.
    sent_through: u64,
    /// On any stream something up to here has been.
    ever_sent_through: u64,
    /// The highest number that the server was told everything is answered up to.
    acknowledged: u64,
    /// Calls about requests that wait in the queue, to be sent.
    words: VecDeque<Call>,
    /// Late answers that the server was told about lately.
    seen: VecDeque<u64>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Requests {
            waiting: BTreeMap::new(),
            next: 1,
            sent_through: 0,
            ever_sent_through: 0,
            acknowledged: 0,
            words: VecDeque::new(),
            seen: VecDeque::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= REQUESTS_WAITING_MAX
    }

    /// Whether the server owes an answer. It owes none to who waits in the queue.
    pub(crate) fn are_owed(&self) -> bool {
        self.waiting.values().any(|waiting| !waiting.is_queued())
    }

    /// Numbers a request. It is sent when there is a stream and room on it.
    pub(crate) fn add(&mut self, request: Waiting) {
        self.waiting.insert(self.next, request);
        self.next += 1;
    }

    /// The request that this answer is to, if it is still waited for.
    pub(crate) fn answered(&mut self, id: u64) -> Option<Waiting> {
        let answered = self.waiting.remove(&id)?;
        if answered.queue().is_some() && id <= self.acknowledged {
            self.seen.push_back(id);
            if self.seen.len() > SEEN_MAX {
                self.seen.pop_front();
            }
            self.words.push_back(cancel(id, true));
        }
        Some(answered)
    }

    /// The server says that a request waits, and where.
    pub(crate) fn queued(&mut self, id: u64, place: Place) {
        if let Some(Waiting::Take { queue: Some(queue), .. }) = self.waiting.get_mut(&id) {
            queue.is_queued = true;
            queue.has_waited = true;
            // The same place with another guess is news too; the same word is not.
            queue.places.send_if_modified(|told| told.replace(place) != Some(place));
        }
    }

    /// The application does not want to wait any more.
    pub(crate) fn give_up(&mut self, ticket: u64) {
        for (id, waiting) in &mut self.waiting {
            if let Waiting::Take { queue: Some(queue), reply, .. } = waiting
                && queue.ticket == ticket
            {
                *reply = None;
                queue.is_cancelled = true;
                if *id <= self.sent_through {
                    self.words.push_back(cancel(*id, false));
                }
            }
        }
    }

    /// A new stream: everything without an answer is sent again, under the same
    /// numbers.
    pub(crate) fn resend(&mut self, now: Instant) {
        self.sent_through = 0;
        self.words = self.seen.iter().map(|id| cancel(*id, true)).collect();
        let ever_sent_through = self.ever_sent_through;
        for (id, waiting) in &mut self.waiting {
            if let Waiting::Take { queue: Some(queue), .. } = waiting {
                // Until it is said again: this server may not know of it.
                queue.is_queued = false;
                // What was sent is sent as it was.
                if *id > ever_sent_through {
                    queue.count_down(now);
                }
            }
        }
        if mutation::is_on(Mutation::RetryIsNew) {
            for (_, waiting) in std::mem::take(&mut self.waiting) {
                self.add(waiting);
            }
        }
    }

    /// True if something waits to be sent and may be.
    pub(crate) fn has_unsent(&self) -> bool {
        self.next_unsent().is_some() || !self.words.is_empty()
    }

    /// The first request that has had no answer at all.
    fn oldest_unanswered(&self) -> u64 {
        let mut unanswered = self.waiting.iter().filter(|(_, waiting)| !waiting.is_queued());
        unanswered.next().map_or(self.next, |(id, _)| *id)
    }

    fn next_unsent(&self) -> Option<u64> {
        let (id, _) = self.waiting.range(self.sent_through + 1..).next()?;
        (*id < self.oldest_unanswered() + WINDOW).then_some(*id)
    }

    /// The calls of the next message. They count as sent; [`Requests::unsend`]
    /// takes that back.
    pub(crate) fn next_message(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        let mut bytes = 0;
        while calls.len() < CALLS_PER_MESSAGE && bytes < BYTES_PER_MESSAGE {
            let call = match self.next_unsent() {
                Some(id) => {
                    self.sent_through = id;
                    self.ever_sent_through = self.ever_sent_through.max(id);
                    // It may have been sent before, so it is sent again; and then
                    // that it is not wanted.
                    if self.waiting[&id].queue().is_some_and(|queue| queue.is_cancelled) {
                        self.words.push_back(cancel(id, false));
                    }
                    self.call(id)
                }
                // After the requests that they are about.
                None => match self.words.pop_front() {
                    Some(call) => call,
                    None => break,
                },
            };
            bytes += prost_len(&call);
            calls.push(call);
        }
        calls
    }

    /// The message could not be put on the wire after all.
    pub(crate) fn unsend(&mut self, calls: &[Call]) {
        let first = calls.iter().find_map(|call| match call {
            Call::Take(take) => Some(take.request_id),
            Call::GiveBack(give_back) => Some(give_back.request_id),
            Call::Borrow(borrow) => Some(borrow.request_id),
            _ => None,
        });
        if let Some(first) = first {
            self.sent_through = first - 1;
        }
        for call in calls.iter().rev().filter(|call| matches!(call, Call::Cancel(_))) {
            self.words.push_front(call.clone());
        }
        // What is sent again says so again.
        let sent_through = self.sent_through;
        self.words.retain(|word| match word {
            Call::Cancel(word) => word.answer_received || word.request_id <= sent_through,
            _ => true,
        });
    }

    /// Up to which number no answer is needed any more. One who waits may be answered at any moment,
    /// and that answer must not be forgotten before it is here: so he counts as unanswered, until so
    /// many came after him that the server would run out of room.
    /// Counted to this request: what comes after it takes no room there yet, or was counted then.
    fn answered_through(&self, request_id: u64) -> u64 {
        let first = self.waiting.keys().next().copied().unwrap_or(request_id);
        match request_id - first < KEPT_FOR_WAITING {
            true => first - 1,
            false => self.oldest_unanswered() - 1,
        }
    }

    fn call(&mut self, request_id: u64) -> Call {
        let answered_through = self.answered_through(request_id);
        self.acknowledged = self.acknowledged.max(answered_through);
        match &self.waiting[&request_id] {
            Waiting::Take { items, queue, .. } => {
                let wait = queue.as_ref().map(|queue| v1::Wait {
                    timeout_ms: queue.timeout_ms,
                    priority: queue.priority,
                });
                Call::Take(v1::Take { request_id, answered_through, items: items.clone(), wait })
            }
            Waiting::GiveBack { id, .. } | Waiting::Return { id, .. } => {
                Call::GiveBack(v1::GiveBack { request_id, answered_through, checkout_id: *id })
            }
            Waiting::Borrow { items, end, .. } => Call::Borrow(v1::Borrow {
                request_id,
                answered_through,
                items: items.clone(),
                end: Some(*end),
            }),
        }
    }

    /// Tells everybody whose time is up.
    pub(crate) fn give_up_late(&mut self, now: Instant, refusal: &Refusal) {
        for (id, waiting) in &mut self.waiting {
            if waiting.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            waiting.fail(match waiting {
                Waiting::Borrow { .. } if *id <= self.ever_sent_through => {
                    perhaps_lent(&refusal.message)
                }
                _ => Error::unavailable(refusal.clone()),
            });
            if let Waiting::Take { queue: Some(queue), .. } = waiting {
                queue.is_cancelled = true;
                if *id <= self.sent_through {
                    self.words.push_back(cancel(*id, false));
                }
            }
        }
    }

    /// Forgets what was given up before it was sent: what is granted to nobody is missing to whoever
    /// asked after it. Its number is left out. What was sent once is sent until it is answered.
    pub(crate) fn forget_unwanted(&mut self) {
        let unsent = self.waiting.range(self.ever_sent_through + 1..);
        let unwanted = unsent.filter(|(_, waiting)| !waiting.is_wanted());
        for id in unwanted.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.waiting.remove(&id);
        }
    }

    /// The first deadline that somebody waits for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().filter_map(Waiting::deadline).min()
    }

    /// Whether this loan is being returned already.
    pub(crate) fn returns(&self, loan: u64) -> bool {
        let is_it =
            |waiting: &Waiting| matches!(waiting, Waiting::Return { id, .. } if *id == loan);
        self.waiting.values().any(is_it)
    }

    /// Returns a loan. If that is under way, its answer is this one's too.
    pub(crate) fn return_loan(
        &mut self,
        loan: u64,
        reply: Option<oneshot::Sender<Result<bool, Error>>>,
    ) {
        let under_way = self.waiting.values_mut().find_map(|waiting| match waiting {
            Waiting::Return { id, replies } if *id == loan => Some(replies),
            _ => None,
        });
        match under_way {
            Some(replies) => {
                // Only those that are still waited for, however often it is tried.
                replies.retain(|reply| !reply.is_closed());
                replies.extend(reply);
            }
            None => self.add(Waiting::Return { id: loan, replies: Vec::from_iter(reply) }),
        }
    }

    /// The session is gone. What it held is not ours any more; what is still wanted is
    /// asked for anew, by another session, from number 1, and at the end of the
    /// queue. Not a loan that may have been granted: receipts go with the session,
    /// and it would be lent twice.
    pub(crate) fn start_over(&mut self, reason: &str, now: Instant) {
        let before = std::mem::replace(self, Requests::new());
        let ever_sent_through = before.ever_sent_through;
        for (id, mut waiting) in before.waiting {
            if let Waiting::Take { queue: Some(queue), .. } = &mut waiting {
                queue.is_queued = false;
                queue.places.send_replace(None);
                queue.count_down(now);
            }
            match waiting {
                Waiting::GiveBack { .. } => waiting.fail(Error::Lost(reason.to_owned())),
                Waiting::Borrow { .. } if id <= ever_sent_through => {
                    waiting.fail(perhaps_lent(reason));
                }
                _ if waiting.is_wanted() => self.add(waiting),
                _ => {}
            }
        }
    }

    /// Nobody waits any more. What may still be lent is heard of, to be returned.
    pub(crate) fn abandon_all(&mut self, error: &Error) {
        for waiting in self.waiting.values_mut() {
            waiting.fail(error.clone());
        }
        let ever_sent_through = self.ever_sent_through;
        self.waiting.retain(|id, waiting| match waiting {
            Waiting::Return { .. } => true,
            Waiting::Borrow { .. } => *id <= ever_sent_through,
            Waiting::Take { .. } | Waiting::GiveBack { .. } => false,
        });
    }

    /// Nobody gets anything any more. What was lent to nobody is still to be returned.
    pub(crate) fn refuse_all(&mut self, error: &Error) {
        self.waiting.retain(|_, waiting| {
            let is_to_be_returned =
                matches!(waiting, Waiting::Return { replies, .. } if replies.is_empty());
            waiting.fail(error.clone());
            is_to_be_returned
        });
    }
}

fn cancel(request_id: u64, answer_received: bool) -> Call {
    Call::Cancel(v1::Cancel { request_id, answer_received })
}

/// A good guess at a call's bytes.
fn prost_len(call: &Call) -> usize {
    let items = |items: &[v1::Item]| {
        let item = |item: &v1::Item| 16 + item.feature.len() + item.version.len();
        32 + items.iter().map(item).sum::<usize>()
    };
    match call {
        Call::Take(take) => items(&take.items),
        Call::Borrow(borrow) => items(&borrow.items),
        _ => 32,
    }
}

/// A loan was asked for, and there is no answer.
fn perhaps_lent(reason: &str) -> Error {
    let message = format!("it is unknown whether seats were lent: {reason}");
    let refusal = Refusal::because(Reason::Deadline, message)
        .with_remedy("`triad borrow list` shows what is lent");
    Error::unavailable(refusal)
}

/// The application asks for more than may wait.
pub(crate) fn too_many_requests() -> Error {
    let message = format!("{REQUESTS_WAITING_MAX} requests wait for an answer already");
    Error::unavailable(Refusal::because(Reason::Overloaded, message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::waiting::{UNHEARD_GRACE, WAIT_GRACE};
    use super::*;
    use crate::session::Held;

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
        requests.resend(Instant::now());
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
            let deadline = Instant::now();
            requests.add(Waiting::Take { items, deadline, reply: None, queue: None });
        }
        let bytes: usize = requests.next_message().iter().map(prost_len).sum();
        assert!(bytes < 2 * BYTES_PER_MESSAGE, "{bytes}");
    }

    /// What the application is told.
    struct Told {
        places: watch::Receiver<Option<Place>>,
        _answer: oneshot::Receiver<Result<Held, Error>>,
    }

    fn wanted(ticket: u64) -> (Waiting, Told) {
        let (places, told) = watch::channel(None);
        let queue = Queueing {
            ticket,
            priority: None,
            until: None,
            timeout_ms: 0,
            places,
            is_queued: false,
            has_waited: false,
            is_cancelled: false,
        };
        let item = v1::Item { feature: "f".into(), version: String::new(), seats: 1 };
        let (reply, _answer) = oneshot::channel();
        let deadline = Instant::now();
        let (reply, queue) = (Some(reply), Some(queue));
        let told = Told { places: told, _answer };
        (Waiting::Take { items: vec![item], deadline, reply, queue }, told)
    }

    fn cancels(calls: &[Call]) -> Vec<(u64, bool)> {
        let cancel = |call: &Call| match call {
            Call::Cancel(cancel) => Some((cancel.request_id, cancel.answer_received)),
            _ => None,
        };
        calls.iter().filter_map(cancel).collect()
    }

    const THIRD: Place = Place { place: 3, estimate: None };

    /// What is not with the server takes no room there.
    #[test]
    fn many_asked_for_at_once_do_not_make_the_server_forget_who_waits() {
        let mut requests = Requests::new();
        let (waiting, _told) = wanted(7);
        requests.add(waiting);
        requests.next_message();
        requests.queued(1, THIRD);
        (2..=500).for_each(|id| requests.add(Waiting::GiveBack { id, reply: None }));
        let sent = ids(&requests.next_message());
        let (kept, dropped) = sent.split_at(KEPT_FOR_WAITING as usize - 1);
        assert!(kept.iter().all(|(_, answered_through)| *answered_through == 0), "{sent:?}");
        assert!(dropped.iter().all(|(_, answered_through)| *answered_through == 1), "{sent:?}");
    }

    #[test]
    fn who_waits_in_the_queue_holds_up_no_others() {
        let mut requests = Requests::new();
        let (waiting, told) = wanted(7);
        requests.add(waiting);
        assert_eq!(ids(&requests.next_message()), [(1, 0)]);
        assert!(requests.are_owed());
        requests.queued(1, THIRD);
        assert_eq!(*told.places.borrow(), Some(THIRD));
        assert!(!requests.are_owed());
        for id in 2..=500 {
            requests.add(Waiting::GiveBack { id, reply: None });
            // His answer may be on its way, and is kept for him as long as there is room.
            let answered_through = if id <= KEPT_FOR_WAITING { 0 } else { id - 1 };
            assert_eq!(ids(&requests.next_message()), [(id, answered_through)]);
            requests.answered(id);
        }
        // The late answer is acknowledged by a word of its own, which is said
        // again on the next stream.
        assert!(requests.answered(1).is_some());
        assert_eq!(cancels(&requests.next_message()), [(1, true)]);
        assert!(!requests.has_unsent());
        requests.resend(Instant::now());
        assert_eq!(cancels(&requests.next_message()), [(1, true)]);
    }

    #[test]
    fn who_gives_up_says_so_until_it_is_answered() {
        let mut requests = Requests::new();
        let (waiting, _told) = wanted(7);
        requests.add(waiting);
        requests.next_message();
        requests.queued(1, THIRD);
        requests.give_up(8);
        assert!(!requests.has_unsent());
        requests.give_up(7);
        assert_eq!(cancels(&requests.next_message()), [(1, false)]);
        requests.resend(Instant::now());
        let again = requests.next_message();
        assert_eq!(again.len(), 2, "the request, so that it is known, and then the word");
        assert_eq!(cancels(&again), [(1, false)]);
        requests.answered(1);
        assert!(!requests.has_unsent());
    }

    #[test]
    fn what_is_given_up_before_it_is_sent_again_is_sent_with_the_word() {
        let mut requests = Requests::new();
        requests.add(wanted(7).0);
        requests.next_message();
        requests.queued(1, THIRD);
        requests.resend(Instant::now());
        // Between two streams: this server has not been asked yet.
        requests.give_up(7);
        let calls = requests.next_message();
        assert!(matches!(calls[0], Call::Take(_)), "{calls:?}");
        assert_eq!(cancels(&calls), [(1, false)]);
        requests.unsend(&calls);
        let again = requests.next_message();
        assert_eq!((again.len(), cancels(&again)), (2, vec![(1, false)]));
        assert!(!requests.has_unsent());
    }

    #[test]
    fn who_waits_is_not_given_up_because_the_stream_is_new() {
        let refusal = Refusal::because(v1::Reason::NotLeader, "");
        let is_given_up =
            |requests: &Requests| matches!(requests.waiting[&1], Waiting::Take { reply: None, .. });
        let later = Instant::now() + Duration::from_secs(3_600);
        let mut requests = Requests::new();
        let (waiting, _told) = wanted(7);
        requests.add(waiting);
        requests.next_message();
        requests.queued(1, THIRD);
        requests.give_up_late(later, &refusal);
        requests.resend(Instant::now());
        requests.give_up_late(later, &refusal);
        assert!(!is_given_up(&requests), "it waits as long as it takes");
        requests.start_over("lost", later);
        requests.give_up_late(later, &refusal);
        assert!(!is_given_up(&requests), "in another session, too");
        // One that nobody has taken in has the time of any request.
        let mut requests = Requests::new();
        requests.add(wanted(7).0);
        requests.give_up_late(later, &refusal);
        assert!(is_given_up(&requests));
    }

    #[test]
    fn a_wait_that_no_server_answers_ends_at_its_own_time() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let (mut waiting, _told) = wanted(7);
        let (reply, _answer) = oneshot::channel();
        if let Waiting::Take { queue: Some(queue), deadline, reply: unanswered, .. } = &mut waiting
        {
            (*deadline, *unanswered) = (after(30), Some(reply));
            (queue.until, queue.timeout_ms) = (Some(after(5)), 5_000);
        }
        let mut requests = Requests::new();
        requests.add(waiting);
        assert_eq!(requests.deadline(), Some(after(5) + UNHEARD_GRACE));
        // The first stream comes late, and the server is told what is left.
        requests.resend(after(2));
        let timeout_ms = |calls: Vec<Call>| match &calls[..] {
            [Call::Take(take)] => take.wait.map(|wait| wait.timeout_ms),
            _ => panic!("{calls:?}"),
        };
        assert_eq!(timeout_ms(requests.next_message()), Some(3_000));
        requests.queued(1, THIRD);
        assert_eq!(requests.deadline(), Some(after(5) + WAIT_GRACE));
        // What was sent is sent as it was: it is one request.
        requests.resend(after(4));
        assert_eq!(timeout_ms(requests.next_message()), Some(3_000));
    }

    #[test]
    fn a_new_session_waits_for_what_is_left_of_the_time() {
        let mut requests = Requests::new();
        let (mut waiting, told) = wanted(7);
        let now = Instant::now();
        if let Waiting::Take { queue: Some(queue), .. } = &mut waiting {
            queue.until = Some(now + Duration::from_secs(60));
            queue.timeout_ms = 60_000;
        }
        requests.add(waiting);
        requests.queued(1, THIRD);
        requests.start_over("lost", now + Duration::from_secs(20));
        assert_eq!(*told.places.borrow(), None);
        let calls = requests.next_message();
        let [Call::Take(take)] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(take.wait.as_ref().map(|wait| wait.timeout_ms), Some(40_000));
    }

    type Lent = oneshot::Receiver<Result<v1::BorrowGrant, Error>>;

    fn borrow(requests: &mut Requests) -> Lent {
        let (reply, answer) = oneshot::channel();
        let (deadline, end) = (Instant::now() + WAIT_GRACE, v1::borrow::End::UntilMs(1_000));
        requests.add(Waiting::Borrow { items: Vec::new(), end, deadline, reply: Some(reply) });
        answer
    }

    #[test]
    fn what_may_be_lent_is_not_asked_for_again_and_loans_are_returned_in_any_session() {
        let mut requests = Requests::new();
        let mut sent = borrow(&mut requests);
        requests.return_loan(7, None);
        requests.next_message();
        // A stream that ended changes nothing about that.
        requests.resend(Instant::now());
        let mut unsent = borrow(&mut requests);
        requests.start_over("lost", Instant::now());
        let unknown = sent.try_recv().expect("answered").expect_err("unknown");
        assert!(matches!(unknown, Error::Unavailable(_)), "{unknown}");
        assert!(unsent.try_recv().is_err(), "it is asked for by the next session");
        assert!(requests.returns(7));
        let calls = requests.next_message();
        assert!(
            matches!(&calls[..], [Call::GiveBack(back), Call::Borrow(_)] if back.checkout_id == 7)
        );
    }

    #[test]
    fn what_may_be_lent_is_not_said_to_be_refused() {
        let mut requests = Requests::new();
        let mut sent = borrow(&mut requests);
        requests.next_message();
        let mut unsent = borrow(&mut requests);
        let refusal = Refusal::because(Reason::NoQuorum, "nobody leads");
        requests.give_up_late(Instant::now() + 2 * WAIT_GRACE, &refusal);
        let told = |lent: &mut Lent| {
            let error = lent.try_recv().expect("answered").expect_err("nothing was lent");
            error.refusal().expect("it says why").clone()
        };
        let unknown = told(&mut sent);
        assert_eq!(unknown.reason(), Reason::Deadline);
        assert_eq!(unknown.message, "it is unknown whether seats were lent: nobody leads");
        assert!(unknown.remedy.contains("triad borrow list"), "{}", unknown.remedy);
        assert_eq!(told(&mut unsent), refusal, "nobody was asked");
    }

    fn take(requests: &mut Requests) -> oneshot::Receiver<Result<Held, Error>> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + WAIT_GRACE;
        let items = Vec::new();
        requests.add(Waiting::Take { items, deadline, reply: Some(reply), queue: None });
        answer
    }

    #[test]
    fn what_was_given_up_before_it_was_sent_is_not_sent() {
        let mut requests = Requests::new();
        let sent = take(&mut requests);
        assert_eq!(ids(&requests.next_message()), [(1, 0)]);
        let (unsent, live) = (take(&mut requests), take(&mut requests));
        let (waiting, _told) = wanted(7);
        requests.add(waiting);
        let lent = borrow(&mut requests);
        requests.add(Waiting::GiveBack { id: 7, reply: None });
        drop((sent, unsent, lent));
        requests.give_up(7);
        requests.forget_unwanted();
        // The first may have been granted: only its answer says so.
        assert_eq!(ids(&requests.next_message()), [(3, 0), (6, 0)]);
        requests.resend(Instant::now());
        assert_eq!(ids(&requests.next_message()), [(1, 0), (3, 0), (6, 0)]);
        // Nobody waits for an answer to what was left out.
        requests.answered(1);
        requests.answered(3);
        requests.add(Waiting::GiveBack { id: 8, reply: None });
        assert_eq!(ids(&requests.next_message()), [(7, 5)]);
        drop(live);
    }

    #[test]
    fn another_session_asks_for_nothing_that_was_given_up() {
        let mut requests = Requests::new();
        let (sent, mut live) = (take(&mut requests), take(&mut requests));
        requests.next_message();
        let unsent = take(&mut requests);
        drop((sent, unsent));
        requests.start_over("lost", Instant::now());
        assert_eq!(ids(&requests.next_message()), [(1, 0)]);
        assert!(live.try_recv().is_err(), "it is the one that is waited for");
    }

    #[test]
    fn at_the_end_only_loans_are_waited_for() {
        let mut requests = give_backs(1);
        let mut sent = borrow(&mut requests);
        requests.next_message();
        let mut unsent = borrow(&mut requests);
        requests.return_loan(7, None);
        requests.abandon_all(&Error::Closed);
        assert!(matches!(sent.try_recv(), Ok(Err(Error::Closed))));
        assert!(matches!(unsent.try_recv(), Ok(Err(Error::Closed))));
        assert_eq!(requests.waiting.keys().copied().collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn what_was_lent_to_nobody_is_returned_also_after_a_refusal() {
        let mut requests = give_backs(1);
        let (reply, mut refused) = oneshot::channel();
        requests.return_loan(7, Some(reply));
        requests.return_loan(8, None);
        requests.refuse_all(&Error::Closed);
        assert!(matches!(refused.try_recv(), Ok(Err(Error::Closed))), "he can ask again");
        assert!(requests.returns(8) && !requests.returns(7));
        assert_eq!(requests.waiting.len(), 1);
    }

    #[test]
    fn one_loan_is_returned_once_however_often_it_is_asked() {
        let mut requests = Requests::new();
        let (first, mut before) = oneshot::channel();
        let (second, mut now) = oneshot::channel();
        requests.return_loan(7, Some(first));
        requests.return_loan(7, Some(second));
        requests.return_loan(7, None);
        requests.answered(1).expect("it is waited for").returned(true);
        assert!(matches!(before.try_recv(), Ok(Ok(true))), "also who asked first");
        assert!(matches!(now.try_recv(), Ok(Ok(true))));
        assert!(requests.is_empty());
    }
}
