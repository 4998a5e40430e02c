//! An object with JavaScript's order of keys: array indices first, ascending, then the rest as
//! inserted. A key set again keeps its place.

use std::fmt;

use indexmap::IndexMap;

use super::{Text, Value};

/// A JavaScript object's own members. `__proto__` is a key like any other.
#[derive(Clone, Default, PartialEq)]
pub struct Object {
    // Boxed so that a `Value` stays small.
    map: Box<IndexMap<Text, Value>>,
}

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty object with room for `members`.
    pub fn with_capacity(members: usize) -> Self {
        Self {
            map: Box::new(IndexMap::with_capacity(members)),
        }
    }

    /// Sets a member and returns its former value.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        self.set(key.into(), value.into())
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// The value of a member, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.map.get_mut(key)
    }

    /// As [`get`](Self::get), for a key that may hold lone surrogates.
    pub fn get_text(&self, key: &Text) -> Option<&Value> {
        self.map.get(key)
    }

    /// Takes a member out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key)
    }

    /// As [`remove`](Self::remove), for a key that may hold lone surrogates.
    pub fn remove_text(&mut self, key: &Text) -> Option<Value> {
        self.map.shift_remove(key)
    }

    /// Whether there is such a member, `undefined` or not.
    pub fn contains_key(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keeps the members for which `keep` answers true.
    pub fn retain(&mut self, keep: impl FnMut(&Text, &mut Value) -> bool) {
        self.map.retain(keep);
    }

    /// The members in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.map.iter())
    }

    /// The keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Text> + DoubleEndedIterator {
        self.map.keys()
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + DoubleEndedIterator {
        self.map.values()
    }

    /// The values in order of their keys, to change.
    pub fn values_mut(
        &mut self,
    ) -> impl ExactSizeIterator<Item = &mut Value> + DoubleEndedIterator {
        self.map.values_mut()
    }

    fn set(&mut self, key: Text, value: Value) -> Option<Value> {
        match array_index(&key) {
            Some(index) if !self.map.contains_key(&key) => {
                let place = self
                    .map
                    .partition_point(|key, _| array_index(key).is_some_and(|other| other < index));
                self.map.shift_insert(place, key, value)
            }
            _ => self.map.insert(key, value),
        }
    }

    /// Appends without regard to order, for many members at once; [`settle`](Self::settle) must
    /// follow.
    pub(super) fn append(&mut self, key: Text, value: Value) {
        self.map.insert(key, value);
    }

    /// Restores the order after [`append`](Self::append).
    pub(super) fn settle(&mut self) {
        if !self.map.keys().map(rank).is_sorted() {
            // Stable, so the keys that are no indices stay as inserted.
            self.map.sort_by_cached_key(|key, _| rank(key));
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Text>, V: Into<Value>> Extend<(K, V)> for Object {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, members: I) {
        for (key, value) in members {
            self.append(key.into(), value.into());
        }
        self.settle();
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        let mut object = Self::new();
        object.extend(members);
        object
    }
}

impl IntoIterator for Object {
    type Item = (Text, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.map.into_iter())
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a Text, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The members of an object, by reference.
#[derive(Clone, Debug)]
pub struct Iter<'a>(indexmap::map::Iter<'a, Text, Value>);

/// The members of an object.
#[derive(Debug)]
pub struct IntoIter(indexmap::map::IntoIter<Text, Value>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Text, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Iterator for IntoIter {
    type Item = (Text, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

/// The number a key stands for when it is the canonical text of an array index, 0 to 2³²−2.
fn array_index(key: &Text) -> Option<u32> {
    let text = key.to_str()?;
    let first = *text.as_bytes().first()?;
    if !first.is_ascii_digit() || (first == b'0' && text.len() > 1) {
        return None;
    }
    text.parse().ok().filter(|index| *index != u32::MAX)
}

/// Indices in their order, all other keys after them.
fn rank(key: &Text) -> u64 {
    array_index(key).map_or(u64::MAX, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(object: &Object) -> Vec<String> {
        object.keys().map(Text::to_string).collect()
    }

    #[test]
    fn ddp_105_indices_come_first_ascending() {
        let inserted = [
            "b",
            "10",
            "a",
            "2",
            "-1",
            "01",
            "4294967294",
            "4294967295",
            "0",
            "1.5",
            "__proto__",
            "",
        ];
        let expected = [
            "0",
            "2",
            "10",
            "4294967294",
            "b",
            "a",
            "-1",
            "01",
            "4294967295",
            "1.5",
            "__proto__",
            "",
        ];
        let mut object = Object::new();
        for key in inserted {
            object.insert(key, 1);
        }
        assert_eq!(keys(&object), expected);
        assert_eq!(
            keys(&inserted.iter().map(|key| (*key, 1)).collect()),
            expected
        );
    }

    #[test]
    fn a_key_set_again_keeps_its_place() {
        let mut object: Object = [("a", 1), ("7", 2), ("b", 3), ("a", 4)]
            .into_iter()
            .collect();
        assert_eq!(object.insert("7", 5), Some(Value::from(2)));
        assert_eq!(keys(&object), ["7", "a", "b"]);
        assert_eq!(object.get("a"), Some(&Value::from(4)));
        assert_eq!(object.remove("a"), Some(Value::from(4)));
        assert_eq!(keys(&object), ["7", "b"]);
    }
}
