//! The view under random operations of several publishers, against an obvious model: what a client
//! shows after each of them is what the model says it must show.

mod client;
mod model;

use std::collections::BTreeMap;

use client::Client;
use model::Model;
use proptest::prelude::{Just, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;
use proptest::test_runner::Config;
use updraft_protocol::ejson;
use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::view::{Effect, PublicationStrategy, Publisher, Strategies, View};

/// Collections by strategy: two of them are merged.
const COLLECTIONS: [(&str, PublicationStrategy); 5] = [
    ("merged", PublicationStrategy::ServerMerge),
    ("merged too", PublicationStrategy::ServerMerge),
    ("ids", PublicationStrategy::NoMerge),
    ("counted", PublicationStrategy::NoMergeMulti),
    ("nothing", PublicationStrategy::NoMergeNoHistory),
];
const PUBLISHERS: [Publisher; 3] = [1, 2, 3];
const IDS: [&str; 3] = ["a", "b", "a longer id than fits in twenty-four bytes"];
const KEYS: [&str; 3] = ["x", "y", "0"];

type Place = (&'static str, &'static str);

#[derive(Clone, Debug)]
enum Operation {
    Added(Publisher, Place, Object),
    Changed(Publisher, Place, Object),
    Removed(Publisher, Place),
    Stop(Publisher),
    BeginAgain,
    Difference,
}

/// The documents that a client shows.
type Documents = BTreeMap<Place, Document>;

/// Fields by key, without undefined ones.
type Document = BTreeMap<String, Value>;

fn strategy_of(collection: &str) -> PublicationStrategy {
    let found = COLLECTIONS.iter().find(|(name, _)| *name == collection);
    found.map(|(_, strategy)| *strategy).unwrap_or_default()
}

fn places() -> impl Iterator<Item = Place> {
    COLLECTIONS
        .iter()
        .flat_map(|(name, _)| IDS.map(|id| (*name, id)))
}

/// Few values, some of which count as equal without being the same.
fn value() -> impl Generator<Value = Value> {
    prop_oneof![
        2 => Just(Value::Undefined),
        1 => Just(Value::Null),
        2 => (0..3).prop_map(Value::from),
        1 => Just(ejson!({ "a": 1, "b": -0.0 })),
        1 => Just(ejson!({ "b": 0.0, "a": 1 })),
    ]
}

fn fields() -> impl Generator<Value = Object> {
    let member = (prop::sample::select(&KEYS[..]), value());
    prop::collection::vec(member, 0..4).prop_map(|members| members.into_iter().collect())
}

fn operation() -> impl Generator<Value = Operation> {
    let publisher = || prop::sample::select(&PUBLISHERS[..]);
    // Often the same, for what happens between several publishers of one document.
    let place = || {
        prop_oneof![
            2 => Just(("merged", "a")),
            1 => prop::sample::select(places().collect::<Vec<_>>()),
        ]
    };
    prop_oneof![
        6 => (publisher(), place(), fields()).prop_map(|(p, at, it)| Operation::Added(p, at, it)),
        6 => (publisher(), place(), fields()).prop_map(|(p, at, it)| Operation::Changed(p, at, it)),
        3 => (publisher(), place()).prop_map(|(p, at)| Operation::Removed(p, at)),
        1 => publisher().prop_map(Operation::Stop),
        1 => Just(Operation::BeginAgain),
        2 => Just(Operation::Difference),
    ]
}

fn perform(operation: Operation, view: &mut View, client: &mut Client) {
    let mut shown = |(collection, id): (&str, &str), effect| client.see(collection, id, effect);
    match operation {
        Operation::Added(by, at, fields) => shown(at, view.added(by, at.0, at.1, fields.into())),
        Operation::Changed(by, at, fields) => {
            shown(at, view.changed(by, at.0, at.1, fields.into()));
        }
        Operation::Removed(by, at) => shown(at, view.removed(by, at.0, at.1)),
        Operation::Stop(by) => view.stop(by, |name, id, effect| {
            assert_ne!(effect, Effect::Nothing, "not worth showing");
            shown((name, id), effect);
        }),
        Operation::BeginAgain => view.begin_again(),
        Operation::Difference => {
            let mut show = |name: &str, id: &str, effect| {
                assert_ne!(effect, Effect::Nothing, "not worth showing");
                shown((name, id), effect);
                1
            };
            while !view.difference(2, &mut show) {}
        }
    }
}

proptest! {
    #![proptest_config(Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn ddp_109_121_122_165_a_client_shows_what_the_model_says(
        operations in prop::collection::vec(operation(), 1..20)
    ) {
        let mut strategies = Strategies::default();
        for (name, strategy) in COLLECTIONS {
            strategies.set(name, strategy);
        }
        let mut view = View::new(strategies);
        let mut client = Client::default();
        let mut model = Model::default();
        for operation in operations {
            model.perform(&operation);
            perform(operation, &mut view, &mut client);
            prop_assert_eq!(client.documents(), model.documents());
        }
        for at in places() {
            for publisher in PUBLISHERS {
                let publishes = view.publishes(publisher, at.0, at.1);
                prop_assert_eq!(publishes, model.publishes(publisher, at), "{:?}", at);
            }
        }
    }
}
