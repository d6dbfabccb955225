//! Events: what happened, to whom, and how the pools stand after it.

use super::*;

impl Ledger {
    /// The pools of which a checkout holds seats.
    pub(super) fn touched(&self, checkout: &Checkout) -> Vec<(PoolId, FeatureName)> {
        let pools = checkout.claims(CheckoutId(0)).map(|(pool, _)| pool);
        pools.map(|pool| (pool, self.pools.held(pool).key.feature.clone())).collect()
    }

    pub(super) fn happened(&mut self, what: Happening) {
        self.happened_with(None, Vec::new(), what);
    }

    /// Notes what happened to somebody, and how the pools stand that it touched.
    pub(super) fn happened_to(
        &mut self,
        holder: &Arc<Holder>,
        touched: impl Into<Vec<(PoolId, FeatureName)>>,
        what: Happening,
    ) {
        self.happened_with(Some(holder.clone()), touched.into(), what);
    }

    pub(super) fn happened_with(
        &mut self,
        holder: Option<Arc<Holder>>,
        mut touched: Vec<(PoolId, FeatureName)>,
        what: Happening,
    ) {
        touched.sort_unstable();
        touched.dedup();
        let stands = |(id, feature): (PoolId, FeatureName)| match self.pools.pool(id) {
            Some(pool) => PoolUse::of(id, pool),
            None => PoolUse::gone(id, feature),
        };
        let pools = touched.into_iter().map(stands).collect();
        self.meta.last_event += 1;
        let (sequence, at, by) = (self.meta.last_event, self.meta.at, self.acting.clone());
        let event = Event { sequence, at, by, holder, pools, what };
        let encoded = codec::encode_event(&event);
        self.meta.chain = self.meta.chain.extend(&encoded);
        self.events.push(event);
        self.encoded_events.push(encoded);
    }
}
