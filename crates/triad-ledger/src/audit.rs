//! The history, proven: a second reading of the events that shares nothing with
//! the ledger that wrote them but their bytes.
//!
//! An [`Auditor`] is shown the events of a node one after the other. It checks
//! that their chain of hashes is whole, that nothing is missing and time never
//! ran back, and that no grant exceeded the rights in force at that moment. If
//! it is shown the history from its beginning, it also counts every seat anew,
//! naively, and compares with what the events say.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::codec::decode_event;
use crate::command::{At, GrantedItem, Holder};
use crate::events::{ChainHash, Event, Happening, PoolUse};
use crate::names::{CheckoutId, PoolId};
use crate::shares::{ClaimId, ShareKey};

/// The most faults that are told. A history with more has one cause.
pub const FAULTS_MAX: usize = 20;

/// Reads a history and says what does not fit.
#[derive(Clone, Debug)]
pub struct Auditor {
    chain: ChainHash,
    last: u64,
    at: At,
    /// True if everything was seen from the first event on.
    is_whole: bool,
    pools: BTreeMap<PoolId, PoolUse>,
    /// What each checkout holds, counted from the events alone.
    held: BTreeMap<CheckoutId, (Arc<Holder>, Vec<GrantedItem>)>,
    /// The claims on each pool, by who shares seats with whom.
    claims: BTreeMap<PoolId, BTreeMap<Option<ShareKey>, BTreeMap<ClaimId, u64>>>,
    changes: u64,
    faults: Vec<String>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The chain's head after the last event that was shown.
    pub chain: ChainHash,
    /// The number of the last event that was shown; 0 if there was none.
    pub last: u64,
    /// Changes of use that were checked.
    pub changes: u64,
    /// What does not fit, one sentence each, at most [`FAULTS_MAX`].
    pub faults: Vec<String>,
    /// Whether every seat was counted anew.
    pub is_whole: bool,
}

impl Auditor {
    /// An auditor who is shown the events after number `last`, after which the
    /// chain's head was `chain`. From the beginning: 0 and the default.
    pub fn new(last: u64, chain: ChainHash) -> Self {
        Auditor {
            chain,
            last,
            at: At::default(),
            is_whole: last == 0,
            pools: BTreeMap::new(),
            held: BTreeMap::new(),
            claims: BTreeMap::new(),
            changes: 0,
            faults: Vec::new(),
        }
    }

    /// Takes the next event, as it is kept.
    pub fn observe(&mut self, encoded: &[u8]) {
        self.chain = self.chain.extend(encoded);
        let event = match decode_event(encoded) {
            Ok(event) => event,
            Err(error) => {
                self.last = self.last.saturating_add(1);
                self.is_whole = false;
                return self.fault(format!("event {} cannot be read: {error}", self.last));
            }
        };
        if self.last.checked_add(1) != Some(event.sequence) {
            self.is_whole = false;
            self.fault(format!("event {} follows event {}", event.sequence, self.last));
        }
        self.last = event.sequence;
        let (before, now) = (self.at, event.at);
        if now.index < before.index
            || now.cluster_ms < before.cluster_ms
            || now.date_ms < before.date_ms
        {
            self.fault(format!("time runs back at event {}", event.sequence));
        }
        self.at = now;
        if self.is_whole {
            self.count(&event);
        }
        for pool in &event.pools {
            self.compare(&event, pool);
            self.pools.insert(pool.pool, pool.clone());
        }
    }

    /// What did not fit so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// What was found. `head` is where the ledger says that its chain ends, and
    /// after which event.
    pub fn finish(mut self, head: (u64, ChainHash)) -> Audit {
        if self.last != head.0 {
            self.fault(format!(
                "the history ends at event {}, the ledger at {}",
                self.last, head.0
            ));
        } else if self.chain != head.1 {
            self.fault(format!(
                "the chain of hashes is broken: somewhere up to event {} a byte is not what it was",
                self.last
            ));
        }
        let Auditor { chain, last, changes, faults, is_whole, .. } = self;
        Audit { chain, last, changes, faults, is_whole }
    }

    /// Counts what the event says, and nothing that it says of the pools.
    fn count(&mut self, event: &Event) {
        match &event.what {
            Happening::Granted { checkout, items, .. }
            | Happening::Adopted { checkout, items, .. }
            | Happening::Borrowed { checkout, items, .. } => {
                if self.held.contains_key(checkout) {
                    self.fault(format!(
                        "event {}: checkout {checkout} is granted twice",
                        event.sequence
                    ));
                }
                let Some(holder) = event.whose() else {
                    return self.fault(format!("event {}: granted to nobody", event.sequence));
                };
                let holder = Arc::new(holder.clone());
                self.hold(event, *checkout, holder, items);
            }
            Happening::Moved { checkout, items, .. }
            | Happening::Lingering { checkout, items, .. } => {
                if let Some(holder) = self.let_go(event.sequence, *checkout) {
                    self.hold(event, *checkout, holder, items);
                }
            }
            Happening::Returned { checkout, .. } => {
                self.let_go(event.sequence, *checkout);
            }
            _ => {}
        }
    }

    fn hold(
        &mut self,
        event: &Event,
        checkout: CheckoutId,
        holder: Arc<Holder>,
        items: &[GrantedItem],
    ) {
        for (number, item) in items.iter().enumerate() {
            let tokens = item.tokens.as_ref().map(|tokens| (tokens.pool, tokens.seats, true));
            for (pool, seats, of_token) in
                core::iter::once((item.pool, item.seats, false)).chain(tokens)
            {
                let Some(stands) = event.pools.iter().find(|stands| stands.pool == pool) else {
                    self.fault(format!(
                        "event {} does not say how pool {} stands",
                        event.sequence, pool.0
                    ));
                    continue;
                };
                let group = ShareKey::of(stands.share, &holder);
                let claim = ClaimId { checkout, item: number, of_token };
                let groups = self.claims.entry(pool).or_default();
                groups.entry(group).or_default().insert(claim, seats.get().into());
            }
        }
        self.held.insert(checkout, (holder, items.to_vec()));
    }

    fn let_go(&mut self, sequence: u64, checkout: CheckoutId) -> Option<Arc<Holder>> {
        let Some((holder, items)) = self.held.remove(&checkout) else {
            self.fault(format!("event {sequence}: checkout {checkout} was not held"));
            return None;
        };
        for item in &items {
            let tokens = item.tokens.as_ref().map(|tokens| tokens.pool);
            for pool in core::iter::once(item.pool).chain(tokens) {
                let Some(groups) = self.claims.get_mut(&pool) else { continue };
                for claims in groups.values_mut() {
                    claims.retain(|claim, _| claim.checkout != checkout);
                }
                groups.retain(|_, claims| !claims.is_empty());
                if groups.is_empty() {
                    self.claims.remove(&pool);
                }
            }
        }
        Some(holder)
    }

    /// Seats of the pool by our own count: of those who share, the largest claim.
    fn counted(&self, pool: PoolId) -> u64 {
        let groups = self.claims.get(&pool).into_iter().flatten();
        let weight = |(group, claims): (&Option<ShareKey>, &BTreeMap<ClaimId, u64>)| match group {
            None => claims.values().sum(),
            Some(_) => claims.values().copied().max().unwrap_or(0),
        };
        groups.map(weight).sum::<u64>()
    }

    /// What the event says of a pool, against the rights, against what it said
    /// before, and against our own count.
    fn compare(&mut self, event: &Event, now: &PoolUse) {
        self.changes += 1;
        let (number, feature) = (event.sequence, &now.feature);
        let before = self.pools.get(&now.pool).map_or(0, |before| before.held);
        let excess = now.held.saturating_sub(now.total);
        // A license that shrinks, or a renewal that takes over what is held,
        // leaves an overage, and so does what a back-up granted. Nothing else may.
        let may_exceed = matches!(
            event.what,
            Happening::Installed { .. }
                | Happening::PolicySet { .. }
                | Happening::Moved { .. }
                | Happening::Adopted { .. }
        );
        let known = self.is_whole || self.pools.contains_key(&now.pool);
        if !now.uncounted && !may_exceed && known && excess > 0 && now.held > before {
            self.fault(format!(
                "event {number}: oversold, {} of {} seats of {feature} are held",
                now.held, now.total
            ));
        }
        if self.is_whole {
            let counted = self.counted(now.pool);
            if counted != now.held {
                self.fault(format!(
                    "event {number}: {} seats of {feature} are said to be held, {counted} are",
                    now.held
                ));
            }
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}
