//! The ledger as records: what is written to the image, sent in a snapshot,
//! and summed into the state hash.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::{fmt, mem};

use crate::names::{CheckoutId, LicenseId, PoolId, SessionId};
use crate::table::RecordHash;
use crate::tokens::TokenId;

/// The name of one record. Records sort by kind, then by id; that order is the
/// order of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// The clock, the counters and the head of the event chain.
    Meta,
    /// A license in force.
    License(LicenseId),
    /// A pool of seats.
    Pool(PoolId),
    /// An open session.
    Session(SessionId),
    /// Seats that are held.
    Checkout(CheckoutId),
    /// A session that ended lately, by the number of its end.
    Ended(u64),
    /// The policy in force.
    Policy,
    /// A request that waits, by its ticket.
    Waiting(u64),
    /// What was taken back and is blocked, by the checkout that it was.
    Block(CheckoutId),
    /// A token of an administrator.
    Token(TokenId),
}

impl RecordKey {
    /// The key as bytes that sort like the keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, id): (u8, &[u8]) = match self {
            RecordKey::Meta => (0, &[]),
            RecordKey::License(id) => (1, id.as_str().as_bytes()),
            RecordKey::Pool(id) => (2, &id.0.to_be_bytes()),
            RecordKey::Session(id) => (3, &id.0),
            RecordKey::Checkout(id) => (4, &id.0.to_be_bytes()),
            RecordKey::Ended(number) => (5, &number.to_be_bytes()),
            RecordKey::Policy => (6, &[]),
            RecordKey::Waiting(ticket) => (7, &ticket.to_be_bytes()),
            RecordKey::Block(id) => (8, &id.0.to_be_bytes()),
            RecordKey::Token(id) => (9, &id.0),
        };
        let mut bytes = Vec::with_capacity(1 + id.len());
        bytes.push(kind);
        bytes.extend_from_slice(id);
        bytes
    }

    /// The inverse of [`RecordKey::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Some(match kind {
            0 if id.is_empty() => RecordKey::Meta,
            1 => RecordKey::License(LicenseId::parse(core::str::from_utf8(id).ok()?).ok()?),
            2 => RecordKey::Pool(PoolId(u32::from_be_bytes(id.try_into().ok()?))),
            3 => RecordKey::Session(SessionId(id.try_into().ok()?)),
            4 => RecordKey::Checkout(CheckoutId(u64::from_be_bytes(id.try_into().ok()?))),
            5 => RecordKey::Ended(u64::from_be_bytes(id.try_into().ok()?)),
            6 if id.is_empty() => RecordKey::Policy,
            7 => RecordKey::Waiting(u64::from_be_bytes(id.try_into().ok()?)),
            8 => RecordKey::Block(CheckoutId(u64::from_be_bytes(id.try_into().ok()?))),
            9 => RecordKey::Token(TokenId(id.try_into().ok()?)),
            _ => return None,
        })
    }
}

/// One record that changed: its key and its new content, `None` if it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// [`RecordKey::to_bytes`].
    pub key: Vec<u8>,
    /// The encoded record.
    pub value: Option<Vec<u8>>,
}

/// The sum of the hashes of all records. Equal ledgers have equal sums; it
/// detects divergence by defect or decay, not by an adversary, who would have
/// to own a node to try.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StateHash(pub [u8; 16]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// Which records changed since they were last written out, and the running sum.
/// The sum is brought up to date when records are written out, so a record that
/// changes a thousand times in between is encoded and hashed once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// Whether a record of this key was written out whose subject is gone since.
    dirty: BTreeMap<RecordKey, bool>,
    /// But for those that stand in a [`crate::table::Table`].
    hashes: BTreeMap<RecordKey, RecordHash>,
    sum: u128,
}

impl Records {
    /// Notes that a record changed, appeared or vanished.
    pub(crate) fn touch(&mut self, key: RecordKey) {
        self.dirty.entry(key).or_insert(false);
    }

    /// Notes that the subject of a record is gone. If it came and went since records were last
    /// written out, nobody has to hear of it.
    pub(crate) fn gone(&mut self, key: RecordKey, was_written: bool) {
        if was_written {
            self.dirty.insert(key, true);
        } else if self.dirty.get(&key) == Some(&false) {
            self.dirty.remove(&key);
        }
    }

    /// Records are gone whose hashes were kept elsewhere and have this sum.
    pub(crate) fn forget(&mut self, hashes: u128) {
        self.sum = self.sum.wrapping_sub(hashes);
    }

    /// Hands out what changed, in key order, and brings the sum up to date. `hash_mut` says
    /// where the hash of a record is kept, if that is not here.
    pub(crate) fn drain<L>(
        &mut self,
        ledger: &mut L,
        encode: impl Fn(&L, &RecordKey) -> Option<Vec<u8>>,
        hash_mut: impl for<'a> Fn(&'a mut L, &RecordKey) -> Option<&'a mut RecordHash>,
    ) -> Vec<Change> {
        let dirty = mem::take(&mut self.dirty);
        let mut changes = Vec::with_capacity(dirty.len());
        for record in dirty.into_keys() {
            let key = record.to_bytes();
            let value = encode(ledger, &record);
            let before = match &value {
                Some(value) => {
                    let hash = hash(&key, value);
                    self.sum = self.sum.wrapping_add(u128::from_be_bytes(hash));
                    match hash_mut(ledger, &record) {
                        Some(kept) => Some(mem::replace(kept, hash)),
                        None => self.hashes.insert(record, hash),
                    }
                }
                None => self.hashes.remove(&record),
            };
            self.sum = self.sum.wrapping_sub(before.map_or(0, u128::from_be_bytes));
            changes.push(Change { key, value });
        }
        changes
    }

    /// The sum as of the last drain.
    pub(crate) fn sum(&self) -> StateHash {
        StateHash(self.sum.to_be_bytes())
    }
}

fn hash(key: &[u8], value: &[u8]) -> RecordHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let digest = hasher.finalize();
    let (half, _) = digest.as_bytes().split_at(16);
    half.try_into().expect("half of 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn keys_survive_the_trip_and_keep_their_order() {
        let keys = [
            RecordKey::Meta,
            RecordKey::License(LicenseId::parse("acme").expect("good")),
            RecordKey::Pool(PoolId(7)),
            RecordKey::Session(SessionId([9; 16])),
            RecordKey::Checkout(CheckoutId(1)),
            RecordKey::Checkout(CheckoutId(300)),
            RecordKey::Ended(299),
            RecordKey::Policy,
            RecordKey::Waiting(5),
            RecordKey::Block(CheckoutId(300)),
            RecordKey::Token(TokenId([0; 6])),
        ];
        for key in &keys {
            assert_eq!(RecordKey::from_bytes(&key.to_bytes()).as_ref(), Some(key));
        }
        assert!(
            keys.windows(2).all(|two| two[0] < two[1] && two[0].to_bytes() < two[1].to_bytes())
        );
        assert_eq!(RecordKey::from_bytes(&[]), None);
        assert_eq!(RecordKey::from_bytes(&[4, 1]), None);
    }

    #[test]
    fn what_came_and_went_is_not_written_out() {
        let key = |n| RecordKey::Checkout(CheckoutId(n));
        let written = |records: &mut Records| {
            let changes = records.drain(&mut (), |(), _| None, |(), _| None);
            changes.into_iter().map(|change| change.key).collect::<Vec<_>>()
        };
        let mut records = Records::default();
        records.touch(key(1));
        records.gone(key(1), false);
        records.touch(key(2));
        records.gone(key(2), true);
        assert_eq!(written(&mut records), [key(2).to_bytes()]);
        // One that was written out goes, and another of its name comes and goes.
        records.gone(key(3), true);
        records.touch(key(3));
        records.gone(key(3), false);
        assert_eq!(written(&mut records), [key(3).to_bytes()]);
    }

    #[test]
    fn the_sum_depends_on_the_content_and_not_on_the_way_there() {
        let key = |n| RecordKey::Checkout(CheckoutId(n));
        let drain = |records: &mut Records, value: fn(&(), &RecordKey) -> Option<Vec<u8>>| {
            records.drain(&mut (), value, |(), _| None)
        };
        let mut one = Records::default();
        one.touch(key(1));
        one.touch(key(2));
        drain(&mut one, |(), k| Some(k.to_bytes()));
        let mut two = Records::default();
        for n in [2, 3, 1] {
            two.touch(key(n));
            drain(&mut two, |(), _| Some(vec![1, 2, 3]));
        }
        two.touch(key(3));
        drain(&mut two, |(), _| None);
        assert_ne!(one.sum(), two.sum());
        two.touch(key(1));
        two.touch(key(2));
        drain(&mut two, |(), k| Some(k.to_bytes()));
        assert_eq!(one.sum(), two.sum());
    }
}
