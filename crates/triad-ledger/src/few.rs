//! A list of which most have one element.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::{fmt, mem, slice};

/// A list. A single element takes no memory of its own, of a hundred thousand lists each.
#[derive(Clone)]
pub struct Few<T>(Inner<T>);

#[derive(Clone)]
enum Inner<T> {
    One(T),
    /// None, or more than one.
    Other(Vec<T>),
}

impl<T> Few<T> {
    /// Puts an element in before the one at `place`, or at the end.
    pub(crate) fn insert(&mut self, place: usize, new: T) {
        match mem::take(self).0 {
            Inner::One(old) if place == 0 => self.0 = Inner::Other(vec![new, old]),
            Inner::One(old) => self.0 = Inner::Other(vec![old, new]),
            Inner::Other(list) if list.is_empty() => self.0 = Inner::One(new),
            Inner::Other(mut list) => {
                list.insert(place, new);
                self.0 = Inner::Other(list);
            }
        }
    }

    /// Takes out the element at `place`.
    pub(crate) fn remove(&mut self, place: usize) {
        match &mut self.0 {
            Inner::One(_) => *self = Few::default(),
            Inner::Other(list) => {
                list.remove(place);
                self.settle();
            }
        }
    }

    /// Takes out what is not to be kept; what is may be changed.
    pub(crate) fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        match &mut self.0 {
            Inner::One(one) => {
                if !keep(one) {
                    *self = Few::default();
                }
            }
            Inner::Other(list) => {
                list.retain_mut(keep);
                self.settle();
            }
        }
    }

    /// One that is left stands by itself.
    fn settle(&mut self) {
        if let Inner::Other(list) = &mut self.0 {
            match list.len() {
                0 | 1 => *self = Few::from(mem::take(list)),
                few if few < list.capacity() / 4 => list.shrink_to(few * 2),
                _ => {}
            }
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few(Inner::Other(Vec::new()))
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut list: Vec<T>) -> Self {
        if list.len() == 1
            && let Some(one) = list.pop()
        {
            return Few(Inner::One(one));
        }
        list.shrink_to_fit();
        Few(Inner::Other(list))
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Few::default() };
        let Some(second) = all.next() else { return Few(Inner::One(first)) };
        let mut list = Vec::with_capacity(2 + all.size_hint().0);
        list.extend([first, second]);
        list.extend(all);
        Few(Inner::Other(list))
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Inner::One(one) => slice::from_ref(one),
            Inner::Other(list) => list,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Inner::One(one) => slice::from_mut(one),
            Inner::Other(list) => list,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_as_many_in_a_list() {
        let (mut few, mut list) = (Few::default(), Vec::new());
        // Up to four and down to none, at places that wander.
        for (place, grows) in [0, 1, 0, 2, 1, 3, 0, 1, 0, 0, 1, 0]
            .into_iter()
            .zip([true, true, true, false, true, true, false, false, false, true, true, false])
        {
            match grows {
                true => {
                    few.insert(place, list.len());
                    list.insert(place, list.len());
                }
                false => {
                    few.remove(place);
                    list.remove(place);
                }
            }
            assert_eq!(*few, *list);
            assert_eq!(few, Few::from(list.clone()));
            assert_eq!(few, list.iter().copied().collect());
        }
        for bound in [1, 0] {
            let mut few = Few::from(list.clone());
            few.retain_mut(|n| *n < bound);
            list.retain(|n| *n < bound);
            assert_eq!(*few, *list);
        }
    }

    #[test]
    fn one_takes_no_memory_of_its_own() {
        let is_alone = |few: &Few<u8>| matches!(few.0, Inner::One(_));
        assert!(is_alone(&Few::from(vec![1])) && is_alone(&[1].into_iter().collect()));
        let mut few = Few::from(vec![1, 2, 3]);
        few.remove(1);
        assert!(!is_alone(&few));
        few.remove(0);
        assert!(is_alone(&few));
        let mut few = Few::from(vec![1, 2, 3]);
        few.retain_mut(|n| *n == 2);
        assert!(is_alone(&few));
    }
}
