//! One document under SERVER_MERGE: the fields of its publisher, shared, and no more while there is only one. With a second
//! one, a list for each field of who publishes it; the first of the list is what the client knows.

use indexmap::IndexMap;

use super::{Effect, Fields, Publisher, changed};
use crate::ejson::{self, Object, Text, Value};

/// A document and its publishers.
#[derive(Debug)]
pub(super) enum Document {
    /// As long as it has one publisher.
    Single(Publisher, Fields),
    /// As long as it has several.
    Joint(Box<Joint>),
}

#[derive(Debug)]
pub(super) struct Joint {
    /// Each with what it publishes.
    publishers: Vec<(Publisher, Fields)>,
    /// By field, those who publish it, in the order in which they began to. No list is empty.
    precedence: IndexMap<Text, Vec<Publisher>>,
}

impl Document {
    pub(super) fn is_published_by(&self, publisher: Publisher) -> bool {
        match self {
            Self::Single(only, _) => *only == publisher,
            Self::Joint(joint) => joint.publishers.iter().any(|(it, _)| *it == publisher),
        }
    }

    /// What the client has of it.
    pub(super) fn fields(&self) -> Fields {
        match self {
            Self::Single(_, fields) => fields.clone(),
            Self::Joint(joint) => joint.fields(),
        }
    }

    /// A publisher adds the document to what others have added of it, or adds to its own.
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
                let mut joint = Joint::new(*first, known.clone());
                joint.join(publisher, fields, &mut seen);
                *self = Self::Joint(Box::new(joint));
            }
        }
        changed(seen)
    }

    /// A publisher changes fields of what it has added; an undefined one is withdrawn.
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

    /// A publisher lets go. After [`Effect::Removed`] the document has none, and is to be dropped.
    pub(super) fn let_go(&mut self, publisher: Publisher) -> Effect {
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

    /// A publisher's value of a field; noted in `seen` when the client sees a difference.
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

    /// A publisher withdraws a field; noted in `seen` when the client sees a difference.
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
    fn new(publisher: Publisher, fields: Fields) -> Self {
        let precedence = fields.keys().map(|key| (key.clone(), vec![publisher]));
        Self {
            precedence: precedence.collect(),
            publishers: vec![(publisher, fields)],
        }
    }

    fn fields(&self) -> Fields {
        let heads = self.precedence.iter().filter_map(|(key, order)| {
            let value = published(&self.publishers, order.first(), key)?;
            Some((key, value.clone()))
        });
        Fields::from(heads.collect::<Object>())
    }

    fn join(&mut self, publisher: Publisher, fields: Fields, seen: &mut Object) {
        for (key, value) in &*fields {
            match self.precedence.get_mut(key) {
                Some(order) => order.push(publisher),
                None => {
                    seen.insert(key, value.clone());
                    self.precedence.insert(key.clone(), vec![publisher]);
                }
            }
        }
        self.publishers.push((publisher, fields));
    }

    fn leave(&mut self, publisher: Publisher, seen: &mut Object) {
        let Some(place) = place_of(&self.publishers, publisher) else {
            return;
        };
        let (_, fields) = self.publishers.remove(place);
        let publishers = &self.publishers;
        self.precedence.retain(|key, order| {
            if let Some(gone) = fields.get_text(key) {
                withdraw(publishers, publisher, key, order, gone, seen);
            }
            !order.is_empty()
        });
    }

    fn set(&mut self, publisher: Publisher, key: &Text, value: &Value, seen: &mut Object) {
        let place = place_of(&self.publishers, publisher);
        let Some((_, fields)) = place.and_then(|place| self.publishers.get_mut(place)) else {
            return;
        };
        if is_known(fields, key, value) {
            return;
        }
        match self.precedence.get_mut(key) {
            Some(order) if order.first() == Some(&publisher) => {
                seen.insert(key, value.clone());
            }
            Some(order) if order.contains(&publisher) => {}
            Some(order) => order.push(publisher),
            None => {
                seen.insert(key, value.clone());
                self.precedence.insert(key.clone(), vec![publisher]);
            }
        }
        fields.set(key.clone(), value.clone());
    }

    fn clear(&mut self, publisher: Publisher, key: &Text, seen: &mut Object) {
        let place = place_of(&self.publishers, publisher);
        let Some((_, fields)) = place.and_then(|place| self.publishers.get_mut(place)) else {
            return;
        };
        let Some(gone) = fields.remove(key) else {
            return;
        };
        if let Some(order) = self.precedence.get_mut(key) {
            withdraw(&self.publishers, publisher, key, order, &gone, seen);
            if order.is_empty() {
                self.precedence.shift_remove(key);
            }
        }
    }
}

/// Takes a publisher out of a field's list; the next in line, if any, shows.
fn withdraw(
    publishers: &[(Publisher, Fields)],
    publisher: Publisher,
    key: &Text,
    order: &mut Vec<Publisher>,
    gone: &Value,
    seen: &mut Object,
) {
    let was_shown = order.first() == Some(&publisher);
    order.retain(|other| *other != publisher);
    match published(publishers, order.first(), key) {
        None => {
            seen.insert(key, Value::Undefined);
        }
        Some(next) if was_shown && !ejson::equals(gone, next) => {
            seen.insert(key, next.clone());
        }
        Some(_) => {}
    }
}

fn published<'a>(
    publishers: &'a [(Publisher, Fields)],
    publisher: Option<&Publisher>,
    key: &Text,
) -> Option<&'a Value> {
    let (_, fields) = publishers.get(place_of(publishers, *publisher?)?)?;
    fields.get_text(key)
}

fn place_of(publishers: &[(Publisher, Fields)], publisher: Publisher) -> Option<usize> {
    publishers.iter().position(|(it, _)| *it == publisher)
}

/// Whether a field has this value already. What counts as the same is not stored: the client has the former.
fn is_known(fields: &Fields, key: &Text, value: &Value) -> bool {
    let known = fields.get_text(key);
    known.is_some_and(|known| ejson::equals(known, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_one_publisher_is_small() {
        assert!(size_of::<Document>() <= 16, "{}", size_of::<Document>());
    }
}
