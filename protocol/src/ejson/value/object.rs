//! An object with JavaScript's order of keys: array indices first, ascending, then the others in
//! the order of insertion. A key that is set again keeps its place.

mod either;

use std::fmt;
use std::hash::Hash;
use std::mem;

use indexmap::{Equivalent, IndexMap};

use super::Value;
use crate::ejson::Text;
use either::Either;

/// A JavaScript object's own members. `__proto__` is a key like any other.
#[derive(Clone, Default)]
pub struct Object(ObjectRepr);

/// Nearly all objects are short, and a short one is searched faster than a key is hashed. A peer
/// decides how long an object gets, so a long one is hashed.
#[derive(Clone)]
enum ObjectRepr {
    Short(Vec<(Text, Value)>),
    // An object that was long once stays hashed. Boxed, so that a `Value` stays small.
    Long(Box<IndexMap<Text, Value>>),
}

/// The most members of an object that is searched without hashing.
const SHORT: usize = 12;

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty object with capacity for `members` members.
    pub fn with_capacity(members: usize) -> Self {
        Self(if members <= SHORT {
            ObjectRepr::Short(Vec::with_capacity(members))
        } else {
            ObjectRepr::Long(Box::new(IndexMap::with_capacity(members)))
        })
    }

    /// Sets a member and returns its former value.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        self.set(key.into(), value.into())
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key)
    }

    /// The value of a member, mutable.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match &mut self.0 {
            ObjectRepr::Short(members) => {
                let mut members = members.iter_mut();
                members.find(|it| it.0 == *key).map(|it| &mut it.1)
            }
            ObjectRepr::Long(members) => members.get_mut(key),
        }
    }

    /// As [`get`](Self::get), for a key that may hold lone surrogates.
    pub fn get_text(&self, key: &Text) -> Option<&Value> {
        self.find(key)
    }

    /// Removes a member; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.take(key)
    }

    /// As [`remove`](Self::remove), for a key that may hold lone surrogates.
    pub fn remove_text(&mut self, key: &Text) -> Option<Value> {
        self.take(key)
    }

    /// Whether there is such a member, even if it is `undefined`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        match &self.0 {
            ObjectRepr::Short(members) => members.len(),
            ObjectRepr::Long(members) => members.len(),
        }
    }

    /// How many members it has capacity for.
    pub(in crate::ejson) fn capacity(&self) -> usize {
        match &self.0 {
            ObjectRepr::Short(members) => members.capacity(),
            ObjectRepr::Long(members) => members.capacity(),
        }
    }

    /// Whether its members are found by hash.
    pub(in crate::ejson) fn is_hashed(&self) -> bool {
        matches!(self.0, ObjectRepr::Long(_))
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the members for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&Text, &mut Value) -> bool) {
        match &mut self.0 {
            ObjectRepr::Short(members) => members.retain_mut(|(key, value)| keep(key, value)),
            ObjectRepr::Long(members) => members.retain(keep),
        }
    }

    /// The members in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(match &self.0 {
            ObjectRepr::Short(members) => Either::Short(members.iter()),
            ObjectRepr::Long(members) => Either::Long(members.iter()),
        })
    }

    /// The keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Text> + DoubleEndedIterator {
        self.iter().map(|(key, _)| key)
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + DoubleEndedIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The values in order of their keys, mutable.
    pub fn values_mut(
        &mut self,
    ) -> impl ExactSizeIterator<Item = &mut Value> + DoubleEndedIterator {
        match &mut self.0 {
            ObjectRepr::Short(members) => Either::Short(members.iter_mut().map(|(_, value)| value)),
            ObjectRepr::Long(members) => Either::Long(members.values_mut()),
        }
    }

    fn find(&self, key: &(impl Hash + Equivalent<Text> + ?Sized)) -> Option<&Value> {
        match &self.0 {
            ObjectRepr::Short(members) => {
                let mut members = members.iter();
                members.find(|it| key.equivalent(&it.0)).map(|it| &it.1)
            }
            ObjectRepr::Long(members) => members.get(key),
        }
    }

    fn take(&mut self, key: &(impl Hash + Equivalent<Text> + ?Sized)) -> Option<Value> {
        match &mut self.0 {
            ObjectRepr::Short(members) => {
                let place = members.iter().position(|it| key.equivalent(&it.0))?;
                Some(members.remove(place).1)
            }
            ObjectRepr::Long(members) => members.shift_remove(key),
        }
    }

    fn set(&mut self, key: Text, value: Value) -> Option<Value> {
        let Some(index) = array_index(&key) else {
            return self.append(key, value);
        };
        if self.get_text(&key).is_some() {
            return self.append(key, value);
        }
        let is_before = |key: &Text| array_index(key).is_some_and(|other| other < index);
        self.make_room();
        match &mut self.0 {
            ObjectRepr::Short(members) => {
                let place = members.partition_point(|(key, _)| is_before(key));
                members.insert(place, (key, value));
                None
            }
            ObjectRepr::Long(members) => {
                let place = members.partition_point(|key, _| is_before(key));
                members.shift_insert(place, key, value)
            }
        }
    }

    /// As [`insert`](Self::insert) without regard to order, for many members at once.
    /// [`restore_order`](Self::restore_order) must follow.
    pub(in crate::ejson) fn append(&mut self, key: Text, value: Value) -> Option<Value> {
        if let ObjectRepr::Short(members) = &mut self.0 {
            if let Some(known) = members.iter_mut().find(|it| it.0 == key) {
                return Some(mem::replace(&mut known.1, value));
            }
            if members.len() < SHORT {
                members.push((key, value));
                return None;
            }
        }
        self.make_room();
        match &mut self.0 {
            ObjectRepr::Short(_) => None,
            ObjectRepr::Long(members) => members.insert(key, value),
        }
    }

    /// Called before a member is added: an object that would be too long for a search is hashed
    /// from now on.
    fn make_room(&mut self) {
        if let ObjectRepr::Short(members) = &mut self.0
            && members.len() >= SHORT
        {
            self.0 = ObjectRepr::Long(Box::new(mem::take(members).into_iter().collect()));
        }
    }

    /// Restores the order after [`append`](Self::append).
    pub(in crate::ejson) fn restore_order(&mut self) {
        if !self.keys().map(rank).is_sorted() {
            // A stable sort, so the keys that are no indices stay in the order of insertion.
            match &mut self.0 {
                ObjectRepr::Short(members) => members.sort_by_cached_key(|(key, _)| rank(key)),
                ObjectRepr::Long(members) => members.sort_by_cached_key(|key, _| rank(key)),
            }
        }
    }
}

impl Default for ObjectRepr {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

/// The order of keys does not matter.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, value)| other.get_text(key) == Some(value))
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
        self.restore_order();
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
        IntoIter(match self.0 {
            ObjectRepr::Short(members) => Either::Short(members.into_iter()),
            ObjectRepr::Long(members) => Either::Long(members.into_iter()),
        })
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
pub struct Iter<'a>(
    Either<std::slice::Iter<'a, (Text, Value)>, indexmap::map::Iter<'a, Text, Value>>,
);

/// The members of an object.
#[derive(Debug)]
pub struct IntoIter(
    Either<std::vec::IntoIter<(Text, Value)>, indexmap::map::IntoIter<Text, Value>>,
);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Text, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Short(members) => members.next().map(|(key, value)| (key, value)),
            Either::Long(members) => members.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Either::Short(members) => members.size_hint(),
            Either::Long(members) => members.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Short(members) => members.next_back().map(|(key, value)| (key, value)),
            Either::Long(members) => members.next_back(),
        }
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

/// The number of a key that is the canonical text of an array index, 0 to 2³²−2.
fn array_index(key: &Text) -> Option<u32> {
    let text = key.to_str()?;
    let first = *text.as_bytes().first()?;
    if !first.is_ascii_digit() || (first == b'0' && text.len() > 1) {
        return None;
    }
    text.parse().ok().filter(|index| *index != u32::MAX)
}

/// Indices by their number, all other keys after them.
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

    // Short objects are searched and long ones hashed; the results must not differ.
    #[test]
    fn a_long_object_is_as_a_short_one() {
        let key = |n: usize| match n % 3 {
            0 => n.to_string(),
            _ => format!("k{n}"),
        };
        for length in 0..SHORT * 3 {
            let inserted: Vec<usize> = (0..length).rev().collect();
            let (mut one_by_one, mut model) = (Object::new(), Vec::new());
            for n in &inserted {
                assert_eq!(one_by_one.insert(key(*n), *n), None);
                assert_eq!(one_by_one.insert(key(*n), *n + 1), Some(Value::from(*n)));
                model.push(key(*n));
            }
            model.sort_by_key(|key| rank(&Text::from(key)));
            let together: Object = inserted.iter().map(|n| (key(*n), *n + 1)).collect();
            assert_eq!(keys(&one_by_one), model);
            assert_eq!(keys(&together), model);
            assert_eq!(one_by_one, together);
            let mut backward: Vec<_> = together.iter().rev().collect();
            backward.reverse();
            assert!(together.iter().eq(backward));
            assert_eq!(together.clone().into_iter().len(), length);

            // An object that has become short again is equal to one that was never long.
            for n in inserted.iter().filter(|n| **n > 2) {
                assert!(one_by_one.contains_key(&key(*n)));
                assert_eq!(one_by_one.remove(&key(*n)), Some(Value::from(*n + 1)));
                assert_eq!(one_by_one.get(&key(*n)), None);
            }
            let few: Object = inserted
                .iter()
                .filter(|n| **n <= 2)
                .map(|n| (key(*n), *n + 1))
                .collect();
            assert_eq!(one_by_one, few);
            assert_eq!(few, one_by_one);
            let mut together = together;
            together.values_mut().for_each(|value| *value = Value::Null);
            together.retain(|key, value| value.is_null() && *key == "k1");
            assert_eq!(together.len(), usize::from(length > 1));
        }
    }
}
