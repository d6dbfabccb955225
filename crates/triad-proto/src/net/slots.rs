//! How many connections are open, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// The places for connections at one listener.
#[derive(Debug)]
pub(super) struct Slots {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_address: HashMap<IpAddr, usize>,
}

/// Why a connection got no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSlot {
    #[error("all {0} connection slots are taken")]
    Full(usize),
    #[error("all {0} connection slots of this address are taken")]
    AddressFull(usize),
}

/// One taken slot; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_address_max, taken: Mutex::default() })
    }

    /// Takes a slot for a connection from `ip`.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Result<Slot, NoSlot> {
        let address = block_of(ip);
        let mut taken = self.taken();
        if taken.total >= self.total_max {
            return Err(NoSlot::Full(self.total_max));
        }
        let of_address = taken.per_address.entry(address).or_default();
        if *of_address >= self.per_address_max {
            return Err(NoSlot::AddressFull(self.per_address_max));
        }
        *of_address += 1;
        taken.total += 1;
        Ok(Slot { slots: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no holder of this lock panics: it only counts")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.total -= 1;
        if let Some(of_address) = taken.per_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                // Else the table would grow by each address ever seen.
                taken.per_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, which one
/// host commonly owns whole.
pub fn block_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_bound_and_all_share_one() {
        let slots = Slots::new(3, 2);
        let first = slots.take(ip("10.0.0.1")).unwrap();
        let _second = slots.take(ip("10.0.0.1")).unwrap();
        assert_eq!(slots.take(ip("10.0.0.1")).unwrap_err(), NoSlot::AddressFull(2));
        let _third = slots.take(ip("10.0.0.2")).unwrap();
        assert_eq!(slots.take(ip("10.0.0.3")).unwrap_err(), NoSlot::Full(3));
        drop(first);
        slots.take(ip("10.0.0.1")).unwrap();
    }

    #[test]
    fn one_host_cannot_multiply_itself_by_ipv6_or_mapping() {
        let slots = Slots::new(10, 1);
        let _held = slots.take(ip("2001:db8::1")).unwrap();
        assert!(slots.take(ip("2001:db8::2")).is_err());
        assert!(slots.take(ip("2001:db8:0:1::2")).is_ok());
        let _mapped = slots.take(ip("::ffff:10.0.0.1")).unwrap();
        assert!(slots.take(ip("10.0.0.1")).is_err());
    }

    #[test]
    fn nothing_is_remembered_of_who_left() {
        let slots = Slots::new(10, 1);
        drop(slots.take(ip("10.0.0.1")).unwrap());
        assert_eq!(slots.taken().total, 0);
        assert!(slots.taken().per_address.is_empty());
    }
}
