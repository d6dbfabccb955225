//! How many seats of each feature were in use, at every moment, as the events
//! of the history tell it.

use std::collections::{BTreeMap, BTreeSet};

use triad_proto::v1::{EventKind, HistoryEvent, PoolUse};

use super::window::Window;

/// How a feature stands: the sums over its pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Seats in use.
    pub in_use: u64,
    /// Seats bought.
    pub licensed: u64,
    /// Seats that may be used at most, overdraft included.
    pub total: u64,
    /// Seats in use beyond those bought, pool by pool.
    pub above: u64,
    /// One of its pools has no count.
    pub uncounted: bool,
}

/// Whoever wants to know how use went on.
pub trait Observer {
    /// The feature stood like this for a while.
    fn stood(&mut self, feature: &str, standing: Standing, from_ms: u64, to_ms: u64);
    /// All the time that was told of the feature so far, `pool` was there too,
    /// and nobody had said so.
    fn also_stood(&mut self, feature: &str, pool: Standing);
}

/// The use of all features through a window, for an observer.
pub struct Usage<O> {
    window: Window,
    /// Only this one. Empty: all.
    feature: String,
    features: BTreeMap<String, Feature>,
    observer: O,
}

#[derive(Default)]
struct Feature {
    pools: BTreeMap<u32, Standing>,
    /// Up to when the observer knows.
    told_ms: u64,
}

impl<O: Observer> Usage<O> {
    /// Nothing is known yet.
    pub fn new(window: Window, feature: &str, observer: O) -> Self {
        Usage { window, feature: feature.to_owned(), features: BTreeMap::new(), observer }
    }

    /// The next event. Events before the window say how things stood when it
    /// began; those after it are not looked at.
    pub fn event(&mut self, event: &HistoryEvent) {
        if event.date_ms >= self.window.to_ms {
            return;
        }
        let about = |pool: &&PoolUse| self.feature.is_empty() || pool.feature == self.feature;
        let changed: Vec<&PoolUse> = event.r#use.iter().filter(about).collect();
        let names: BTreeSet<&str> = changed.iter().map(|pool| pool.feature.as_str()).collect();
        let is_before = event.date_ms < self.window.from_ms;
        for name in names {
            let pools = changed.iter().filter(|pool| pool.feature == name);
            if !is_before {
                for pool in pools.clone() {
                    self.meet(name, pool, before(event, pool));
                }
                self.tell(name, event.date_ms);
            }
            let feature = self.features.entry(name.to_owned()).or_default();
            feature.pools.extend(pools.map(|pool| (pool.pool_id, standing_of(pool))));
            if !is_before {
                // However short it stands like this: a peak may be an instant.
                let standing = feature.standing();
                self.observer.stood(name, standing, event.date_ms, event.date_ms);
            }
        }
    }

    /// How a pool stands at the end. One that no event touched has stood so all
    /// the time.
    pub fn stands(&mut self, pool: &PoolUse) {
        if self.feature.is_empty() || pool.feature == self.feature {
            self.meet(&pool.feature, pool, pool.seats_in_use);
        }
    }

    /// The observer, told of the whole window.
    pub fn finish(mut self) -> O {
        let names: Vec<String> = self.features.keys().cloned().collect();
        for name in names {
            self.tell(&name, self.window.to_ms);
        }
        self.observer
    }

    /// A pool that was not met before has had `in_use` seats in use up to now.
    fn meet(&mut self, name: &str, pool: &PoolUse, in_use: u64) {
        let feature = self.features.entry(name.to_owned()).or_default();
        if feature.pools.contains_key(&pool.pool_id) {
            return;
        }
        let standing = standing_of(&PoolUse { seats_in_use: in_use, ..pool.clone() });
        feature.pools.insert(pool.pool_id, standing);
        if feature.told_ms > 0 {
            self.observer.also_stood(name, standing);
        }
    }

    /// Tells the observer how a feature stood up to now.
    fn tell(&mut self, name: &str, to_ms: u64) {
        let Some(feature) = self.features.get_mut(name) else { return };
        let from_ms = feature.told_ms.max(self.window.from_ms);
        if from_ms < to_ms {
            self.observer.stood(name, feature.standing(), from_ms, to_ms);
        }
        feature.told_ms = to_ms;
    }
}

impl Feature {
    fn standing(&self) -> Standing {
        let mut sum = Standing::default();
        for pool in self.pools.values() {
            sum.in_use += pool.in_use;
            sum.licensed += pool.licensed;
            sum.total += pool.total;
            sum.above += pool.above;
            sum.uncounted |= pool.uncounted;
        }
        sum
    }
}

fn standing_of(pool: &PoolUse) -> Standing {
    let PoolUse { seats_in_use: in_use, seats_licensed: licensed, seats_total: total, .. } = *pool;
    let above = if pool.uncounted { 0 } else { in_use.saturating_sub(licensed) };
    Standing { in_use, licensed, total, above, uncounted: pool.uncounted }
}

/// How many seats of the pool were in use before an event that is the first to
/// mention it. A return does not say how many seats it frees: at least one.
fn before(event: &HistoryEvent, pool: &PoolUse) -> u64 {
    let items = event.granted.iter().filter(|item| item.feature == pool.feature);
    let moved: u64 = items.map(|item| u64::from(item.seats)).sum();
    match event.kind() {
        EventKind::Granted | EventKind::Borrowed => pool.seats_in_use.saturating_sub(moved),
        EventKind::Returned => {
            let most = if pool.uncounted { u64::MAX } else { pool.seats_total };
            pool.seats_in_use.saturating_add(moved.max(1)).min(most.max(pool.seats_in_use))
        }
        _ => pool.seats_in_use,
    }
}

#[cfg(test)]
pub mod tests {
    use triad_proto::v1::GrantedItem;

    use super::*;

    /// An event that leaves a pool of 10 seats and 2 of overdraft like this.
    pub fn event(
        date_ms: u64,
        kind: EventKind,
        pool_id: u32,
        seats: u32,
        in_use: u64,
    ) -> HistoryEvent {
        let pool = PoolUse {
            pool_id,
            feature: "solver".into(),
            seats_in_use: in_use,
            seats_licensed: 10,
            seats_total: 12,
            uncounted: false,
        };
        let item = GrantedItem { feature: "solver".into(), seats, ..GrantedItem::default() };
        HistoryEvent {
            date_ms,
            kind: kind.into(),
            granted: vec![item],
            r#use: vec![pool],
            ..HistoryEvent::default()
        }
    }

    #[derive(Default)]
    struct Heard(Vec<(u64, u64, u64)>, u64);

    impl Observer for Heard {
        fn stood(&mut self, _: &str, standing: Standing, from_ms: u64, to_ms: u64) {
            if from_ms < to_ms {
                self.0.push((from_ms, to_ms, standing.in_use));
            }
        }
        fn also_stood(&mut self, _: &str, pool: Standing) {
            self.1 += pool.in_use;
        }
    }

    const WINDOW: Window = Window { from_ms: 100, to_ms: 200 };

    fn heard(events: &[HistoryEvent]) -> Heard {
        let mut usage = Usage::new(WINDOW, "", Heard::default());
        for event in events {
            usage.event(event);
        }
        usage.finish()
    }

    #[test]
    fn what_was_before_the_window_is_how_it_begins() {
        let events = [
            event(10, EventKind::Granted, 1, 3, 3),
            event(150, EventKind::Granted, 1, 1, 4),
            event(250, EventKind::Granted, 1, 5, 9),
        ];
        assert_eq!(heard(&events).0, [(100, 150, 3), (150, 200, 4)]);
    }

    #[test]
    fn the_first_event_of_a_pool_tells_what_was_before_it() {
        let granted = event(150, EventKind::Granted, 1, 2, 5);
        assert_eq!(heard(&[granted]).0, [(100, 150, 3), (150, 200, 5)]);
        let returned = event(150, EventKind::Returned, 1, 2, 5);
        assert_eq!(heard(&[returned]).0, [(100, 150, 7), (150, 200, 5)]);
        // A shared seat that comes back frees none: no more than exist were used.
        let shared = event(150, EventKind::Returned, 1, 2, 12);
        assert_eq!(heard(&[shared]).0, [(100, 150, 12), (150, 200, 12)]);
    }

    #[test]
    fn a_pool_that_is_met_late_was_there_before() {
        let events =
            [event(120, EventKind::Granted, 1, 1, 1), event(150, EventKind::Returned, 2, 2, 4)];
        let heard = heard(&events);
        assert_eq!(heard.0, [(100, 120, 0), (120, 150, 7), (150, 200, 5)]);
        assert_eq!(heard.1, 6);
    }

    #[test]
    fn a_pool_that_nothing_touched_stood_all_the_time() {
        let mut usage = Usage::new(WINDOW, "", Heard::default());
        let pool = event(0, EventKind::Granted, 1, 0, 6).r#use.remove(0);
        usage.stands(&pool);
        assert_eq!(usage.finish().0, [(100, 200, 6)]);
        let mut usage = Usage::new(WINDOW, "viewer", Heard::default());
        usage.stands(&pool);
        usage.event(&event(120, EventKind::Granted, 1, 1, 1));
        assert_eq!(usage.finish().0, []);
    }
}
