//! Duplicate grouping: the checkouts of a pool that share one seat, because
//! their holders agree in what the license names.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::command::Holder;
use crate::names::{CheckoutId, Label, Seats};
use crate::rights::Share;

/// One claim on a pool: a checkout's item, or the tokens of that item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClaimId {
    pub(crate) checkout: CheckoutId,
    pub(crate) item: usize,
    pub(crate) of_token: bool,
}

/// In what the holders of one group agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShareKey([Option<Label>; 4]);

impl ShareKey {
    /// `None` if everybody has a seat of his own.
    pub(crate) fn of(share: Share, holder: &Holder) -> Option<Self> {
        if share == Share::NOTHING {
            return None;
        }
        let part = |part, label: &Label| share.asks(part).then(|| label.clone());
        Some(ShareKey([
            part(Share::USER, &holder.user),
            part(Share::HOST, &holder.host),
            part(Share::DISPLAY, &holder.display),
            part(Share::VENDOR, &holder.vendor_data),
        ]))
    }
}

/// Claims that are one: together they weigh as much as the largest of them, and
/// what they weigh is the oldest's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    claims: BTreeMap<ClaimId, (Seats, Arc<Holder>)>,
    /// How many claims there are of each size.
    sizes: BTreeMap<Seats, usize>,
}

/// Seats that count, and for whom they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) owner: Arc<Holder>,
    pub(crate) seats: u64,
}

impl Group {
    pub(crate) fn weight(&self) -> Option<Weight> {
        let (_, (_, oldest)) = self.claims.first_key_value()?;
        Some(Weight { owner: oldest.clone(), seats: self.seats() })
    }

    pub(crate) fn seats(&self) -> u64 {
        self.sizes.last_key_value().map_or(0, |(seats, _)| seats.get().into())
    }

    pub(crate) fn join(&mut self, id: ClaimId, seats: Seats, holder: &Arc<Holder>) {
        let before = self.claims.insert(id, (seats, holder.clone()));
        debug_assert!(before.is_none(), "{id:?} is claimed once");
        *self.sizes.entry(seats).or_default() += 1;
    }

    /// True if nobody is left.
    pub(crate) fn leave(&mut self, id: ClaimId) -> bool {
        let (seats, _) = self.claims.remove(&id).expect("only what was claimed is returned");
        let count = self.sizes.get_mut(&seats).expect("each claim has a size");
        *count -= 1;
        if *count == 0 {
            self.sizes.remove(&seats);
        }
        self.claims.is_empty()
    }
}
