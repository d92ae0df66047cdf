//! A map that never holds more than it is told to: every cache of the engine is one, so ten thousand tenants cost no more memory than the busy ones.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// A map of at most so many entries. When it is full, entries that were not read since the last time it was full make room.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: HashMap<K, Entry<V>>,
    max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    was_read: bool,
}

impl<K: Eq + Hash, V> Bounded<K, V> {
    /// An empty map for at most `max` entries.
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), max: max.max(1) }
    }

    /// The value under `key`, which counts as read.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|entry| {
            entry.was_read = true;
            &mut entry.value
        })
    }

    /// Puts a value under `key`, making room when the map is full.
    pub fn insert(&mut self, key: K, value: V) {
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            self.make_room();
        }
        self.entries.insert(key, Entry { value, was_read: false });
    }

    /// Takes the value under `key` out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// Keeps only the entries `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, entry| keep(key, &entry.value));
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops what was not read since the last call. When everything was, half goes, so that a full map is not searched at every insert.
    fn make_room(&mut self) {
        self.entries.retain(|_, entry| std::mem::take(&mut entry.was_read));
        if self.entries.len() >= self.max.div_ceil(2) {
            let mut stays = false;
            self.entries.retain(|_, _| {
                stays = !stays;
                stays
            });
        }
        if self.entries.len() >= self.max {
            self.entries.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_outlives_what_is_not() {
        let mut map = Bounded::new(10);
        for n in 0..10 {
            map.insert(n, n);
        }
        map.get(&3);
        map.insert(10, 10);
        assert_eq!((map.get(&3).copied(), map.get(&4).copied(), map.get(&10).copied()), (Some(3), None, Some(10)));
    }

    #[test]
    fn the_bound_holds_when_everything_is_read() {
        for max in [1, 2, 3, 100] {
            let mut map = Bounded::new(max);
            for n in 0..1_000 {
                map.insert(n, ());
                map.get(&n);
                assert!(map.len() <= max);
            }
            assert!(map.get(&999).is_some());
        }
    }
}
