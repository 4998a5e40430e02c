//! What a client must show, computed the long way: everything that everybody publishes is kept, in
//! order.

use std::collections::BTreeMap;

use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::view::{PublicationStrategy, Publisher};

use crate::client::apply;
use crate::{Documents, Operation, Place, places, strategy_of};

#[derive(Default)]
pub(crate) struct Model {
    /// Who publishes which document.
    publishers: BTreeMap<Place, Vec<Publisher>>,
    /// Of merged documents: what each publishes, by field, the first first.
    fields: BTreeMap<(Place, String), Vec<(Publisher, Value)>>,
    /// What the client must show.
    shown: Documents,
    is_rerun: bool,
}

impl Model {
    pub(crate) fn documents(&self) -> &Documents {
        &self.shown
    }

    pub(crate) fn publishes(&self, publisher: Publisher, at: Place) -> bool {
        strategy_of(at.0) == PublicationStrategy::NoMergeNoHistory
            || self.publishers(at).contains(&publisher)
    }

    pub(crate) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Added(by, at, fields) => {
                let publishers = self.publishers.entry(*at).or_default();
                if !publishers.contains(by) {
                    publishers.push(*by);
                }
                self.publish(*by, *at, fields, false);
            }
            Operation::Changed(by, at, fields) if self.publishes(*by, *at) => {
                self.publish(*by, *at, fields, true);
            }
            Operation::Changed(..) => {}
            Operation::Removed(by, at) => self.let_go(*by, *at),
            Operation::Stop(by) => {
                for at in places() {
                    if strategy_of(at.0) != PublicationStrategy::NoMergeNoHistory {
                        self.let_go(*by, at);
                    }
                }
            }
            Operation::BeginAgain => {
                self.is_rerun = true;
                self.publishers.clear();
                self.fields.clear();
            }
            Operation::Difference => {
                if std::mem::take(&mut self.is_rerun) {
                    let Self {
                        publishers, shown, ..
                    } = self;
                    shown.retain(|at, _| {
                        strategy_of(at.0) == PublicationStrategy::NoMergeNoHistory
                            || publishers.get(at).is_some_and(|them| !them.is_empty())
                    });
                }
            }
        }
        if !self.is_rerun {
            for at in places().filter(|at| strategy_of(at.0) == PublicationStrategy::ServerMerge) {
                self.merge(at);
            }
        }
    }

    fn publish(&mut self, by: Publisher, at: Place, fields: &Object, withdraws: bool) {
        if strategy_of(at.0) != PublicationStrategy::ServerMerge {
            // As the client takes it: an empty change does not reach it, an empty document does.
            if !withdraws || !fields.is_empty() {
                apply(self.shown.entry(at).or_default(), fields);
            }
            return;
        }
        for (key, value) in fields {
            let values = self.fields.entry((at, key.to_string())).or_default();
            let own = values.iter().position(|(publisher, _)| *publisher == by);
            match own {
                Some(place) if withdraws && value.is_undefined() => {
                    values.remove(place);
                }
                Some(place) => values[place].1 = value.clone(),
                None if withdraws && value.is_undefined() => {}
                None => values.push((by, value.clone())),
            }
        }
    }

    fn let_go(&mut self, by: Publisher, at: Place) {
        if !self.publishes(by, at) {
            return;
        }
        self.publishers
            .entry(at)
            .or_default()
            .retain(|it| *it != by);
        for ((place, _), values) in &mut self.fields {
            if *place == at {
                values.retain(|(publisher, _)| *publisher != by);
            }
        }
        let is_over = match strategy_of(at.0) {
            PublicationStrategy::ServerMerge => false,
            PublicationStrategy::NoMerge | PublicationStrategy::NoMergeNoHistory => true,
            PublicationStrategy::NoMergeMulti => self.publishers(at).is_empty(),
            other => panic!("the model does not know {other:?}"),
        };
        if is_over {
            self.shown.remove(&at);
        }
    }

    /// Shows of each field what its first publisher says.
    fn merge(&mut self, at: Place) {
        if self.publishers(at).is_empty() {
            self.shown.remove(&at);
            return;
        }
        let of_this = self.fields.iter().filter(|((place, _), _)| *place == at);
        let heads = of_this.filter_map(|((_, key), values)| {
            let (_, value) = values.first()?;
            (!value.is_undefined()).then(|| (key.clone(), value.clone()))
        });
        self.shown.insert(at, heads.collect());
    }

    fn publishers(&self, at: Place) -> &[Publisher] {
        self.publishers.get(&at).map_or(&[], Vec::as_slice)
    }
}
