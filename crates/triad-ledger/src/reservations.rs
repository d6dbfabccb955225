//! Reservations: seats of a feature that are kept for somebody, and the pools in
//! which they lie.
//!
//! What is left of a reservation lies on free seats, wherever they are: so it
//! holds over the pools of the feature together, whoever holds which of them.
//! Where it lies is found anew for each request, from the few numbers that the
//! pools and rules keep; how many checkouts there are plays no part.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::names::PoolId;

/// The reservations of one feature, in the order of the document.
#[derive(Clone, Debug)]
pub(crate) struct Reservations {
    /// The valid pools of the feature, in the order in which they are lent.
    pools: Vec<PoolId>,
    reserved: Vec<Reserved>,
}

/// Seats that a rule keeps for its subject.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    /// Its place in the policy.
    pub(crate) rule: usize,
    pub(crate) seats: u64,
    /// The pools that it is about, by their places in the feature's.
    pub(crate) pools: Vec<usize>,
}

/// Seats held in one pool by those who may draw from these reservations.
pub(crate) struct Held<'a> {
    pub(crate) draws_from: &'a [usize],
    /// The pool's place in the feature's.
    pub(crate) pool: usize,
    pub(crate) seats: u64,
}

/// How many seats of a pool are free, and how many were bought.
pub(crate) struct Room {
    pub(crate) free: u64,
    pub(crate) licensed: u64,
}

/// Of each pool, how many seats by which reservation.
type Seats = BTreeMap<PoolId, BTreeMap<usize, u64>>;

/// Where the seats are that are kept.
#[derive(Default)]
pub(crate) struct Kept {
    /// Free ones.
    lying: Seats,
    /// Those that are held by whom they are kept for.
    drawn: Seats,
}

impl Kept {
    /// The reservations for which seats of this pool are kept free, by their
    /// places.
    pub(crate) fn of(&self, pool: PoolId) -> impl Iterator<Item = (usize, u64)> {
        self.lying.get(&pool).into_iter().flatten().map(|(place, seats)| (*place, *seats))
    }

    /// The reservations of which seats of this pool are drawn.
    pub(crate) fn drawn_of(&self, pool: PoolId) -> impl Iterator<Item = (usize, u64)> {
        self.drawn.get(&pool).into_iter().flatten().map(|(place, seats)| (*place, *seats))
    }
}

impl Reservations {
    /// What the pools have seats for. What finds none has no effect: the first
    /// reservations count.
    pub(crate) fn new(pools: Vec<(PoolId, u64)>, mut wanted: Vec<Reserved>) -> Self {
        let (pools, licensed): (Vec<PoolId>, Vec<u64>) = pools.into_iter().unzip();
        let seats: Vec<u64> = wanted.iter().map(|reserved| reserved.seats).collect();
        let mut found = alloc::vec![0; wanted.len()];
        for laid in lay(&wanted, &seats, licensed) {
            laid.into_iter().for_each(|(place, seats)| found[place] += seats);
        }
        wanted.iter_mut().zip(found).for_each(|(reserved, seats)| reserved.seats = seats);
        wanted.retain(|reserved| reserved.seats > 0);
        Reservations { pools, reserved: wanted }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reserved.is_empty()
    }

    /// The pools, by their places.
    pub(crate) fn pools(&self) -> &[PoolId] {
        &self.pools
    }

    pub(crate) fn rule(&self, place: usize) -> usize {
        self.reserved[place].rule
    }

    /// The reservations about a pool: their places, and their rules.
    pub(crate) fn about(&self, pool: usize) -> impl Iterator<Item = (usize, usize)> {
        let about = self.reserved.iter().enumerate();
        let about = about.filter(move |(_, reserved)| reserved.pools.contains(&pool));
        about.map(|(place, reserved)| (place, reserved.rule))
    }

    /// Lays what is left of each reservation on free seats. Those who may draw
    /// from the fewest are taken to have drawn first, each from the first of the
    /// document that has something left. Overdraft is never kept.
    pub(crate) fn keep(&self, mut held: Vec<Held<'_>>, rooms: Vec<Room>) -> Kept {
        let mut left: Vec<u64> = self.reserved.iter().map(|reserved| reserved.seats).collect();
        let mut bought: Vec<u64> = rooms.iter().map(|room| room.licensed).collect();
        let mut drawn = Seats::new();
        held.sort_by_key(|held| (held.draws_from.len(), held.draws_from, held.pool));
        for Held { draws_from, pool, mut seats } in held {
            for &place in draws_from {
                let draws = seats.min(left[place]);
                if draws > 0 {
                    left[place] -= draws;
                    seats -= draws;
                    bought[pool] = bought[pool].saturating_sub(draws);
                    let of_pool = drawn.entry(self.pools[pool]).or_default();
                    *of_pool.entry(place).or_default() += draws;
                }
            }
        }
        let room = rooms.iter().zip(bought).map(|(room, bought)| room.free.min(bought));
        let laid = lay(&self.reserved, &left, room.collect());
        let lying = self.pools.iter().copied().zip(laid);
        let lying = lying.filter(|(_, laid)| !laid.is_empty()).collect();
        Kept { lying, drawn }
    }
}

/// Lays so many seats of each reservation on the pools that it is about, in their
/// order, as far as there is room: of each pool, how many by which. One that may
/// lie elsewhere makes room for a later one that may not, so none is left out
/// that could be kept besides those before it.
fn lay(reserved: &[Reserved], seats: &[u64], mut room: Vec<u64>) -> Vec<BTreeMap<usize, u64>> {
    let mut laid: Vec<BTreeMap<usize, u64>> = alloc::vec![BTreeMap::new(); room.len()];
    for (place, seats) in seats.iter().enumerate() {
        let mut left = *seats;
        while left > 0 {
            let Some(steps) = way(reserved, place, &room, &laid) else { break };
            let (last, _) = *steps.first().expect("a way has an end");
            // Each but the last step makes way: so many at most may leave.
            let leaving = steps.windows(2).map(|pair| laid[pair[1].0][&pair[0].1]);
            let moved = leaving.min().unwrap_or(left).min(left).min(room[last]);
            for (number, (pool, comes)) in steps.iter().enumerate() {
                *laid[*pool].entry(*comes).or_default() += moved;
                if let Some((from, _)) = steps.get(number + 1) {
                    let stays = laid[*from].get_mut(comes).expect("it lay there");
                    *stays -= moved;
                    if *stays == 0 {
                        laid[*from].remove(comes);
                    }
                }
            }
            room[last] -= moved;
            left -= moved;
        }
    }
    laid
}

/// The shortest way to lay a seat of this reservation, the last step first: into
/// which pool, and which reservation's. Each step makes room for the one after it
/// in this list.
fn way(
    reserved: &[Reserved],
    place: usize,
    room: &[u64],
    laid: &[BTreeMap<usize, u64>],
) -> Option<Vec<(usize, usize)>> {
    // Of each pool that is reached: whose seat would come, and from where.
    let mut reached: Vec<Option<(usize, Option<usize>)>> = alloc::vec![None; room.len()];
    let mut next = VecDeque::new();
    let mut reach = |comes: usize, from: Option<usize>, next: &mut VecDeque<usize>| {
        for &pool in &reserved[comes].pools {
            if reached[pool].is_none() {
                reached[pool] = Some((comes, from));
                next.push_back(pool);
            }
        }
    };
    reach(place, None, &mut next);
    let mut end = None;
    while let Some(pool) = next.pop_front() {
        if room[pool] > 0 {
            end = Some(pool);
            break;
        }
        laid[pool].keys().for_each(|lies| reach(*lies, Some(pool), &mut next));
    }
    let mut steps = Vec::new();
    while let Some(pool) = end {
        let (comes, from) = reached[pool].expect("it was reached");
        steps.push((pool, comes));
        end = from;
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn wanted(seats: u64, pools: &[usize]) -> Reserved {
        Reserved { rule: 0, seats, pools: pools.to_vec() }
    }

    /// Of each pool, how many seats each reservation keeps.
    fn laid(wanted: &[Reserved], room: &[u64]) -> Vec<Vec<(usize, u64)>> {
        let seats: Vec<u64> = wanted.iter().map(|wanted| wanted.seats).collect();
        let laid = lay(wanted, &seats, room.to_vec());
        laid.into_iter().map(|laid| laid.into_iter().collect()).collect()
    }

    #[test]
    fn seats_are_kept_in_the_order_in_which_they_are_lent() {
        let three = [wanted(3, &[0, 1])];
        assert_eq!(laid(&three, &[2, 2]), [vec![(0, 2)], vec![(0, 1)]]);
        assert_eq!(laid(&three, &[0, 2]), [vec![], vec![(0, 2)]]);
        let two = [wanted(1, &[0]), wanted(9, &[0])];
        assert_eq!(laid(&two, &[5]), [vec![(0, 1), (1, 4)]]);
    }

    #[test]
    fn who_may_lie_elsewhere_makes_room() {
        let any_and_first = [wanted(2, &[0, 1]), wanted(2, &[0])];
        assert_eq!(laid(&any_and_first, &[2, 2]), [vec![(1, 2)], vec![(0, 2)]]);
        assert_eq!(laid(&any_and_first, &[2, 1]), [vec![(0, 1), (1, 1)], vec![(0, 1)]]);
        // In two steps: 0 leaves the first for 1, which leaves the second for 2.
        let chain = [wanted(1, &[0, 1]), wanted(1, &[1, 2]), wanted(1, &[0]), wanted(1, &[1])];
        assert_eq!(laid(&chain, &[1, 1, 1]), [vec![(2, 1)], vec![(0, 1)], vec![(1, 1)]]);
    }

    #[test]
    fn the_first_of_the_document_are_kept() {
        let first_then_any = [wanted(2, &[0]), wanted(2, &[0, 1])];
        assert_eq!(laid(&first_then_any, &[2, 0]), [vec![(0, 2)], vec![]]);
        let both = [wanted(1, &[0, 1]), wanted(1, &[0, 1])];
        assert_eq!(laid(&both, &[0, 1]), [vec![], vec![(0, 1)]]);
    }
}
