//! Meteor's SERVER_MERGE: per document and field a list of who publishes which value, the first publisher first. The
//! head of each list is what the client knows.

use indexmap::IndexMap;

use crate::ejson::{self, Object, Text, Value};

/// Who publishes: a number that names one run of one subscription.
type Publisher = u64;

/// The documents that the subscriptions of one session publish.
#[derive(Debug, Default)]
pub struct View {
    /// By collection, then by document id as it stands on the wire. Filled by `added`, drained by `removed`; bounded by
    /// what the server's own publications publish.
    collections: IndexMap<Box<str>, IndexMap<Box<str>, Document>>,
}

/// What a change means for the client.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// The document is new to it.
    Added(Object),
    /// These fields differ; undefined ones are gone.
    Changed(Object),
    /// The last publisher let go.
    Removed,
    /// The client need not know.
    Nothing,
}

#[derive(Debug, Default)]
struct Document {
    publishers: Vec<Publisher>,
    fields: IndexMap<Text, Vec<(Publisher, Value)>>,
}

impl View {
    /// Whether the client has documents of this collection.
    pub fn has_collection(&self, collection: &str) -> bool {
        self.collections.contains_key(collection)
    }

    /// A publisher adds a document, or adds to its own.
    pub fn added(
        &mut self,
        publisher: Publisher,
        collection: &str,
        id: &str,
        fields: Object,
    ) -> Effect {
        let documents = match self.collections.get_mut(collection) {
            Some(documents) => documents,
            None => self.collections.entry(collection.into()).or_default(),
        };
        let is_new = !documents.contains_key(id);
        let document = documents.entry(id.into()).or_default();
        if !document.publishers.contains(&publisher) {
            document.publishers.push(publisher);
        }
        let mut seen = Object::new();
        for (key, value) in fields {
            document.set(publisher, key, value, &mut seen);
        }
        if is_new {
            Effect::Added(seen)
        } else {
            changed(seen)
        }
    }

    /// A publisher changes fields of a document that it publishes; an undefined value withdraws the field.
    pub fn changed(
        &mut self,
        publisher: Publisher,
        collection: &str,
        id: &str,
        fields: Object,
    ) -> Effect {
        let document = self
            .collections
            .get_mut(collection)
            .and_then(|found| found.get_mut(id));
        let Some(document) = document else {
            return Effect::Nothing;
        };
        let mut seen = Object::new();
        for (key, value) in fields {
            if value.is_undefined() {
                document.clear(publisher, &key, &mut seen);
            } else {
                document.set(publisher, key, value, &mut seen);
            }
        }
        changed(seen)
    }

    /// A publisher lets go of a document.
    pub fn removed(&mut self, publisher: Publisher, collection: &str, id: &str) -> Effect {
        let effect = self.let_go(publisher, collection, id);
        if effect == Effect::Removed
            && let Some(documents) = self.collections.get_mut(collection)
        {
            documents.shift_remove(id);
            self.forget_if_empty(collection);
        }
        effect
    }

    /// A publisher lets go of many documents of a collection; each one's effect is shown in turn.
    pub fn removed_all<'a>(
        &mut self,
        publisher: Publisher,
        collection: &str,
        ids: impl IntoIterator<Item = &'a str>,
        mut show: impl FnMut(&str, Effect),
    ) {
        for id in ids {
            show(id, self.let_go(publisher, collection, id));
        }
        // All at once: taking them out one by one moves the others each time.
        if let Some(documents) = self.collections.get_mut(collection) {
            documents.retain(|_, document| !document.publishers.is_empty());
            self.forget_if_empty(collection);
        }
    }

    /// A publisher lets go of a document, which stays behind without a publisher if that was the last.
    fn let_go(&mut self, publisher: Publisher, collection: &str, id: &str) -> Effect {
        let documents = self.collections.get_mut(collection);
        let Some(document) = documents.and_then(|documents| documents.get_mut(id)) else {
            return Effect::Nothing;
        };
        document.publishers.retain(|other| *other != publisher);
        if document.publishers.is_empty() {
            return Effect::Removed;
        }
        let mut seen = Object::new();
        let keys: Vec<Text> = document.fields.keys().cloned().collect();
        for key in keys {
            document.clear(publisher, &key, &mut seen);
        }
        changed(seen)
    }

    fn forget_if_empty(&mut self, collection: &str) {
        if self
            .collections
            .get(collection)
            .is_some_and(IndexMap::is_empty)
        {
            self.collections.shift_remove(collection);
        }
    }
}

impl Document {
    /// A publisher's value of a field; noted in `seen` when the client sees a difference.
    fn set(&mut self, publisher: Publisher, key: Text, value: Value, seen: &mut Object) {
        // The id travels beside the fields.
        if key == *"_id" {
            return;
        }
        let Some(values) = self.fields.get_mut(&key) else {
            seen.insert(key.clone(), value.clone());
            self.fields.insert(key, vec![(publisher, value)]);
            return;
        };
        match values.iter().position(|(other, _)| *other == publisher) {
            Some(place) => {
                let Some((_, known)) = values.get_mut(place) else {
                    return;
                };
                if place == 0 && !ejson::equals(known, &value) {
                    seen.insert(key, value.clone());
                }
                *known = value;
            }
            None => values.push((publisher, value)),
        }
    }

    /// A publisher withdraws a field; the next in line, if any, shows.
    fn clear(&mut self, publisher: Publisher, key: &Text, seen: &mut Object) {
        let Some(values) = self.fields.get_mut(key) else {
            return;
        };
        let Some(place) = values.iter().position(|(other, _)| *other == publisher) else {
            return;
        };
        let (_, gone) = values.remove(place);
        match values.first() {
            None => {
                self.fields.shift_remove(key);
                seen.insert(key.clone(), Value::Undefined);
            }
            Some((_, next)) if place == 0 && !ejson::equals(&gone, next) => {
                seen.insert(key.clone(), next.clone());
            }
            Some(_) => {}
        }
    }
}

fn changed(seen: Object) -> Effect {
    if seen.is_empty() {
        Effect::Nothing
    } else {
        Effect::Changed(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ejson;

    const A: Publisher = 1;
    const B: Publisher = 2;

    fn fields(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    fn shown(effect: Effect) -> String {
        match effect {
            Effect::Added(fields) => format!("added {}", ejson::to_ejson(&fields.into())),
            Effect::Changed(fields) => {
                let gone: Vec<_> = fields
                    .iter()
                    .filter(|(_, value)| value.is_undefined())
                    .collect();
                let gone: Vec<_> = gone.into_iter().map(|(key, _)| key.to_string()).collect();
                format!(
                    "changed {} cleared {gone:?}",
                    ejson::to_ejson(&fields.clone().into())
                )
            }
            Effect::Removed => "removed".into(),
            Effect::Nothing => "nothing".into(),
        }
    }

    fn view(a: Value, b: Value) -> View {
        let mut view = View::default();
        view.added(A, "c", "x", fields(a));
        view.added(B, "c", "x", fields(b));
        view
    }

    #[test]
    fn ddp_117_the_head_clears_a_field() {
        let mut same = view(ejson!({ "foo": 1 }), ejson!({ "foo": 1.0 }));
        let cleared = fields(ejson!({ "foo": undefined }));
        assert_eq!(shown(same.changed(A, "c", "x", cleared.clone())), "nothing");

        let mut different = view(ejson!({ "foo": 1 }), ejson!({ "foo": 2 }));
        let effect = different.changed(A, "c", "x", cleared.clone());
        assert_eq!(shown(effect), r#"changed {"foo":2} cleared []"#);
        let effect = different.changed(B, "c", "x", cleared);
        assert_eq!(shown(effect), r#"changed {} cleared ["foo"]"#);
    }

    #[test]
    fn ddp_118_another_than_the_head_clears_a_field() {
        let mut view = view(ejson!({ "foo": 1 }), ejson!({ "foo": 2 }));
        let effect = view.changed(B, "c", "x", fields(ejson!({ "foo": undefined })));
        assert_eq!(shown(effect), "nothing");
        assert_eq!(
            shown(view.removed(A, "c", "x")),
            r#"changed {} cleared ["foo"]"#
        );
        assert_eq!(shown(view.removed(B, "c", "x")), "removed");
        assert!(!view.has_collection("c"));
    }

    #[test]
    fn adding_again_shows_what_is_new_or_differs() {
        let mut view = view(ejson!({ "n": 1 }), ejson!({}));
        let effect = view.added(A, "c", "x", fields(ejson!({ "n": 1, "m": 2 })));
        assert_eq!(shown(effect), r#"changed {"m":2} cleared []"#);
        let effect = view.added(A, "c", "x", fields(ejson!({ "n": 3 })));
        assert_eq!(shown(effect), r#"changed {"n":3} cleared []"#);
    }
}
