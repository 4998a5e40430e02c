//! The view's rules one by one; `tests/merge_box` tests them at random.

use super::*;
use crate::ejson;
use crate::ejson::{Object, Value};

const A: Publisher = 1;
const B: Publisher = 2;

fn fields(value: Value) -> Fields {
    Fields::new(value).unwrap()
}

/// A view in which the collection `c` has this strategy, and others are merged.
fn view_with(strategy: PublicationStrategy) -> View {
    let mut strategies = Strategies::default();
    strategies.set("c", strategy);
    View::new(strategies)
}

fn view(a: Value, b: Value) -> View {
    let mut view = View::default();
    view.added(A, "c", "x", fields(a));
    view.added(B, "c", "x", fields(b));
    view
}

fn shown(effect: Effect) -> String {
    match effect {
        Effect::Added(fields) => format!("added {}", ejson::to_ejson(&(*fields).clone().into())),
        Effect::Changed(fields) => {
            let (gone, set): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(_, value)| value.is_undefined());
            let gone: Vec<_> = gone.into_iter().map(|(key, _)| key.to_string()).collect();
            let set: Object = set.into_iter().map(|(k, v)| (k, v.clone())).collect();
            format!("changed {} cleared {gone:?}", ejson::to_ejson(&set.into()))
        }
        Effect::Removed => "removed".into(),
        Effect::Nothing => "nothing".into(),
    }
}

fn difference(view: &mut View) -> Vec<String> {
    let mut all = Vec::new();
    // One at a time, as for a client that reads slowly.
    let show = |all: &mut Vec<String>, name: &str, id: &str, effect| {
        all.push(format!("{name}/{id} {}", shown(effect)));
        1
    };
    while !view.difference(1, |name, id, effect| show(&mut all, name, id, effect)) {}
    all
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

#[test]
fn fields_are_shared_until_they_are_changed() {
    let published = fields(ejson!({ "_id": "x", "n": 1, "m": 2 }));
    let [mut one, mut other] = [View::default(), View::default()];
    for view in [&mut one, &mut other] {
        let Effect::Added(seen) = view.added(A, "c", "x", published.clone()) else {
            panic!("the document is new");
        };
        assert!(seen.is_same(&published));
    }
    one.changed(A, "c", "x", fields(ejson!({ "n": 1 })));
    assert_eq!(published.copies(), 3, "nothing has changed");
    one.changed(A, "c", "x", fields(ejson!({ "n": 5 })));
    assert_eq!(published.copies(), 2, "one session has its own now");
    other.added(B, "c", "x", published.clone());
    assert_eq!(published.copies(), 3, "two publishers, the same fields");
    other.stop(A, |_, _, effect| panic!("{effect:?}"));
    assert_eq!(published.copies(), 2);
    assert_eq!(published.get("n"), Some(&Value::from(1)));
}

#[test]
fn deviation_021_a_publisher_that_stops_lets_go_in_order() {
    let mut view = View::default();
    for (publisher, collection, id) in [
        (A, "d", "1"),
        (A, "c", "2"),
        (B, "c", "1"),
        (B, "c", "2"),
        (A, "d", "0"),
        (A, "c", "1"),
    ] {
        view.added(
            publisher,
            collection,
            id,
            fields(ejson!({ "n": publisher })),
        );
    }
    let mut all = Vec::new();
    view.stop(A, |name, id, effect| {
        all.push(format!("{name}/{id} {}", shown(effect)));
    });
    assert_eq!(
        all,
        [
            "d/1 removed",
            "d/0 removed",
            r#"c/2 changed {"n":2} cleared []"#
        ]
    );
    assert!(!view.has_collection("d") && view.has_collection("c"));
}

#[test]
fn ddp_165_a_difference_is_in_meteors_order() {
    let mut view = View::default();
    let same = fields(ejson!({ "n": 1, "d": { "x": 1, "y": 2 } }));
    view.added(A, "old", "gone", fields(ejson!({})));
    view.added(A, "old", "kept", same.clone());
    view.added(
        A,
        "old",
        "changed",
        fields(ejson!({ "n": 1, "m": 2, "k": 3 })),
    );
    view.added(A, "empty", "gone", fields(ejson!({})));
    view.begin_again();
    assert!(view.has_collection("empty") && !view.publishes(A, "old", "kept"));

    for effect in [
        view.added(B, "new", "a", fields(ejson!({ "n": 1 }))),
        view.added(B, "old", "added", fields(ejson!({ "n": 1 }))),
        view.added(B, "old", "changed", fields(ejson!({ "k": 3, "p": 4 }))),
        view.changed(B, "old", "changed", fields(ejson!({ "n": 2 }))),
        view.added(
            B,
            "old",
            "kept",
            fields(ejson!({ "d": { "y": 2, "x": 1 }, "n": 1 })),
        ),
        view.added(B, "old", "over", fields(ejson!({}))),
        view.removed(B, "old", "over"),
    ] {
        assert_eq!(effect, Effect::Nothing);
    }
    assert_eq!(
        difference(&mut view),
        [
            "old/gone removed",
            r#"old/changed changed {"n":2,"p":4} cleared ["m"]"#,
            r#"old/added added {"n":1}"#,
            "empty/gone removed",
            r#"new/a added {"n":1}"#,
        ]
    );
    assert!(difference(&mut view).is_empty(), "it is shown once");
    assert!(!view.has_collection("empty"));
}

#[test]
fn ddp_165_deviation_023_no_merge_shows_the_rerun_at_once_and_removes_what_is_left() {
    let mut view = view_with(PublicationStrategy::NoMerge);
    for (publisher, id) in [(A, "both"), (A, "gone"), (B, "gone"), (B, "taken back")] {
        view.added(publisher, "c", id, fields(ejson!({ "n": 1 })));
    }
    view.begin_again();
    let again = view.added(A, "c", "both", fields(ejson!({ "n": 1 })));
    assert_eq!(shown(again), r#"added {"n":1}"#);
    view.added(B, "c", "taken back", fields(ejson!({})));
    let mut stopped = Vec::new();
    view.stop(B, |_, id, effect| {
        stopped.push(format!("{id} {}", shown(effect)))
    });
    assert_eq!(stopped, ["taken back removed"]);
    assert_eq!(difference(&mut view), ["c/gone removed"]);
}

#[test]
fn ddp_165_deviation_023_multi_shows_the_rerun_as_changes_and_removes_what_is_left() {
    let mut view = view_with(PublicationStrategy::NoMergeMulti);
    for id in ["gone", "both", "taken back"] {
        view.added(A, "c", id, fields(ejson!({ "n": 1 })));
    }
    view.begin_again();
    let mut add = |id| shown(view.added(A, "c", id, fields(ejson!({ "n": 2 }))));
    assert_eq!(add("both"), r#"changed {"n":2} cleared []"#);
    assert_eq!(add("new"), r#"added {"n":2}"#);
    assert_eq!(add("taken back"), r#"changed {"n":2} cleared []"#);
    assert_eq!(shown(view.removed(A, "c", "taken back")), "removed");
    let again = view.added(A, "c", "taken back", fields(ejson!({ "n": 3 })));
    assert_eq!(shown(again), r#"added {"n":3}"#);
    assert_eq!(difference(&mut view), ["c/gone removed"]);
}

#[test]
fn a_collection_without_history_is_taken_to_have_documents() {
    let mut view = view_with(PublicationStrategy::NoMergeNoHistory);
    assert!(view.has_collection("c") && !view.has_collection("d"));
    assert!(view.publishes(A, "c", "x") && !view.publishes(A, "d", "x"));
    assert_eq!(shown(view.removed(A, "c", "x")), "removed");
}
