//! A failover on a line of time: nobody leads, this node is elected, its ledger
//! has everything, and somebody is granted something again.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use triad_ledger::{Event, Happening};
use triad_raft::Leadership;

use super::{Context, Span, Traces};

/// What is known so far.
#[derive(Default)]
pub(super) struct Takeover {
    last: Option<u64>,
    /// Since when nobody leads.
    lost: Option<Instant>,
    elected: Option<Elected>,
    /// Nothing was granted since then.
    serving: Option<Serving>,
}

#[derive(Clone, Copy)]
struct Elected {
    lost: Instant,
    at: Instant,
}

#[derive(Clone, Copy)]
struct Serving {
    whole: Context,
    since: Instant,
    term: u64,
}

impl Traces {
    /// Another leads from now on, or nobody; this node is `own`.
    pub(crate) fn led_by(&self, leadership: Leadership, own: u64, now: Instant) {
        if !self.is_on() {
            return;
        }
        let mut takeover = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
        if leadership.leader != Some(own) {
            takeover.elected = None;
            takeover.serving = None;
            self.awaits_grant.store(false, Relaxed);
        }
        match leadership.leader {
            // A cluster that has never been led loses nobody.
            None => takeover.lost = takeover.lost.or(takeover.last.map(|_| now)),
            Some(id) => {
                let before = takeover.last.replace(id);
                let lost = takeover.lost.take();
                if id == own {
                    let lost = lost.or(before.filter(|before| *before != own).map(|_| now));
                    let elected = lost.map(|lost| Elected { lost, at: now });
                    takeover.elected = elected.or(takeover.elected);
                }
            }
        }
    }

    /// This node leads, and grants from now on.
    pub(crate) fn serves(&self, leadership: Leadership, own: u64, sessions: usize, now: Instant) {
        // Whoever else follows the leadership may be late.
        self.led_by(leadership, own, now);
        let mut takeover = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((elected, whole)) = takeover.elected.take().zip(self.always()) else { return };
        takeover.serving = Some(Serving { whole, since: now, term: leadership.term });
        self.awaits_grant.store(true, Relaxed);
        drop(takeover);
        let term = leadership.term;
        let span = |name, context, began, ended| {
            Span::new(name, context, began).until(ended).with("raft.term", term)
        };
        let part = || self.part_of(whole);
        self.tell(span("election", part(), elected.lost, elected.at));
        self.tell(span("catching up", part(), elected.at, now));
        self.tell(span("failover", whole, elected.lost, now).with("triad.sessions", sessions));
    }

    /// Looks for the first grant of a leadership in what happened.
    pub(crate) fn report(&self, events: &[Event]) {
        if !self.awaits_grant.load(Relaxed) {
            return;
        }
        let grants = |event: &Event| {
            matches!(event.what, Happening::Granted { .. } | Happening::Borrowed { .. })
        };
        if !events.iter().any(grants) {
            return;
        }
        self.awaits_grant.store(false, Relaxed);
        let mut takeover = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Serving { whole, since, term }) = takeover.serving.take() else { return };
        drop(takeover);
        self.tell(Span::new("first grant", self.part_of(whole), since).with("raft.term", term));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use triad_ledger::names::{CheckoutId, SessionId};
    use triad_ledger::{At, Holder};

    use super::*;
    use crate::traces::tests::traces;

    fn event(what: Happening) -> Event {
        Event { sequence: 1, at: At::default(), holder: None, pools: Vec::new(), by: None, what }
    }

    #[tokio::test]
    async fn a_failover_is_told_in_its_parts_and_a_first_election_is_none() {
        let (traces, mut waiting) = traces("0");
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let led = |leader, term| Leadership { term, leader, serving: leader == Some(1) };
        traces.led_by(led(None, 1), 1, at(0));
        traces.led_by(led(Some(1), 1), 1, at(10));
        traces.serves(led(Some(1), 1), 1, 5, at(20));
        assert!(waiting.try_recv().is_err(), "nobody led before");
        traces.led_by(led(Some(2), 2), 1, at(100));
        traces.led_by(led(None, 3), 1, at(200));
        traces.led_by(led(Some(1), 3), 1, at(260));
        traces.serves(led(Some(1), 3), 1, 5, at(300));
        let session = SessionId([1; 16]);
        let opened = Happening::Opened { session, holder: Holder::default() };
        traces.report(&[event(opened)]);
        let checkout = CheckoutId(1);
        let granted = || event(Happening::Granted { session, checkout, items: Vec::new() });
        traces.report(&[granted()]);
        traces.report(&[granted()]);
        let mut spans = Vec::new();
        while let Ok(span) = waiting.try_recv() {
            spans.push(span);
        }
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["election", "catching up", "failover", "first grant"]);
        let lasted = |n: usize| spans[n].ended - spans[n].began;
        assert_eq!([0, 1, 2].map(lasted), [60, 40, 100].map(Duration::from_millis));
        let whole = spans[2].context;
        assert_eq!(whole.parent, 0);
        for part in [0, 1, 3].map(|n| spans[n].context) {
            assert_eq!((part.trace, part.parent), (whole.trace, whole.span));
        }
    }
}
