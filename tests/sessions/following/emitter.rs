//! Events between a program's emitter and DDP clients, which the hooks of the topic guard.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use updraft::prelude::*;
use updraft::topics::{Emitter, Filter};
use updraft::{ClientEntry, TopicAccess};
use updraft_test_support::client::{Client, PATIENCE};

use super::world::{Got, World, next, until_ready};
use crate::common::{Running, eventually_within};

/// Clients trigger what begins with `client.`, and hear everything else than `secret`.
fn guarded() -> TopicAccess {
    let name_of = |payload: &Value| {
        payload
            .get("event")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    TopicAccess::new()
        .authorize_read(async |_: Subscription| Ok(()))
        .authorize_publish(move |_: Call, entry: ClientEntry| async move {
            let name = entry.payload.as_ref().and_then(name_of);
            match name {
                Some(name) if name.starts_with("client.") => Ok(entry),
                _ => Err(Error::forbidden("This event is not for clients")),
            }
        })
        .transform(move |record: &updraft::topics::Message| {
            let payload = record.value()?;
            let is_secret = name_of(&payload).as_deref() == Some("secret");
            Ok((!is_secret).then_some(payload))
        })
}

fn trigger(client: &mut Client, event: &Json) -> Json {
    let record = json!({ "topic": "orders", "payload": event });
    let message = json!({ "msg": "method", "id": "1", "method": "publish", "params": [record] });
    client.send_text(&message.to_string());
    loop {
        let text = client.next_text(2 * PATIENCE).expect("an answer");
        let json: Json = serde_json::from_str(&text).unwrap();
        if json["msg"] == "result" {
            return json;
        }
    }
}

#[test]
fn topic_099_109_hooks_decide_which_events_clients_trigger_and_hear() {
    for world in World::each() {
        let server = Running::start(Server::builder().topic(&world.topic, guarded()));
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heard);
        let emitter = Emitter::on_topic(&world.topic).on(Filter::all(), move |event| {
            let args = serde_json::to_string(event.args()).unwrap();
            noted
                .lock()
                .unwrap()
                .push(format!("{} {args}", event.name()));
        });
        let emitter = world.wait(emitter.open()).unwrap();
        let mut other = server.client();
        let forged = json!({ "event": "order.paid", "args": [7] });
        assert_eq!(trigger(&mut other, &forged)["error"]["error"], 403);
        let malformed = json!({ "args": [7] });
        assert_eq!(trigger(&mut other, &malformed)["error"]["error"], 403);
        let good = json!({ "event": "client.hello", "args": [{ "$date": 7 }, null] });
        assert!(trigger(&mut other, &good)["error"].is_null());
        emitter.trigger("secret", 1).unwrap();
        emitter.trigger("order.paid", (8, "eu")).unwrap();
        let all = || heard.lock().unwrap().len() == 3;
        assert!(eventually_within(PATIENCE, all), "{heard:?}");
        let expected = [
            r#"client.hello [{"$date":7},null]"#,
            "secret [1]",
            r#"order.paid [8,"eu"]"#,
        ];
        assert_eq!(*heard.lock().unwrap(), expected);

        let mut client = server.client();
        let params = json!(["vent.t", { "topic": "orders", "from": "earliest" }]);
        let subscribe = json!({ "msg": "sub", "id": "s", "name": "topic", "params": params });
        client.send_text(&subscribe.to_string());
        let mut got = until_ready(&mut client);
        emitter.trigger("order.sent", ()).unwrap();
        got.push(next(&mut client));
        let events = got.into_iter().filter_map(|got| match got {
            Got::Event(event, Some(_)) => Some(event["payload"].clone()),
            _ => None,
        });
        let events = events.map(|event| (event["event"].clone(), event["args"].clone()));
        let expected = [
            (json!("client.hello"), json!([{ "$date": 7 }, null])),
            (json!("order.paid"), json!([8, "eu"])),
            (json!("order.sent"), json!([])),
        ];
        assert_eq!(events.collect::<Vec<_>>(), expected);
        world.wait(emitter.close()).unwrap();
    }
}
