//! One document under SERVER_MERGE: its publishers in the order in which they came, each with its
//! shared fields. A field has state of its own only where that order differs from the order in
//! which the publishers first published the field.

use super::{Effect, Fields, Publisher, changed};
use crate::ejson::{self, Object, Text, Value};

/// A document and its publishers.
#[derive(Debug)]
pub(super) enum MergedDocument {
    /// While it has one publisher.
    Single(Publisher, Fields),
    /// While it has several.
    Joint(Box<Joint>),
}

#[derive(Debug)]
pub(super) struct Joint {
    /// Each publisher with its fields, in the order in which they came. The client has each field's
    /// value from the first publisher that has the field, except for the fields in `late`. Filled
    /// by `added`, drained by `remove_publisher`; bounded by the session's subscriptions.
    publishers: Vec<(Publisher, Fields)>,
    /// The fields for which that does not hold, because a publisher added the field after later
    /// publishers had it: their publishers, in the order in which they published the field. Each
    /// list has at least two. Filled by `note_late`, drained by `field_removed`; bounded by the
    /// fields of the document.
    late: Vec<(Text, Vec<Publisher>)>,
}

impl MergedDocument {
    pub(super) fn is_published_by(&self, publisher: Publisher) -> bool {
        match self {
            Self::Single(only, _) => *only == publisher,
            Self::Joint(joint) => joint.publishers.iter().any(|(it, _)| *it == publisher),
        }
    }

    /// The fields that the client has.
    pub(super) fn fields(&self) -> Fields {
        match self {
            Self::Single(_, fields) => fields.clone(),
            Self::Joint(joint) => joint.fields(),
        }
    }

    /// A publisher adds the document besides others, or adds fields to its own.
    pub(super) fn added(&mut self, publisher: Publisher, fields: Fields) -> Effect {
        let mut seen = Object::new();
        if self.is_published_by(publisher) {
            for (key, value) in &*fields {
                self.set(publisher, key, value, &mut seen);
            }
            return changed(seen);
        }
        match self {
            Self::Joint(joint) => joint.join(publisher, fields, &mut seen),
            Self::Single(first, known) => {
                let mut joint = Joint {
                    publishers: vec![(*first, known.clone())],
                    late: Vec::new(),
                };
                joint.join(publisher, fields, &mut seen);
                *self = Self::Joint(Box::new(joint));
            }
        }
        changed(seen)
    }

    /// A publisher changes fields of a document that it has added; undefined removes a field.
    pub(super) fn changed(&mut self, publisher: Publisher, fields: &Fields) -> Effect {
        let mut seen = Object::new();
        for (key, value) in &**fields {
            if value.is_undefined() {
                self.clear(publisher, key, &mut seen);
            } else {
                self.set(publisher, key, value, &mut seen);
            }
        }
        changed(seen)
    }

    /// A publisher removes the document. After [`Effect::Removed`] it has no publisher, and is to
    /// be dropped.
    pub(super) fn remove_publisher(&mut self, publisher: Publisher) -> Effect {
        let joint = match self {
            Self::Single(only, _) if *only == publisher => return Effect::Removed,
            Self::Single(..) => return Effect::Nothing,
            Self::Joint(joint) => joint,
        };
        let mut seen = Object::new();
        joint.leave(publisher, &mut seen);
        if let [(_, _)] = *joint.publishers
            && let Some((only, fields)) = joint.publishers.pop()
        {
            *self = Self::Single(only, fields);
        }
        changed(seen)
    }

    /// Sets a publisher's value of a field. A change for the client is noted in `seen`.
    fn set(&mut self, publisher: Publisher, key: &Text, value: &Value, seen: &mut Object) {
        match self {
            Self::Single(_, fields) => {
                if !is_known(fields, key, value) {
                    seen.insert(key, value.clone());
                    fields.set(key.clone(), value.clone());
                }
            }
            Self::Joint(joint) => joint.set(publisher, key, value, seen),
        }
    }

    /// Removes a publisher's value of a field. A change for the client is noted in `seen`.
    fn clear(&mut self, publisher: Publisher, key: &Text, seen: &mut Object) {
        match self {
            Self::Single(_, fields) => {
                if fields.remove(key).is_some() {
                    seen.insert(key, Value::Undefined);
                }
            }
            Self::Joint(joint) => joint.clear(publisher, key, seen),
        }
    }
}

impl Joint {
    fn fields(&self) -> Fields {
        let mut all = Object::new();
        for key in self.publishers.iter().flat_map(|(_, fields)| fields.keys()) {
            if all.get_text(key).is_none()
                && let Some((_, value)) = self.head(key)
            {
                all.insert(key, value.clone());
            }
        }
        all.into()
    }

    fn join(&mut self, publisher: Publisher, fields: Fields, seen: &mut Object) {
        for (key, value) in &*fields {
            if self.head(key).is_none() {
                seen.insert(key, value.clone());
            } else if let Some(order) = self.late_mut(key) {
                order.push(publisher);
            }
        }
        self.publishers.reserve_exact(1);
        self.publishers.push((publisher, fields));
    }

    fn leave(&mut self, publisher: Publisher, seen: &mut Object) {
        let Some(place) = self.place(publisher) else {
            return;
        };
        let were_shown: Vec<_> = match self.publishers.get(place) {
            Some((_, fields)) => fields
                .keys()
                .map(|key| self.is_head(publisher, key))
                .collect(),
            None => Vec::new(),
        };
        let (_, fields) = self.publishers.remove(place);
        for ((key, gone), was_shown) in fields.iter().zip(were_shown) {
            self.field_removed(publisher, key, was_shown.then_some(gone), seen);
        }
    }

    fn set(&mut self, publisher: Publisher, key: &Text, value: &Value, seen: &mut Object) {
        let Some(place) = self.place(publisher) else {
            return;
        };
        let Some((_, fields)) = self.publishers.get(place) else {
            return;
        };
        if is_known(fields, key, value) {
            return;
        }
        if fields.get_text(key).is_none() {
            self.note_late(publisher, place, key);
        }
        if let Some((_, fields)) = self.publishers.get_mut(place) {
            fields.set(key.clone(), value.clone());
        }
        if self.is_head(publisher, key) {
            seen.insert(key, value.clone());
        }
    }

    fn clear(&mut self, publisher: Publisher, key: &Text, seen: &mut Object) {
        let was_shown = self.is_head(publisher, key);
        let place = self.place(publisher);
        let Some((_, fields)) = place.and_then(|place| self.publishers.get_mut(place)) else {
            return;
        };
        if let Some(gone) = fields.remove(key) {
            self.field_removed(publisher, key, was_shown.then_some(&gone), seen);
        }
    }

    /// A publisher is about to publish a new field, and comes after all its publishers.
    fn note_late(&mut self, publisher: Publisher, place: usize, key: &Text) {
        if let Some(order) = self.late_mut(key) {
            return order.push(publisher);
        }
        let having =
            |(_, (_, fields)): &(usize, &(Publisher, Fields))| fields.get_text(key).is_some();
        let others = || self.publishers.iter().enumerate().filter(having);
        if others().any(|(other, _)| other > place) {
            let mut order: Vec<_> = others().map(|(_, (other, _))| *other).collect();
            order.push(publisher);
            self.late.push((key.clone(), order));
        }
    }

    /// A publisher no longer publishes a field; the next publisher's value, if any, takes its
    /// place. `gone` is the old value if the client had it.
    fn field_removed(
        &mut self,
        publisher: Publisher,
        key: &Text,
        gone: Option<&Value>,
        seen: &mut Object,
    ) {
        self.late.retain_mut(|(it, order)| {
            if it == key {
                order.retain(|other| *other != publisher);
            }
            order.len() > 1
        });
        match (self.head(key), gone) {
            (None, _) => {
                seen.insert(key, Value::Undefined);
            }
            (Some((_, next)), Some(gone)) if !ejson::equals(gone, next) => {
                seen.insert(key, next.clone());
            }
            _ => {}
        }
    }

    /// The publisher whose value of a field the client has, and the value.
    fn head(&self, key: &Text) -> Option<(Publisher, &Value)> {
        let late = self.late.iter().find(|(it, _)| it == key);
        let first = late.and_then(|(_, order)| order.first());
        let mut candidates = self
            .publishers
            .iter()
            .filter(|(it, _)| first.is_none_or(|first| first == it));
        candidates.find_map(|(it, fields)| Some((*it, fields.get_text(key)?)))
    }

    fn is_head(&self, publisher: Publisher, key: &Text) -> bool {
        self.head(key).is_some_and(|(head, _)| head == publisher)
    }

    fn late_mut(&mut self, key: &Text) -> Option<&mut Vec<Publisher>> {
        let late = self.late.iter_mut().find(|(it, _)| it == key);
        late.map(|(_, order)| order)
    }

    fn place(&self, publisher: Publisher) -> Option<usize> {
        self.publishers.iter().position(|(it, _)| *it == publisher)
    }
}

/// Whether a field has this value already. An equal value is not stored, because the client has the
/// former one.
fn is_known(fields: &Fields, key: &Text, value: &Value) -> bool {
    let known = fields.get_text(key);
    known.is_some_and(|known| ejson::equals(known, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_one_publisher_is_small() {
        assert!(
            size_of::<MergedDocument>() <= 16,
            "{}",
            size_of::<MergedDocument>()
        );
    }
}
