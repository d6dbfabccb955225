//! A map of what has records. Each entry keeps the hash of its record beside it: a map of
//! hashes by record would say every key again, and take more than the hashes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::mem;
use core::ops::{Index, RangeBounds};

/// The hash of a record as it was last written out; zero before that. Bytes, so that it does
/// not widen what it stands beside.
pub(crate) type RecordHash = [u8; 16];

/// By id, in order. The nodes of the map hold ids only: they are half full after ids that
/// ascend, and what they hold costs twice.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    entries: BTreeMap<K, Box<Entry<V>>>,
    /// The sum of the hashes of what was removed.
    removed: u128,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: RecordHash,
    value: V,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table { entries: BTreeMap::new(), removed: 0 }
    }
}

impl<K: Ord, V> Table<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Where the hash of an entry's record is kept.
    pub(crate) fn hash_mut(&mut self, key: &K) -> Option<&mut RecordHash> {
        self.entries.get_mut(key).map(|entry| &mut entry.hash)
    }

    /// Adds a value, or puts it in the place of the one there was, whose record it is then.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        use alloc::collections::btree_map::Entry::{Occupied, Vacant};
        match self.entries.entry(key) {
            Occupied(mut there) => there.get_mut().value = value,
            Vacant(free) => {
                free.insert(Box::new(Entry { hash: [0; 16], value }));
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_written(key).map(|(value, _)| value)
    }

    /// The same, and whether its record was written out before.
    pub(crate) fn remove_written(&mut self, key: &K) -> Option<(V, bool)> {
        let entry = self.entries.remove(key)?;
        self.removed = self.removed.wrapping_add(u128::from_be_bytes(entry.hash));
        Some((entry.value, entry.hash != RecordHash::default()))
    }

    /// The sum of the hashes of what was removed since this was last asked.
    pub(crate) fn take_removed(&mut self) -> u128 {
        mem::take(&mut self.removed)
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.entries.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, entry)| (key, &mut entry.value))
    }

    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.entries.range(range).map(|(key, entry)| (key, &entry.value))
    }
}

impl<K: Ord, V> Index<&K> for Table<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        &self.entries[key].value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_out_is_known_until_it_is_removed() {
        let mut table: Table<u64, &str> = Table::default();
        table.insert(1, "one");
        table.insert(2, "two");
        *table.hash_mut(&1).expect("it is there") = 100u128.to_be_bytes();
        *table.hash_mut(&2).expect("it is there") = 200u128.to_be_bytes();
        table.insert(1, "another");
        assert_eq!(table.hash_mut(&1), Some(&mut 100u128.to_be_bytes()), "the record is the same");
        assert_eq!(table.remove(&1), Some("another"));
        table.insert(1, "anew");
        assert_eq!(table.hash_mut(&1), Some(&mut [0; 16]), "this one is not written out");
        assert_eq!(table.remove(&1), Some("anew"));
        assert_eq!(table.remove(&2), Some("two"));
        assert_eq!((table.take_removed(), table.take_removed()), (300, 0));
    }
}
