//! When this node last heard from its leader. Raft remembers who led until
//! somebody else is elected; a node that is left alone must not believe in a
//! leader for that long.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The last word of a leader.
#[derive(Debug)]
pub(crate) struct Heard {
    /// A leader that is silent for longer than this is not known to be there.
    silence_max: Duration,
    last: Mutex<Option<(u64, Instant)>>,
    news: Notify,
}

impl Heard {
    /// Nothing was heard yet.
    pub(crate) fn new(silence_max: Duration) -> Self {
        Heard { silence_max, last: Mutex::new(None), news: Notify::new() }
    }

    /// Raft accepted a message of `from` as that of its leader.
    pub(crate) fn note(&self, from: u64, now: Instant) {
        let before = self.last().replace((from, now));
        if before.is_none_or(|(peer, at)| peer != from || now >= at + self.silence_max) {
            self.news.notify_one();
        }
    }

    /// Until when `leader` counts as there; `None` if it does not.
    pub(crate) fn until(&self, leader: u64, now: Instant) -> Option<Instant> {
        let (from, at) = (*self.last())?;
        let until = at + self.silence_max;
        (from == leader && now < until).then_some(until)
    }

    /// Waits until somebody is heard who was not heard lately. Cancel safe.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    fn last(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.last.lock().expect("no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_leader_is_there_as_long_as_it_is_heard() {
        let silence_max = Duration::from_millis(600);
        let heard = Heard::new(silence_max);
        let t = Instant::now();
        let at = |ms| t + Duration::from_millis(ms);
        assert_eq!(heard.until(2, t), None, "remembered, not heard");
        heard.note(2, t);
        assert!(heard.news().now_or_never().is_some());
        assert_eq!(heard.until(2, at(599)), Some(at(600)));
        assert_eq!(heard.until(2, at(600)), None);
        assert_eq!(heard.until(3, at(1)), None, "somebody else is heard");
        heard.note(2, at(50));
        assert!(heard.news().now_or_never().is_none(), "nothing new");
        assert_eq!(heard.until(2, at(600)), Some(at(650)));
        heard.note(2, at(700));
        assert!(heard.news().now_or_never().is_some(), "it is back");
        heard.note(3, at(701));
        assert!(heard.news().now_or_never().is_some(), "another one");
    }
}
