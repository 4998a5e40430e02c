//! The documents that the subscriptions of a session publish, kept in the simplest way: for each
//! field of a document its publishers, in order. A client should see the first one's value.

use std::collections::BTreeMap;

use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::session::Run;

use crate::script::Document;

/// The documents that are published.
#[derive(Default)]
pub(crate) struct Documents {
    published: BTreeMap<Document, Published>,
}

#[derive(Default)]
struct Published {
    by: Vec<Run>,
    fields: BTreeMap<String, Vec<(Run, Value)>>,
}

impl Documents {
    pub(crate) fn add(&mut self, run: Run, document: Document, fields: Object) {
        let found = self.published.entry(document).or_default();
        if !found.by.contains(&run) {
            found.by.push(run);
        }
        found.set(run, fields);
    }

    pub(crate) fn change(&mut self, run: Run, document: Document, fields: Object) {
        let Some(found) = self.published.get_mut(&document) else {
            return;
        };
        if !found.by.contains(&run) {
            return;
        }
        let (gone, fields): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .partition(|(_, value)| value.is_undefined());
        for (key, _) in gone {
            if let Some(values) = found.fields.get_mut(&key.to_string()) {
                values.retain(|(by, _)| *by != run);
            }
        }
        found.set(run, fields.into_iter().collect());
    }

    pub(crate) fn remove(&mut self, run: Run, document: Document) {
        if let Some(found) = self.published.get_mut(&document) {
            found.remove(run);
        }
        self.published.retain(|_, found| !found.by.is_empty());
    }

    /// A subscription has ended.
    pub(crate) fn remove_all(&mut self, run: Run) {
        self.published
            .values_mut()
            .for_each(|found| found.remove(run));
        self.published.retain(|_, found| !found.by.is_empty());
    }

    /// Each document with the fields that a client should see.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (Document, BTreeMap<&str, &Value>)> {
        self.published.iter().map(|(document, found)| {
            let fields = found.fields.iter().filter_map(|(key, values)| {
                let (_, first) = values.first()?;
                (!first.is_undefined()).then_some((key.as_str(), first))
            });
            (*document, fields.collect())
        })
    }
}

impl Published {
    fn set(&mut self, run: Run, fields: Object) {
        for (key, value) in fields {
            // The id is sent beside the fields.
            if key == *"_id" {
                continue;
            }
            let values = self.fields.entry(key.to_string()).or_default();
            match values.iter_mut().find(|(by, _)| *by == run) {
                Some((_, known)) => *known = value,
                None => values.push((run, value)),
            }
        }
    }

    fn remove(&mut self, run: Run) {
        self.by.retain(|by| *by != run);
        for values in self.fields.values_mut() {
            values.retain(|(by, _)| *by != run);
        }
    }
}
