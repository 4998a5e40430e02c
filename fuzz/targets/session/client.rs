//! The client's side: every frame is read, and must fit the frames before it.

use std::collections::{BTreeMap, HashMap, HashSet};

use updraft_protocol::ejson::{self, JsonLimits, Object, Text, Value};

use crate::documents::Documents;

/// Frames quote a client's message and wrap it.
const FRAMES: JsonLimits = JsonLimits::new(512, usize::MAX);

/// What a client knows from the frames it got.
#[derive(Default)]
pub(crate) struct Client {
    connected: bool,
    /// Messages that a resuming client would count: all from `connected` on, except pings and
    /// pongs.
    pub(crate) counted: u64,
    /// The live subscriptions, and whether they are ready.
    subscriptions: HashMap<String, bool>,
    /// By the id of a call: how often it was made, answered with `result`, and answered with
    /// `updated`.
    calls: HashMap<String, [u32; 3]>,
    documents: BTreeMap<(String, String), Object>,
}

impl Client {
    /// The client's subscription was accepted.
    pub(crate) fn subscribed(&mut self, id: String) {
        assert_eq!(self.subscriptions.insert(id, false), None);
    }

    /// The client's subscription starts again, and will be ready again.
    pub(crate) fn starts_again(&mut self, id: String) {
        assert!(self.subscriptions.insert(id, false).is_some());
    }

    pub(crate) fn is_ready(&self, id: &str) -> bool {
        self.subscriptions.get(id) == Some(&true)
    }

    /// The client's call was taken from the queue.
    pub(crate) fn called(&mut self, id: String) {
        self.calls.entry(id).or_default()[0] += 1;
    }

    /// Frames arrive; meanwhile the subscriptions `stopped` have ended.
    pub(crate) fn receive(&mut self, frames: &[String], mut stopped: HashSet<String>) {
        for text in frames {
            let frame = ejson::parse(text, &FRAMES).expect("a frame is JSON");
            let keys = frame.as_object().map(Object::keys);
            let first = keys.and_then(|mut keys| keys.next()).cloned();
            assert_eq!(first, Some(Text::from("msg")), "{text}");
            self.frame(&frame, &mut stopped);
        }
        assert!(stopped.is_empty(), "no nosub for {stopped:?}");
    }

    fn frame(&mut self, frame: &Value, stopped: &mut HashSet<String>) {
        let msg = member(frame, "msg");
        if msg == "connected" {
            assert!(!std::mem::replace(&mut self.connected, true));
        }
        self.counted += u64::from(self.connected && msg != "ping" && msg != "pong");
        match msg {
            "connected" => {}
            "failed" => assert!(!self.connected),
            "error" => assert!(frame.get("reason").is_some()),
            "ping" | "pong" => assert!(self.connected),
            "ready" => {
                for id in texts(frame, "subs") {
                    let was_ready = self.subscriptions.insert(id, true);
                    assert_eq!(was_ready, Some(false), "{frame:?}");
                }
            }
            "nosub" => {
                if let Some(id) = frame.get("id").and_then(Value::as_str)
                    && !is_unknown_name(frame)
                    && stopped.remove(id)
                {
                    self.subscriptions.remove(id);
                }
            }
            "result" => self.answer(member(frame, "id"), 1),
            "updated" => texts(frame, "methods").for_each(|id| self.answer(&id, 2)),
            "added" => {
                let document = document(frame);
                let known = self.documents.insert(document, fields(frame));
                assert_eq!(known, None, "{frame:?}");
            }
            "changed" if frame.get("__vent").is_some() => assert!(frame.get("e").is_some()),
            "changed" => self.changed(frame),
            "removed" => {
                let known = self.documents.remove(&document(frame));
                assert!(known.is_some(), "{frame:?}");
            }
            other => panic!("unknown message {other}"),
        }
    }

    fn answer(&mut self, call: &str, kind: usize) {
        let counts = self.calls.entry(call.to_owned()).or_default();
        counts[kind] += 1;
        assert!(counts[kind] <= counts[0], "more answers than calls: {call}");
    }

    fn changed(&mut self, frame: &Value) {
        let document = document(frame);
        let fields = fields(frame);
        // Rocket.Chat's clients get events without a document, unless they ask for one.
        let is_streamer = document.0.starts_with("stream-") && fields.contains_key("eventName");
        match self.documents.get_mut(&document) {
            Some(known) => {
                for (key, value) in fields {
                    known.insert(key, value);
                }
                for key in texts(frame, "cleared") {
                    known.remove(&key);
                }
            }
            None => assert!(is_streamer, "{frame:?}"),
        }
    }

    /// All handlers of its calls have ended: each call has both answers.
    pub(crate) fn expect_answers(&self) {
        for (id, [calls, results, updates]) in &self.calls {
            assert_eq!((calls, calls), (results, updates), "call {id}");
        }
    }

    /// The client sees the published documents, and besides them only documents that represent
    /// events.
    pub(crate) fn expect_documents(&self, published: &Documents) {
        let mut left = self.documents.len();
        for ((collection, id), expected) in published.visible() {
            let seen = self.documents.get(&(collection.into(), id.into()));
            let seen = seen.unwrap_or_else(|| panic!("{collection}/{id} is not there"));
            left -= 1;
            if collection.starts_with("stream-") {
                // Its events appear as fields.
                continue;
            }
            assert_eq!(seen.len(), expected.len(), "{collection}/{id}: {seen:?}");
            for (key, value) in expected {
                let seen = seen.get(key).unwrap_or(&Value::Undefined);
                assert!(ejson::equals(seen, value), "{collection}/{id}.{key}");
            }
        }
        let of_events = self.documents.keys().filter(|(_, id)| id == "id");
        assert!(left <= of_events.count());
    }
}

/// Whether a `nosub` refuses an unknown name. Its id may be that of a live subscription, which goes
/// on.
fn is_unknown_name(nosub: &Value) -> bool {
    let error = nosub.get("error").and_then(|error| error.get("error"));
    error == Some(&Value::from(404))
}

fn member<'a>(frame: &'a Value, key: &str) -> &'a str {
    let value = frame.get(key).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no {key} in {frame:?}"))
}

fn texts(frame: &Value, key: &str) -> impl Iterator<Item = String> {
    let items = frame.get(key).and_then(Value::as_array).unwrap_or_default();
    items.iter().map(|item| match item.as_str() {
        Some(text) => text.to_owned(),
        None => panic!("{item:?} among texts"),
    })
}

fn document(frame: &Value) -> (String, String) {
    let of = |key| member(frame, key).to_owned();
    (of("collection"), of("id"))
}

fn fields(frame: &Value) -> Object {
    match frame.get("fields").cloned().map(Value::decode) {
        None => Object::new(),
        Some(Ok(Value::Object(fields))) => fields,
        Some(other) => panic!("{other:?} as fields"),
    }
}
