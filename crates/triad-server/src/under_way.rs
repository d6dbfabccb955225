//! The requests of one stream that wait for their answers, which leave in the order in
//! which the requests came.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use triad_proto::v1::Refusal;
use triad_proto::v1::session_event::Event as News;

/// A request under way; without news if there is nothing to answer.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Option<News>, Refusal>> + Send>>;

enum Request {
    Asked(Answering),
    /// Before its turn. Boxed: it is rare, and a stream keeps room for several.
    Answered(Box<Result<Option<News>, Refusal>>),
}

/// Requests in the order in which they came. Each is asked once when it comes, which sends it
/// on its way; after that only the first is, since no other could leave before it. So one
/// request costs its own future and nothing beside it, and what wakes one wakes the stream.
#[derive(Default)]
pub(crate) struct UnderWay {
    requests: VecDeque<Request>,
    /// How many of them have been asked, from the first.
    begun: usize,
}

impl UnderWay {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// It is on its way with the next poll.
    pub(crate) fn push(&mut self, answering: Answering) {
        self.requests.push_back(Request::Asked(answering));
    }

    /// Ready once the first is, and takes along whatever is ready behind it.
    ///
    /// # Errors
    ///
    /// The first refusal that ends the stream; `out` has what was answered before it.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<News>,
    ) -> Poll<Result<(), Refusal>> {
        let mut outcome = Poll::Pending;
        while let Some(first) = self.requests.pop_front() {
            let answer = match first {
                Request::Answered(answer) => *answer,
                Request::Asked(mut answering) => match answering.as_mut().poll(cx) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => {
                        self.requests.push_front(Request::Asked(answering));
                        self.begun = self.begun.max(1);
                        break;
                    }
                },
            };
            self.begun = self.begun.saturating_sub(1);
            out.extend(answer?);
            outcome = Poll::Ready(Ok(()));
        }
        for request in self.requests.range_mut(self.begun..) {
            if let Request::Asked(answering) = request
                && let Poll::Ready(answer) = answering.as_mut().poll(cx)
            {
                *request = Request::Answered(Box::new(answer));
            }
        }
        self.begun = self.requests.len();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::sync::oneshot;
    use triad_proto::v1;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn beat(beat: u64) -> News {
        News::Beat(v1::BeatAcknowledged { beat })
    }

    fn beats(out: &[News]) -> Vec<u64> {
        let number = |news: &News| match news {
            News::Beat(acknowledged) => acknowledged.beat,
            other => panic!("{other:?}"),
        };
        out.iter().map(number).collect()
    }

    /// A request that is answered by the sender, and counts when it is first asked.
    fn request(begun: &Arc<AtomicUsize>) -> (oneshot::Sender<u64>, Answering) {
        let (sender, answer) = oneshot::channel();
        let begun = begun.clone();
        let answering = Box::pin(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(Some(beat(answer.await.expect("it is answered"))))
        });
        (sender, answering)
    }

    #[test]
    fn all_are_begun_and_leave_in_order() {
        let (woken, begun) = (Arc::new(Woken::default()), Arc::new(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        let mut cx = Context::from_waker(&waker);
        let (mut under_way, mut out) = (UnderWay::default(), Vec::new());
        let mut senders = Vec::new();
        for _ in 0..3 {
            let (sender, answering) = request(&begun);
            senders.push(sender);
            under_way.push(answering);
        }
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        assert_eq!(begun.load(Ordering::Relaxed), 3, "nobody waits for the one before");
        let mut senders = senders.into_iter();
        let mut answer = |number| senders.next().expect("three").send(number).expect("asked");

        answer(1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(under_way.poll(&mut cx, &mut out).is_ready());
        assert_eq!(beats(&out), [1]);
        answer(2);
        answer(3);
        assert!(under_way.poll(&mut cx, &mut out).is_ready());
        assert_eq!(beats(&out), [1, 2, 3], "what is ready goes along");
        assert!(under_way.is_empty());
        assert!(under_way.poll(&mut cx, &mut out).is_pending(), "nothing is under way");
    }

    #[test]
    fn one_that_is_ready_waits_for_the_one_before() {
        let (woken, begun) = (Arc::new(Woken::default()), Arc::new(AtomicUsize::new(0)));
        let waker = woken.into();
        let mut cx = Context::from_waker(&waker);
        let (mut under_way, mut out) = (UnderWay::default(), Vec::new());
        let (first, answering) = request(&begun);
        under_way.push(answering);
        let (second, answering) = request(&begun);
        under_way.push(answering);
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        second.send(2).expect("asked");
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        // One that comes meanwhile, and is answered at once.
        under_way.push(Box::pin(async { Ok(Some(beat(3))) }));
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        first.send(1).expect("asked");
        assert!(under_way.poll(&mut cx, &mut out).is_ready());
        assert_eq!(beats(&out), [1, 2, 3]);
    }

    /// Behind the first nothing is asked again, and goes on when it is its turn.
    #[test]
    fn one_that_waits_twice_goes_on_in_its_turn() {
        let (woken, begun) = (Arc::new(Woken::default()), Arc::new(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        let mut cx = Context::from_waker(&waker);
        let (mut under_way, mut out) = (UnderWay::default(), Vec::new());
        let (first, answering) = request(&begun);
        under_way.push(answering);
        let (again, answering) = request(&begun);
        let (second, before) = oneshot::channel::<()>();
        under_way.push(Box::pin(async move {
            before.await.expect("it is told");
            answering.await
        }));
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        second.send(()).expect("asked");
        assert!(under_way.poll(&mut cx, &mut out).is_pending());
        first.send(1).expect("asked");
        assert!(under_way.poll(&mut cx, &mut out).is_ready());
        let before = woken.0.load(Ordering::Relaxed);
        again.send(2).expect("asked by now");
        assert_eq!(woken.0.load(Ordering::Relaxed), before + 1);
        assert!(under_way.poll(&mut cx, &mut out).is_ready());
        assert_eq!(beats(&out), [1, 2]);
    }

    #[test]
    fn a_refusal_leaves_after_what_was_answered_before_it() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut under_way, mut out) = (UnderWay::default(), Vec::new());
        under_way.push(Box::pin(async { Ok(Some(beat(1))) }));
        under_way.push(Box::pin(async { Err(Refusal::because(v1::Reason::NoQuorum, "alone")) }));
        under_way.push(Box::pin(async { Ok(Some(beat(3))) }));
        assert!(matches!(under_way.poll(&mut cx, &mut out), Poll::Ready(Err(_))));
        assert_eq!(beats(&out), [1]);
        assert_eq!(under_way.len(), 1);
    }
}
