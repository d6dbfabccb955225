//! Handshakes under way, and who gives way when there is no room for more.
//!
//! Places alone do not help against silence: a few hosts that open connections
//! and say nothing would hold all of them, for the whole deadline, again and
//! again, and everybody else would wait in the kernel's queue behind more of
//! the same. So an address that has few gets the place of one that has many.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::slots::block_of;

/// Of all places, an address with fewer than this part has few: it may wait for
/// one. Sixteen of the clients' port.
const FEW_SHARE: usize = 64;

/// Whether one more may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Now; somebody may have given way.
    Yes,
    /// When one has ended. Nobody has many.
    Later,
    /// Not for this address, which has many.
    No,
}

/// The handshakes of one listener.
pub(super) struct Handshakes<T> {
    max: usize,
    tasks: JoinSet<T>,
    addresses: HashMap<Id, IpAddr>,
    /// The oldest first.
    by_address: HashMap<IpAddr, VecDeque<(Id, AbortHandle)>>,
}

impl<T: Send + 'static> Handshakes<T> {
    pub(super) fn new(max: usize) -> Self {
        let (addresses, by_address) = (HashMap::new(), HashMap::new());
        Handshakes { max: max.max(1), tasks: JoinSet::new(), addresses, by_address }
    }

    /// Whether one of `ip` may begin. If another has to give way for it, it has.
    pub(super) fn room_for(&mut self, ip: IpAddr) -> Room {
        if self.addresses.len() < self.max {
            return Room::Yes;
        }
        let address = block_of(ip);
        let own = self.by_address.get(&address).map_or(0, VecDeque::len);
        let most = self.by_address.values().map(VecDeque::len).max().unwrap_or(0);
        if own + 1 < most {
            self.give_way(most);
            return Room::Yes;
        }
        if own < self.max.div_ceil(FEW_SHARE) { Room::Later } else { Room::No }
    }

    /// The oldest of an address with the most: an honest handshake is soon over.
    fn give_way(&mut self, most: usize) {
        let fullest = self.by_address.values_mut().find(|tasks| tasks.len() == most);
        if let Some((id, task)) = fullest.and_then(VecDeque::pop_front) {
            task.abort();
            // No longer counted, though its end is yet to be seen.
            self.addresses.remove(&id);
        }
    }

    /// Begins one, for which there is room.
    pub(super) fn begin(
        &mut self,
        ip: IpAddr,
        handshake: impl Future<Output = T> + Send + 'static,
    ) {
        let address = block_of(ip);
        let task = self.tasks.spawn(handshake);
        self.addresses.insert(task.id(), address);
        self.by_address.entry(address).or_default().push_back((task.id(), task));
    }

    /// The next one that has ended; `None` if none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<T, JoinError>> {
        let (id, ended) = match self.tasks.join_next_with_id().await? {
            Ok((id, value)) => (id, Ok(value)),
            Err(error) => (error.id(), Err(error)),
        };
        if let Some(address) = self.addresses.remove(&id)
            && let Some(tasks) = self.by_address.get_mut(&address)
        {
            tasks.retain(|(other, _)| *other != id);
            if tasks.is_empty() {
                // Else the table would grow by each address ever seen.
                self.by_address.remove(&address);
            }
        }
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn ip(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[tokio::test]
    async fn who_has_many_gives_way_to_who_has_few_and_is_refused_himself() {
        let mut handshakes = Handshakes::<()>::new(128);
        for n in 0..128 {
            assert_eq!(handshakes.room_for(ip(n % 2)), Room::Yes);
            handshakes.begin(ip(n % 2), pending());
        }
        assert_eq!(handshakes.room_for(ip(0)), Room::No);
        for _ in 0..20 {
            assert_eq!(handshakes.room_for(ip(9)), Room::Yes);
            handshakes.begin(ip(9), pending());
            assert!(handshakes.next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert_eq!(handshakes.by_address[&ip(9)].len(), 20);
        assert_eq!(handshakes.by_address[&ip(0)].len(), 54);
        assert_eq!(handshakes.addresses.len(), 128);
    }

    #[tokio::test]
    async fn where_all_have_few_one_waits() {
        let mut handshakes = Handshakes::<()>::new(128);
        for n in 0..128 {
            handshakes.begin(ip(n), async {});
        }
        assert_eq!(handshakes.room_for(ip(200)), Room::Later);
        while handshakes.next().await.is_some() {}
        assert_eq!(handshakes.room_for(ip(200)), Room::Yes);
        assert!(handshakes.by_address.is_empty() && handshakes.addresses.is_empty());
    }
}
