//! What a back-up did while it served in the main server's place, as the main
//! takes it over when it is back.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ledger::{Checkout, Ledger, Stay};
use crate::names::{CheckoutId, FeatureName, PoolId, SessionId};
use crate::sessions::Session;

/// Checkouts and tickets are numbered anew in each epoch, so that two servers
/// that served at the same time never gave out the same number.
pub const EPOCH_NUMBERS: u64 = 1_000_000_000_000;
/// The highest epoch: far more takeovers than a site sees, and far from the end
/// of the numbers.
pub const EPOCH_MAX: u64 = 1_000_000;
/// Sessions of one [`Takeover`], so that it fits into an entry of the log.
pub const TAKEOVER_SESSIONS_MAX: usize = 1_000;

/// And checkouts, but for those of its last session.
const TAKEOVER_CHECKOUTS_MAX: usize = 4_000;

/// A part of what a back-up granted and returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// The epoch in which it served.
    pub epoch: u64,
    /// The features of its pools.
    pub(crate) pools: BTreeMap<PoolId, FeatureName>,
    /// Its sessions.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// What they hold, and what is borrowed. What lingers there, nobody holds.
    pub(crate) checkouts: BTreeMap<CheckoutId, Checkout>,
    /// What was given back there, also of what had been granted before.
    pub released: BTreeSet<CheckoutId>,
}

impl Takeover {
    /// How many sessions it has.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many checkouts it has.
    pub fn checkout_count(&self) -> usize {
        self.checkouts.len()
    }
}

impl Ledger {
    /// Everything that is held here, in parts that fit into the log, for the main
    /// server whose place this ledger had. `released`: what was given back here; what
    /// lingers of a session that is open is added to it.
    pub fn takeover(&self, mut released: BTreeSet<CheckoutId>) -> Vec<Takeover> {
        let pools = self.pools().map(|(id, pool)| (id, pool.key.feature.clone()));
        let empty = Takeover { epoch: self.epoch(), pools: pools.collect(), ..Takeover::default() };
        let is_full = |part: &Takeover| {
            part.sessions.len() >= TAKEOVER_SESSIONS_MAX
                || part.checkouts.len() >= TAKEOVER_CHECKOUTS_MAX
        };
        let mut parts: Vec<Takeover> = Vec::new();
        for (id, session) in self.sessions(None) {
            if parts.last().is_none_or(is_full) {
                parts.push(empty.clone());
            }
            let part = parts.last_mut().expect("just looked at");
            part.sessions.insert(id, session.clone());
            for checkout in &session.checkouts {
                let held = self.find_checkout(*checkout).expect("a session's checkout is held");
                part.checkouts.insert(*checkout, held.clone());
            }
        }
        let borrowed: Vec<_> = self
            .checkouts(CheckoutId(0))
            .filter(|(_, checkout)| matches!(checkout.stay, Stay::Borrowed { .. }))
            .collect();
        for some in borrowed.chunks(TAKEOVER_SESSIONS_MAX) {
            let mut part = empty.clone();
            part.checkouts = some.iter().map(|(id, held)| (*id, (*held).clone())).collect();
            parts.push(part);
        }
        let lingers = |held: &Checkout| {
            matches!(held.stay, Stay::Lingering { .. }) && self.session(held.session).is_some()
        };
        let lingering = self.checkouts(CheckoutId(0)).filter(|(_, checkout)| lingers(checkout));
        released.extend(lingering.map(|(id, _)| id));
        let released: Vec<CheckoutId> = released.into_iter().collect();
        for some in released.chunks(TAKEOVER_SESSIONS_MAX) {
            let released = some.iter().copied().collect();
            parts.push(Takeover { released, ..empty.clone() });
        }
        parts
    }
}
