//! News for the streams: what happened to a session without its having asked,
//! and where it stands in the queue.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc;
use triad_ledger::names::{CheckoutId, FeatureName, RequestId, SessionId};
use triad_ledger::{Answer, At, EndReason, Event, Happening, Item, Outcome};
use triad_proto::v1;
use triad_proto::v1::session_event::Event as News;

use crate::convert;
use crate::sessions::StreamId;

/// Where the news of a stream go. A channel keeps room for many, and most sessions never have
/// any: so it has room for where they are, and not for them.
pub(crate) type NewsSender = mpsc::Sender<Box<News>>;

/// News that somebody needs, of a client that does not read: every checkout of a session may end,
/// every request of it that waits may be settled and what it was granted end, what ended before its
/// answer was told ends for it, and so may the session. What it asks for meanwhile is not read either.
const NEEDED_MAX: usize =
    triad_ledger::CHECKOUTS_PER_SESSION_MAX + 3 * triad_ledger::QUEUED_PER_SESSION_MAX + 1;
/// News that wait on one stream: those, and changes of place, which are told only while there is
/// room for all of them.
pub(crate) const NEWS_WAITING_MAX: usize = NEEDED_MAX + triad_ledger::QUEUED_PER_SESSION_MAX;
/// Of how many grants the pace of a line is remembered, as a moving mean.
const PACE_WEIGHT: u64 = 8;

/// One who waits, as the desk is told once in a while.
pub(crate) struct Place {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) place: u64,
    pub(crate) estimate_ms: u64,
}

/// How fast a line moves.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last_ms: u64,
    /// The mean time between two grants; 0 until there were two.
    mean_ms: u64,
}

impl Pace {
    fn granted(&mut self, now_ms: u64) {
        let gap_ms = now_ms.saturating_sub(self.last_ms);
        self.last_ms = now_ms;
        self.mean_ms = match self.mean_ms {
            0 => gap_ms,
            mean => (mean * (PACE_WEIGHT - 1) + gap_ms) / PACE_WEIGHT,
        };
    }
}

#[derive(Default)]
struct Desk {
    by_session: HashMap<SessionId, Vec<(StreamId, NewsSender)>>,
    /// By feature; there are no more than are licensed.
    paces: HashMap<FeatureName, Pace>,
    /// The place that each waiting request was last told.
    told: HashMap<(SessionId, RequestId), u64>,
    /// Somebody joined or left a queue since the places were last told.
    queue_moved: bool,
}

/// Hands events of the ledger to the streams they concern.
#[derive(Default)]
pub(crate) struct NewsDesk(Mutex<Desk>);

impl NewsDesk {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().expect("no panic while held")
    }

    /// Called by the state machine for everything that happened. Only a leader
    /// has streams, so elsewhere this costs next to nothing.
    pub(crate) fn report(&self, events: &[Event]) {
        let mut desk = self.desk();
        for event in events {
            match &event.what {
                Happening::Ended { session, reason, .. } => {
                    // It may have waited; those behind it move up.
                    desk.queue_moved = true;
                    desk.tell_end(*session, 0, *reason, String::new());
                }
                Happening::Returned { session, checkout, reason }
                    if matches!(reason, EndReason::Expired | EndReason::Idle) =>
                {
                    desk.tell_end(*session, checkout.0, *reason, String::new());
                }
                Happening::Revoked { session, checkout, reason, .. } => {
                    let words = reason.as_str().to_owned();
                    desk.tell_end(*session, checkout.0, EndReason::Revoked, words);
                }
                Happening::Queued { .. } => desk.queue_moved = true,
                Happening::Settled { session, request, answer } => {
                    desk.settled(event.at, *session, *request, answer);
                }
                _ => {}
            }
        }
    }

    /// A checkout ended before its grant could be told. On every stream of the session: on which of
    /// them the client hears of the grant is not known.
    pub(crate) fn tell_late_end(&self, session: SessionId, checkout: CheckoutId) {
        let ended = v1::Ended {
            checkout_id: checkout.0,
            reason: v1::EndReason::Unspecified.into(),
            message: "it ended before the answer could be told".to_owned(),
        };
        self.desk().tell(session, &News::Ended(ended));
    }

    /// A stream now speaks for a session.
    pub(crate) fn attach(&self, session: SessionId, stream: StreamId, news: NewsSender) {
        let mut desk = self.desk();
        desk.by_session.entry(session).or_default().push((stream, news));
        // It is told its places anew.
        desk.queue_moved = true;
    }

    /// A stream is over.
    pub(crate) fn detach(&self, session: SessionId, stream: StreamId) {
        let mut desk = self.desk();
        let Some(open) = desk.by_session.get_mut(&session) else { return };
        open.retain(|(other, _)| *other != stream);
        if open.is_empty() {
            desk.by_session.remove(&session);
            desk.told.retain(|(of, _), _| *of != session);
        }
    }

    /// Whether the queue moved since this was last asked.
    pub(crate) fn queue_moved(&self) -> bool {
        std::mem::take(&mut self.desk().queue_moved)
    }

    /// Tells those whose place has changed.
    pub(crate) fn tell_places(&self, places: &[Place]) {
        let mut desk = self.desk();
        for Place { session, request, place, estimate_ms } in places {
            let Some(streams) = desk.by_session.get(session) else { continue };
            let queued = v1::Queued {
                request_id: request.0,
                position: None,
                place: *place,
                estimate_ms: *estimate_ms,
            };
            let streams = streams.clone();
            if desk.told.insert((*session, *request), *place) == Some(*place) {
                continue;
            }
            for (_, news) in streams.iter().filter(|(_, news)| news.capacity() > NEEDED_MAX) {
                let _ = news.try_send(Box::new(News::Queued(queued)));
            }
        }
    }

    /// A guess at how long a request for these items waits at this place: the
    /// slowest of its lines counts. 0: no idea.
    pub(crate) fn estimate_ms(&self, items: &[Item], place: u64) -> u64 {
        let desk = self.desk();
        let mean = |item: &Item| desk.paces.get(&item.feature).map_or(0, |pace| pace.mean_ms);
        items.iter().map(mean).max().unwrap_or(0).saturating_mul(place)
    }

    /// How many streams are open here.
    pub(crate) fn streams(&self) -> usize {
        self.desk().by_session.values().map(Vec::len).sum()
    }

    /// Leadership is over: what was learnt of the queue is somebody else's now.
    pub(crate) fn forget_queue(&self) {
        let mut desk = self.desk();
        desk.paces.clear();
        desk.told.clear();
    }
}

impl Desk {
    fn tell(&self, session: SessionId, news: &News) {
        for (_, stream) in self.by_session.get(&session).into_iter().flatten() {
            // A client that does not read learns it when it comes back.
            let _ = stream.try_send(Box::new(news.clone()));
        }
    }

    fn tell_end(&self, session: SessionId, checkout_id: u64, reason: EndReason, message: String) {
        if self.by_session.contains_key(&session) {
            let reason = convert::end_reason(reason).into();
            self.tell(session, &News::Ended(v1::Ended { checkout_id, reason, message }));
        }
    }

    fn settled(&mut self, at: At, session: SessionId, request: RequestId, answer: &Answer) {
        use v1::taken::Outcome as Taken;
        self.queue_moved = true;
        self.told.remove(&(session, request));
        let outcome = match answer {
            Ok(Outcome::Granted(grant)) => {
                for item in &grant.items {
                    let first = Pace { last_ms: at.cluster_ms, mean_ms: 0 };
                    let pace = self.paces.entry(item.feature.clone());
                    pace.and_modify(|pace| pace.granted(at.cluster_ms)).or_insert(first);
                }
                Taken::Grant(convert::grant(grant.clone()))
            }
            Ok(other) => unreachable!("a request is not settled by {other:?}"),
            Err(denial) => Taken::Denial(convert::denial(denial)),
        };
        let position = Some(v1::LogPosition { term: at.term, index: at.index });
        let taken = v1::Taken { request_id: request.0, position, outcome: Some(outcome) };
        self.tell(session, &News::Taken(taken));
    }
}

#[cfg(test)]
mod tests {
    use triad_ledger::names::{Seats, Version};

    use super::*;

    const ANN: SessionId = SessionId([1; 16]);

    fn item(feature: &str) -> Item {
        let feature = FeatureName::parse(feature).expect("good");
        Item { feature, version: Version::default(), seats: Seats::MIN }
    }

    fn settled(at_ms: u64, answer: Answer) -> Event {
        let at = At { cluster_ms: at_ms, ..At::default() };
        let what = Happening::Settled { session: ANN, request: RequestId(1), answer };
        Event { sequence: 1, at, by: None, holder: None, pools: Vec::new(), what }
    }

    fn granted(feature: &str) -> Answer {
        let item = item(feature);
        let granted = triad_ledger::GrantedItem {
            pool: triad_ledger::names::PoolId(1),
            feature: item.feature,
            seats: item.seats,
            version: item.version,
            expires_ms: None,
            vendor_string: Default::default(),
            tokens: None,
        };
        let checkout = triad_ledger::names::CheckoutId(1);
        Ok(Outcome::Granted(triad_ledger::Grant { checkout, items: vec![granted] }))
    }

    #[test]
    fn the_estimate_follows_the_pace_of_the_line() {
        let desk = NewsDesk::default();
        assert_eq!(desk.estimate_ms(&[item("cad")], 3), 0);
        desk.report(&[settled(1_000, granted("cad"))]);
        assert_eq!(desk.estimate_ms(&[item("cad")], 3), 0, "one grant says nothing of the pace");
        desk.report(&[settled(5_000, granted("cad"))]);
        assert_eq!(desk.estimate_ms(&[item("cad")], 3), 12_000);
        desk.report(&[settled(17_000, granted("cad"))]);
        assert_eq!(desk.estimate_ms(&[item("cad")], 1), 5_000);
        assert_eq!(desk.estimate_ms(&[item("cad"), item("mill")], 2), 10_000);
        desk.forget_queue();
        assert_eq!(desk.estimate_ms(&[item("cad")], 3), 0);
    }

    #[test]
    fn a_late_end_is_told_on_every_stream() {
        let desk = NewsDesk::default();
        let streams = [1, 2].map(|stream| {
            let (news, told) = mpsc::channel(NEWS_WAITING_MAX);
            desk.attach(ANN, StreamId(stream), news);
            told
        });
        desk.tell_late_end(ANN, CheckoutId(7));
        for mut told in streams {
            let news = *told.try_recv().expect("it is told");
            assert!(matches!(&news, News::Ended(ended) if ended.checkout_id == 7), "{news:?}");
        }
    }

    /// Of a client that does not read.
    #[test]
    fn places_leave_room_for_what_is_needed() {
        let desk = NewsDesk::default();
        let (news, mut told) = mpsc::channel(NEWS_WAITING_MAX);
        desk.attach(ANN, StreamId(1), news);
        for place in (1..10_000).rev() {
            let request = RequestId(1);
            desk.tell_places(&[Place { session: ANN, request, place, estimate_ms: 0 }]);
        }
        let desk = desk.desk();
        for checkout in 1..=NEEDED_MAX as u64 {
            desk.tell_end(ANN, checkout, EndReason::Idle, String::new());
        }
        let told = std::iter::from_fn(|| told.try_recv().ok());
        let (places, ends): (Vec<_>, Vec<_>) =
            told.partition(|news| matches!(**news, News::Queued(_)));
        assert!(!places.is_empty());
        assert_eq!(ends.len(), NEEDED_MAX);
    }

    #[test]
    fn a_place_is_told_once_and_again_when_it_changes() {
        let desk = NewsDesk::default();
        let (news, mut told) = mpsc::channel(NEWS_WAITING_MAX);
        desk.attach(ANN, StreamId(1), news);
        let place = |place| [Place { session: ANN, request: RequestId(1), place, estimate_ms: 0 }];
        for at in [3, 3, 2, 2] {
            desk.tell_places(&place(at));
        }
        let mut places = Vec::new();
        while let Ok(news) = told.try_recv() {
            let News::Queued(queued) = *news else { panic!("{news:?}") };
            places.push(queued.place);
        }
        assert_eq!(places, [3, 2]);
        desk.report(&[settled(1, granted("cad"))]);
        let taken = *told.try_recv().unwrap();
        assert!(matches!(&taken, News::Taken(taken) if taken.request_id == 1), "{taken:?}");
        assert!(desk.queue_moved());
        assert!(!desk.queue_moved());
    }
}
