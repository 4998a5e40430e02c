//! From the bytes of an input to a list of actions. A letter chooses the action and the bytes after
//! it the details, so that every input means something and a mutation changes one action.

use std::time::Duration;

use updraft_protocol::ejson::{self, Object, Value};

/// Ids of subscriptions and calls; one of them holds half a surrogate pair, and is invalid.
const IDS: [&str; 4] = ["a", "b", "c", "\\ud800"];
const VERSIONS: [&str; 4] = ["1", "pre2", "pre1", "2"];
const PARAMS: [&str; 10] = [
    "[]",
    r#"["vent.a"]"#,
    r#"["vent.b",{"$date":5}]"#,
    r#"["KzM5bdCTMuSwzR9JP"]"#,
    r#"["things"]"#,
    r#"["1/typing",{"useCollection":true,"args":[1]}]"#,
    r#"["1/typing",false]"#,
    r#"["users"]"#,
    r#"[5]"#,
    r#"{"no":"array"}"#,
];
/// A collection to which handlers add documents may be one that a Vent subscription asks for.
const COLLECTIONS: [&str; 4] = ["things", "others", "vent.a", "stream-room"];
const DOCUMENTS: [&str; 3] = ["x", "-y", "id"];
const KEYS: [&str; 4] = ["n", "s", "7", "_id"];
const VALUES: [&str; 8] = [
    "1",
    "1.0",
    "null",
    r#""\udc00""#,
    r#"{"a":[1,{"$date":0}],"b":2}"#,
    r#"{"b":2,"a":[1,{"$date":0}]}"#,
    r#"{"$InfNaN":0}"#,
    r#"{"$escape":{"$date":5}}"#,
];
const BODIES: [&str; 5] = [r#"{"message":"hi"}"#, "[1,2]", "[]", "0", r#""x""#];

/// The next action on a session.
#[derive(Debug)]
pub(crate) enum Action {
    /// The client sends a message.
    Receive(String),
    /// A handler acts; the number chooses which one, the latest first.
    Handle(usize, HandlerAction),
    /// Time passes.
    Pass(Duration),
    /// Time passes until the session's next timeout.
    AwaitTimeout,
    /// The server closes.
    Close,
    /// The connection is lost.
    End,
}

/// What a handler does.
#[derive(Debug)]
pub(crate) enum HandlerAction {
    Add(Document, Object),
    Change(Document, Object),
    Remove(Document),
    Ready,
    HoldReady,
    Stop {
        failed: bool,
    },
    /// It ends; the value is a method's result.
    Finish {
        failed: bool,
        value: Value,
    },
    BeginWrite,
    EndWrite,
    Unblock,
    SetUser,
    Event(&'static str),
}

/// A collection and an id in it.
pub(crate) type Document = (&'static str, &'static str);

/// The remaining bytes of an input.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    fn chance(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn line(&mut self) -> String {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        String::from_utf8_lossy(line).into_owned()
    }

    fn document(&mut self) -> Document {
        let byte = usize::from(self.byte());
        let id = DOCUMENTS[byte / COLLECTIONS.len() % DOCUMENTS.len()];
        (COLLECTIONS[byte % COLLECTIONS.len()], id)
    }

    fn value(&mut self) -> Value {
        let text = self.one_of(&VALUES);
        let plain = ejson::parse(text, &ejson::JsonLimits::default()).expect("a value");
        plain.decode().expect("a value")
    }

    /// Up to three fields, each with a value or undefined.
    fn fields(&mut self) -> Object {
        let count = self.byte() % 4;
        let mut fields = Object::new();
        for _ in 0..count {
            let key = self.one_of(&KEYS);
            let value = if self.chance() {
                self.value()
            } else {
                Value::Undefined
            };
            fields.insert(key, value);
        }
        fields
    }

    fn subscribe(&mut self) -> String {
        let (id, params) = (self.one_of(&IDS), self.one_of(&PARAMS));
        let name = self.one_of(&[
            "two",
            "live",
            "threadMessage",
            "numbered",
            "native",
            "stream-room",
            "missing",
        ]);
        format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":{params}}}"#)
    }

    fn call(&mut self) -> String {
        let (id, params) = (self.one_of(&IDS), self.one_of(&PARAMS));
        let method = self.one_of(&["echo", "missing"]);
        format!(r#"{{"msg":"method","id":"{id}","method":"{method}","params":{params}}}"#)
    }

    fn action(&mut self, letter: u8) -> Option<HandlerAction> {
        Some(match letter {
            b'+' => HandlerAction::Add(self.document(), self.fields()),
            b'~' => HandlerAction::Change(self.document(), self.fields()),
            b'-' => HandlerAction::Remove(self.document()),
            b'y' => HandlerAction::Ready,
            b'h' => HandlerAction::HoldReady,
            b'x' => HandlerAction::Stop {
                failed: self.chance(),
            },
            b'f' => HandlerAction::Finish {
                failed: self.chance(),
                value: self.value(),
            },
            b'b' => HandlerAction::BeginWrite,
            b'e' => HandlerAction::EndWrite,
            b'n' => HandlerAction::Unblock,
            b'l' => HandlerAction::SetUser,
            b'v' => HandlerAction::Event(self.one_of(&BODIES)),
            _ => return None,
        })
    }
}

impl Iterator for Script<'_> {
    type Item = Action;

    /// Skips bytes that begin no action.
    fn next(&mut self) -> Option<Action> {
        loop {
            let (letter, rest) = self.rest.split_first()?;
            self.rest = rest;
            let action = match letter {
                b'>' => Action::Receive(self.line()),
                b'c' => {
                    let version = self.one_of(&VERSIONS);
                    Action::Receive(format!(
                        r#"{{"msg":"connect","version":"{version}","support":["{version}"]}}"#
                    ))
                }
                b's' => Action::Receive(self.subscribe()),
                b'm' => Action::Receive(self.call()),
                b'u' => {
                    let id = self.one_of(&IDS);
                    Action::Receive(format!(r#"{{"msg":"unsub","id":"{id}"}}"#))
                }
                b'p' => Action::Receive(r#"{"msg":"ping","id":"p"}"#.into()),
                b'.' => Action::Pass(Duration::from_millis(250) * u32::from(self.byte())),
                b'!' => Action::AwaitTimeout,
                b'C' => Action::Close,
                b'E' => Action::End,
                letter => {
                    let mut ahead = Script { rest: self.rest };
                    let run = usize::from(ahead.byte());
                    let Some(action) = ahead.action(*letter) else {
                        continue;
                    };
                    self.rest = ahead.rest;
                    Action::Handle(run, action)
                }
            };
            return Some(action);
        }
    }
}
