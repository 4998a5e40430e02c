//! The server that the transcripts assume: publications and methods that show every side of the protocol.
//!
//! `PORT=4000 cargo run --example fixture` listens on 127.0.0.1:4000. With `REDIS_URL` set, events come from Redis, and
//! with `REST_US` that rests so many microseconds between single messages. With `UNIVERSAL=1` there is a publication
//! without a name, with `GREETING=1` clients are greeted as by old Meteor servers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use updraft::prelude::*;
use updraft::{Binary, Object, Regexp, Strategy};

/// Subscriptions that can be poked, by publication.
#[derive(Clone, Default)]
struct Live(Arc<Mutex<HashMap<&'static str, Vec<Subscription>>>>);

impl Live {
    fn add(&self, publication: &'static str, subscription: &Subscription) {
        self.lock()
            .entry(publication)
            .or_default()
            .push(subscription.clone());
        let all = self.clone();
        subscription.on_stop(move || {
            let mut all = all.lock();
            all.entry(publication)
                .or_default()
                .retain(|other| !other.is_stopped());
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Vec<Subscription>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poke(&self, publication: &str, op: &str, args: &[Value]) -> usize {
        let live = self.lock().get(publication).cloned().unwrap_or_default();
        let text = |at: usize| args.get(at).and_then(Value::as_str).unwrap_or_default();
        let value = |at: usize| args.get(at).cloned().unwrap_or_default();
        for subscription in &live {
            match op {
                "added" => subscription.added(text(0), value(1), value(2)),
                "changed" => subscription.changed(text(0), value(1), value(2)),
                "removed" => subscription.removed(text(0), value(1)),
                "ready" => subscription.ready(),
                "stop" => subscription.stop(),
                _ => {}
            }
        }
        live.len()
    }
}

/// A publication that adds documents and can be poked.
macro_rules! poked {
    ($server:ident, $live:ident, $name:expr, $(($collection:expr, $id:literal, $fields:tt)),*) => {{
        let live = $live.clone();
        $server = $server.publish($name, move |subscription: Subscription| {
            let live = live.clone();
            async move {
                live.add($name, &subscription);
                $(subscription.added($collection, $id, ejson!($fields));)*
                Ok::<(), Error>(())
            }
        });
    }};
}

/// The three publications of a collection that has a strategy, one of which depends on the user.
macro_rules! strategy {
    ($server:ident, $live:ident, $name:literal, $strategy:expr) => {{
        const COLLECTION: &str = concat!("st_", $name);
        poked!($server, $live, concat!("st1_", $name), (COLLECTION, "x", { "a": 1, "b": 2 }));
        poked!($server, $live, concat!("st2_", $name), (COLLECTION, "x", { "a": 1, "c": 3 }));
        $server = $server.publication_strategy(COLLECTION, $strategy);
        $server = $server.publish(
            concat!("stu_", $name),
            |subscription: Subscription| async move {
                let user = subscription.user_id();
                subscription.added(COLLECTION, "x", ejson!({ "u": user, "k": 1 }));
                if user.is_none() {
                    subscription.added(COLLECTION, "anon", ejson!({ "k": 2 }));
                }
                Ok::<(), Error>(())
            },
        );
    }};
}

async fn two(subscription: Subscription) -> Result<()> {
    subscription.added("things", "a", ejson!({ "n": 1, "s": "x" }));
    subscription.added("things", "b", ejson!({ "n": 2, "_id": "ignored" }));
    Ok(())
}

async fn never_ready(subscription: Subscription) -> Result<()> {
    subscription.hold_ready();
    subscription.added("things", "nr", ejson!({ "n": 1 }));
    Ok(())
}

async fn ready_twice(subscription: Subscription) -> Result<()> {
    subscription.ready();
    subscription.ready();
    Ok(())
}

async fn throws(_: Subscription) -> Result<()> {
    Err(Error::internal("secret text"))
}

async fn throws_meteor(_: Subscription) -> Result<()> {
    Err(Error::new("my-code", "my reason").details(ejson!({ "d": 1 })))
}

async fn throws_async(_: Subscription) -> Result<()> {
    tokio::task::yield_now().await;
    Err(Error::forbidden("nope"))
}

async fn throws_sanitized(_: Subscription) -> Result<()> {
    Err(Error::new("san", "sanitized").because("secret text"))
}

async fn error_call(subscription: Subscription) -> Result<()> {
    subscription.added("things", "e", ejson!({ "n": 1 }));
    subscription.error(Error::new("bad", "called error"));
    subscription.added("things", "f", ejson!({ "n": 2 }));
    Ok(())
}

async fn stop_call(subscription: Subscription) -> Result<()> {
    subscription.added("things", "e", ejson!({ "n": 1 }));
    subscription.ready();
    subscription.stop();
    Ok(())
}

async fn stop_empty(subscription: Subscription) -> Result<()> {
    subscription.stop();
    Ok(())
}

async fn params(subscription: Subscription, Args(args): Args) -> Result<()> {
    subscription.added("p", "p", ejson!({ "n": args.len(), "args": args }));
    Ok(())
}

async fn ejson_values(subscription: Subscription) -> Result<()> {
    let oid = ObjectId::parse("0123456789abcdef01234567");
    let fields = ejson!({
        "date": Date::from_millis(1_500_000_000_123.0),
        "bin": Binary(vec![1, 2, 3, 250]),
        "nan": f64::NAN,
        "inf": f64::INFINITY,
        "ninf": f64::NEG_INFINITY,
        "oid": oid,
        "re": Regexp::new("ab+c", "gi")?,
        "esc": { "$date": 5 },
        "esc2": { "$type": "x", "$value": 1 },
        "notesc": { "$date": 1, "b": 2 },
        "nested": {
            "a": [Date::from_millis(0.0), { "d": Date::from_millis(1.0) }],
            "o": { "oid": oid },
        },
        "nul": null,
        "t": true,
        "und": undefined,
        "neg0": -0.0,
        "big": 1e21,
        "arr": [undefined, f64::NAN, null],
        "invalid": Date::from_millis(f64::NAN),
        "str": "é\u{2028}\"\\",
        "emptyO": {},
        "emptyA": [],
    });
    subscription.added("ej", "e", fields);
    Ok(())
}

async fn oids(subscription: Subscription) -> Result<()> {
    let oid = ObjectId::parse("0123456789abcdef01234567").map_or(Value::Null, Value::from);
    let ids = [
        oid,
        Value::from("-dash"),
        Value::from("~tilde"),
        Value::from("0123456789abcdef01234567"),
        Value::from(""),
        Value::from(5),
        Value::Undefined,
    ];
    for (index, id) in ids.into_iter().enumerate() {
        subscription.added("oids", id, ejson!({ "n": index + 1 }));
    }
    Ok(())
}

async fn user(subscription: Subscription) -> Result<()> {
    let uid = subscription.user_id();
    let id = uid.clone().unwrap_or_else(|| "anon".to_owned());
    subscription.added("users", id, ejson!({ "uid": uid }));
    subscription.added("users", "common", ejson!({ "uid": uid, "k": 1 }));
    Ok(())
}

async fn user_err(subscription: Subscription) -> Result<()> {
    if subscription.user_id().is_some() {
        return Err(Error::forbidden("logged in"));
    }
    subscription.added("ue", "x", ejson!({ "a": 1 }));
    Ok(())
}

async fn conn(subscription: Subscription) -> Result<()> {
    let connection = subscription.connection();
    let fields = ejson!({
        "id": connection.id(),
        "addr": connection.client_address().map(|address| address.to_string()),
        "headers": Object::from(connection.headers()),
    });
    subscription.added("c", "c", fields);
    Ok(())
}

async fn slow(_: Subscription, ms: u64) -> Result<()> {
    sleep(Duration::from_millis(ms)).await;
    Ok(())
}

async fn slow_unblock(subscription: Subscription, ms: u64) -> Result<()> {
    subscription.unblock();
    sleep(Duration::from_millis(ms)).await;
    Ok(())
}

async fn empty_fields(subscription: Subscription) -> Result<()> {
    subscription.added("ef", "x", ejson!({}));
    subscription.added("ef", "y", ejson!({ "u": undefined }));
    subscription.added("ef", "x", ejson!({ "n": 1 }));
    subscription.changed("ef", "x", ejson!({}));
    subscription.changed("ef", "x", ejson!({ "n": 1 }));
    subscription.changed("ef", "x", ejson!({ "n": undefined }));
    subscription.changed("ef", "x", ejson!({ "nope": undefined }));
    subscription.changed("ef", "x", ejson!({ "a": 1, "n": undefined, "b": 2 }));
    subscription.removed("ef", "x");
    Ok(())
}

async fn changed_missing(subscription: Subscription) -> Result<()> {
    subscription.changed("cm", "zz", ejson!({ "n": 1 }));
    subscription.added("cm", "ok", ejson!({}));
    Ok(())
}

async fn removed_missing(subscription: Subscription) -> Result<()> {
    subscription.removed("cm", "zz");
    subscription.added("cm", "ok", ejson!({}));
    Ok(())
}

async fn universal(subscription: Subscription) -> Result<()> {
    subscription.added("uni", "u", ejson!({ "uid": subscription.user_id() }));
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThreadMessage {
    channel: Option<String>,
    #[serde(default = "yes")]
    should_return: bool,
}

fn yes() -> bool {
    true
}

async fn thread_message(vent: Vent, options: ThreadMessage) -> Result<()> {
    let Some(channel) = options.channel else {
        return Err(Error::new(
            "invalid-arguments",
            "Please supply a valid channel",
        ));
    };
    if options.should_return {
        return vent.relay(channel).await;
    }
    vent.on(channel, |_| Event::none()).await
}

async fn echo(_: Call, Args(args): Args) -> Result<Vec<Value>> {
    Ok(args)
}

async fn echo1(_: Call, first: Value) -> Result<Value> {
    Ok(first)
}

async fn aecho(_: Call, first: Value) -> Result<Value> {
    sleep(Duration::from_millis(5)).await;
    Ok(first)
}

async fn describe(_: Call, value: Value) -> Result<Value> {
    let text = match &value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(it) => format!("boolean {it}"),
        Value::Number(_) => format!("number {}", ejson::to_json(&value)),
        Value::String(text) => format!("string {text}"),
        Value::Date(date) => {
            let millis = date
                .millis()
                .map_or_else(|| "NaN".to_owned(), |millis| millis.to_string());
            format!("Date({millis})")
        }
        Value::Binary(Binary(bytes)) => {
            let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
            format!("Binary[{}]", bytes.join(","))
        }
        Value::Regexp(pattern) => format!("RegExp /{}/{}", pattern.source(), pattern.flags()),
        Value::ObjectId(oid) => format!("oid {}", oid.to_hex()),
        Value::Decimal(decimal) => format!("Decimal {}", decimal.as_str()),
        Value::Array(_) => "array".to_owned(),
        Value::Object(object) => {
            let keys: Vec<String> = object.keys().map(|key| key.to_string()).collect();
            format!("object keys={}", keys.join(","))
        }
    };
    Ok(ejson!({ "t": text, "v": value }))
}

async fn throw_meteor(_: Call) -> Result<()> {
    let details = ejson!({ "d": Date::from_millis(0.0), "k": 1 });
    Err(Error::new("code-x", "reason x").details(details))
}

async fn wants_number(_: Call, _: f64) -> Result<()> {
    Ok(())
}

async fn ctx(call: Call) -> Result<Value> {
    Ok(ejson!({
        "userId": call.user_id(),
        "sim": false,
        "conn": call.connection().id(),
        "seed": call.random_seed(),
    }))
}

async fn slow_method(_: Call, (ms, tag): (u64, Value)) -> Result<Value> {
    sleep(Duration::from_millis(ms)).await;
    Ok(tag)
}

async fn slow_unblock_method(call: Call, (ms, tag): (u64, Value)) -> Result<Value> {
    call.unblock();
    sleep(Duration::from_millis(ms)).await;
    Ok(tag)
}

async fn seed_ids(call: Call, (n, name): (usize, String)) -> Result<Vec<String>> {
    Ok((0..n).map(|_| call.random_id(&name)).collect())
}

async fn seed_more(call: Call) -> Result<Value> {
    Ok(call.with_random(|random| {
        let things = random.sequence("/collection/things");
        ejson!({
            "id": things.id(),
            "hex": things.hex(20),
            "frac": things.fraction(),
            "choice": things.choice("abcdef"),
            "secret": things.secret(10),
        })
    }))
}

#[derive(Deserialize)]
struct VentEmit {
    channel: String,
    object: Value,
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

async fn vent_emit(call: Call, emit: VentEmit) -> Result<()> {
    for _ in 0..emit.times {
        call.emit(emit.channel.as_str(), &emit.object).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let live = Live::default();
    let mut server = Server::builder()
        .publish("two", two)
        .publish("readyTwice", ready_twice)
        .publish("throws", throws)
        .publish("throwsMeteor", throws_meteor)
        .publish("throwsAsync", throws_async)
        .publish("throwsSanitized", throws_sanitized)
        .publish("errorCall", error_call)
        .publish("stopCall", stop_call)
        .publish("stopEmpty", stop_empty)
        .publish("params", params)
        .publish("ejson", ejson_values)
        .publish("oids", oids)
        .publish("user", user)
        .publish("userErr", user_err)
        .publish("conn", conn)
        .publish("slow", slow)
        .publish("slowUnblock", slow_unblock)
        .publish("emptyFields", empty_fields)
        .publish("changedMissing", changed_missing)
        .publish("removedMissing", removed_missing)
        .vent("threadMessage", thread_message)
        .method("echo", echo)
        .method("echo1", echo1)
        .method("aecho", aecho)
        .method("describe", describe)
        .method("undef", async |_: Call| Ok::<_, Error>(()))
        .method("nul", |_: Call| async { Ok::<_, Error>(Value::Null) })
        .method("zero", |_: Call| async { Ok::<_, Error>(0) })
        .method("falsy", |_: Call| async { Ok::<_, Error>(false) })
        .method("throwErr", |_: Call| async {
            Err::<(), _>(Error::internal("secret text"))
        })
        .method("throwMeteor", throw_meteor)
        .method("throwMeteorNum", |_: Call| async {
            Err::<(), _>(Error::forbidden("Access denied"))
        })
        .method("throwMeteorBare", |_: Call| async {
            Err::<(), _>(Error::bare("bare"))
        })
        .method("throwSanitized", |_: Call| async {
            Err::<(), _>(Error::new("san", "sanitized").because("secret text"))
        })
        .method("throwMatch", wants_number)
        .method("whoami", |call: Call| async move {
            Ok::<_, Error>(call.user_id())
        })
        .method("ctx", ctx)
        .method("nested", |call: Call| async move {
            call.call::<Value>("ctx", ()).await
        })
        .method("slow", slow_method)
        .method("slowUnblock", slow_unblock_method)
        .method("seedIds", seed_ids)
        .method("seedMore", seed_more)
        .method("closeMe", |call: Call| async move {
            call.connection().close();
            Ok::<_, Error>("closed")
        })
        .method("vent_emit", vent_emit);

    let all = live.clone();
    server = server.publish("neverReady", move |subscription: Subscription| {
        all.add("neverReady", &subscription);
        never_ready(subscription)
    });
    poked!(server, live, "live",);
    poked!(server, live, "overlapA", ("ov", "x", { "foo": 1, "bar": 2 }));
    poked!(server, live, "overlapB", ("ov", "x", { "foo": 1, "baz": 3 }));
    poked!(server, live, "conflictB", ("ov", "x", { "foo": 99, "baz": 3 }));
    strategy!(server, live, "SERVER_MERGE", Strategy::ServerMerge);
    strategy!(server, live, "NO_MERGE", Strategy::NoMerge);
    strategy!(
        server,
        live,
        "NO_MERGE_NO_HISTORY",
        Strategy::NoMergeNoHistory
    );
    strategy!(server, live, "NO_MERGE_MULTI", Strategy::NoMergeMulti);

    let all = live.clone();
    server = server.method("poke", move |_: Call, Args(args): Args| {
        let all = all.clone();
        async move {
            let [name, op, rest @ ..] = args.as_slice() else {
                return Err(Error::match_failed());
            };
            let (name, op) = (
                name.as_str().unwrap_or_default(),
                op.as_str().unwrap_or_default(),
            );
            Ok(all.poke(name, op, rest))
        }
    });
    let all = live.clone();
    server = server.method("pokeAfter", move |call: Call, Args(args): Args| {
        let all = all.clone();
        async move {
            let [name, ms, op, rest @ ..] = args.as_slice() else {
                return Err(Error::match_failed());
            };
            let ms = Duration::from_millis(ms.as_f64().unwrap_or_default() as u64);
            let name = name.as_str().unwrap_or_default().to_owned();
            let op = op.as_str().unwrap_or_default().to_owned();
            let rest = rest.to_vec();
            call.run(async move {
                sleep(ms).await;
                all.poke(&name, &op, &rest);
            });
            Ok(())
        }
    });
    let all = live.clone();
    server = server.method("fenced", move |call: Call, ms: u64| {
        let all = all.clone();
        async move {
            let write = call.begin_write();
            call.run(async move {
                sleep(Duration::from_millis(ms)).await;
                let document = [
                    Value::from("live"),
                    Value::from(format!("fenced{ms}")),
                    ejson!({ "ms": ms }),
                ];
                all.poke("live", "added", &document);
                drop(write);
            });
            Ok::<_, Error>("fenced")
        }
    });

    // Whoever tests it may, from wherever.
    server = server.allow_any_origin();
    if std::env::var("GREETING").is_ok_and(|set| set == "1") {
        server = server.greeting(true);
    }
    if std::env::var("UNIVERSAL").is_ok_and(|set| set == "1") {
        server = server.publish_universal(universal);
    }
    if let Ok(url) = std::env::var("REDIS_URL") {
        let rest = std::env::var("REST_US")
            .ok()
            .and_then(|rest| rest.parse().ok());
        let rest = Duration::from_micros(rest.unwrap_or(0));
        server = server.bus(Redis::connect(&url).await?.rest(rest));
    }
    let port: u16 = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(4000);
    let bound = server.bind(("127.0.0.1", port)).await?;
    println!("The fixture listens on http://{}", bound.local_addr());
    bound.serve().await
}
