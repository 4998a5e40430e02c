//! What the parts of the protocol cost: a message in, an event out, a value through EJSON, a change
//! through the merge box. `cargo bench -p updraft-bench` runs these; `cargo xtask bench` compares
//! whole servers.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a bench that finds nothing should stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde::Serialize;
use updraft_protocol::ejson;
use updraft_protocol::ejson::{JsonLimits, Object, Value};
use updraft_protocol::message::{ClientRequest, Frame, MessageBounds, decode};
use updraft_protocol::session::{Action, Output, PublicationKind, Run, Session, SessionConfig};
use updraft_protocol::vent::VentOptions;
use updraft_protocol::view::{Fields, View};

const EVENT: &str = r#"{"t":"2026-01-01T00:00:00.000Z","user":{"_id":"w2dgDBmzRZmQX6Aqb","name":"Ada"},"message":"The weather is fine \"today\".","at":{"$date":1500000000123},"tags":["a","b"]}"#;
const SUB: &str = r#"{"msg":"sub","id":"Zq3b4LxJpTtYk7cWm","name":"feed","params":["vent.1",{"channel":"threads::7::new_message"}]}"#;
const METHOD: &str = r#"{"msg":"method","id":"7","method":"messages.add","params":["7",{"text":"hi","at":{"$date":1500000000123}}]}"#;

fn ejson_text(c: &mut Criterion) {
    let limits = JsonLimits::default();
    let value = ejson::parse(EVENT, &limits).unwrap().decode().unwrap();
    let mut group = c.benchmark_group("ejson");
    group.bench_function("scan", |b| {
        b.iter(|| ejson::scan(black_box(EVENT.as_bytes()), &limits).unwrap());
    });
    group.bench_function("parse", |b| {
        b.iter(|| ejson::parse(black_box(EVENT), &limits).unwrap());
    });
    group.bench_function("parse and decode", |b| {
        b.iter(|| {
            ejson::parse(black_box(EVENT), &limits)
                .unwrap()
                .decode()
                .unwrap()
        });
    });
    group.bench_function("print", |b| {
        let mut out = String::new();
        b.iter(|| {
            out.clear();
            ejson::write_ejson(black_box(&value), &mut out);
        });
    });
    // The work of a mapping function that reads an event and builds another, for each subscriber.
    let rebuilt = || ejson!({ "t": value.get("t").cloned(), "user": value.get("message").cloned(), "tags": value.get("tags").cloned() });
    group.bench_function("build", |b| b.iter(rebuilt));
    group.bench_function("build and print", |b| {
        b.iter(|| ejson::print(&Some(rebuilt())).unwrap());
    });
    let typed = Typed {
        t: "2026-01-01T00:00:00.000Z",
        count: 7,
        tags: &["a", "b"],
    };
    group.bench_function("print a struct", |b| {
        b.iter(|| ejson::print(black_box(&typed)).unwrap());
    });
    group.bench_function("print what has a date", |b| {
        b.iter(|| ejson::print(black_box(&value)).unwrap());
    });
    group.finish();
}

#[derive(Serialize)]
struct Typed<'a> {
    t: &'a str,
    count: u32,
    tags: &'a [&'a str],
}

fn messages(c: &mut Criterion) {
    let (limits, bounds) = (JsonLimits::default(), MessageBounds::default());
    let mut group = c.benchmark_group("message");
    for (name, text) in [("sub", SUB), ("method", METHOD)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let message = decode(black_box(text), &limits, || None).unwrap();
                ClientRequest::parse(message, text.len(), &bounds)
            });
        });
    }
    group.finish();
}

fn merge_box(c: &mut Criterion) {
    let document = |n: f64| -> Fields {
        let mut fields = Object::new();
        fields.insert("n", Value::from(n));
        fields.insert("name", Value::from("Ada"));
        fields.into()
    };
    let mut group = c.benchmark_group("merge box");
    for publishers in [1, 3] {
        let mut view = View::default();
        for publisher in 0..publishers {
            view.added(publisher, "things", "x", document(0.0));
        }
        group.bench_function(format!("changed, {publishers} publishing"), |b| {
            let mut n = 0.0;
            b.iter_batched(
                || {
                    n += 1.0;
                    document(n)
                },
                |fields| view.changed(0, "things", "x", fields),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn events(c: &mut Criterion) {
    let (mut session, run) = subscribed();
    let encoding = session.encoding(run).unwrap();
    let body = Bytes::from_static(EVENT.as_bytes());
    let mut group = c.benchmark_group("event");
    group.bench_function("tail, once for all", |b| {
        b.iter(|| encoding.tail(black_box(&body).clone(), false));
    });
    let tail = encoding.tail(body.clone(), false);
    let mut ignored = Output::default();
    group.bench_function("head, counted", |b| {
        b.iter(|| session.event(run, black_box(&tail), &mut ignored).is_some());
    });
    let head = session.event(run, &tail, &mut ignored).unwrap().clone();
    group.bench_function("head and tail into a buffer", |b| {
        let mut out = Vec::with_capacity(4096);
        b.iter(|| {
            out.clear();
            let (head, tail) = (head.clone(), tail.clone());
            Frame::Event { head, tail }.write(black_box(&mut out));
        });
    });
    group.finish();
}

/// A session with one subscription to events, after `ready`.
fn subscribed() -> (Session, Run) {
    let mut config = SessionConfig::default();
    let kind = PublicationKind::Vent(VentOptions::new());
    config.names.publication("feed", 0, kind).unwrap();
    let mut session = Session::new("s", Arc::new(config), Duration::ZERO);
    let mut out = Output::default();
    let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
    session.receive(connect, Duration::ZERO, &mut out);
    session.receive(SUB, Duration::ZERO, &mut out);
    let run = out.actions.iter().find_map(|action| match action {
        Action::Publish { run, .. } => Some(*run),
        _ => None,
    });
    let run = run.unwrap();
    session.published(run, Ok(()), Duration::ZERO, &mut out);
    (session, run)
}

criterion_group!(pieces, ejson_text, messages, merge_box, events);
criterion_main!(pieces);
