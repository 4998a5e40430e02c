//! The transcripts with publications on one side and methods on the other: what belongs to one
//! subscription, call or collection comes as if there were one server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use updraft::Builder;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::transcript::{self, Case, Received, Step};

use crate::common::received;
use crate::live::Live;
use crate::publications;
use crate::world::{fixture, in_front_of};

/// The collections of the fixture's publications.
const COLLECTIONS: [&str; 15] = [
    "things",
    "p",
    "ej",
    "oids",
    "ue",
    "c",
    "ef",
    "cm",
    "ov",
    "live",
    "flood",
    "st_SERVER_MERGE",
    "st_NO_MERGE",
    "st_NO_MERGE_NO_HISTORY",
    "st_NO_MERGE_MULTI",
];

#[test]
fn gateway_003_what_belongs_together_comes_in_order_whichever_side_it_is_on() {
    let app = fixture();
    let server = in_front_of(app.port(), |builder: Builder| {
        let builder = publications::install(builder, &Live::default());
        let owned = COLLECTIONS.into_iter();
        owned
            .fold(builder, Builder::owns)
            .configure(|settings| settings.origins.allow_any = true)
    });
    let mut count = 0;
    for (file, cases) in transcript::read_all().unwrap() {
        for case in cases.iter().filter(|case| is_split(case)) {
            replay(server.url(), &file, case);
            count += 1;
        }
    }
    assert!(count > 120, "{count}");
}

/// Whether the case can be divided: it pokes no publication by a method, and has nothing to do with
/// users.
fn is_split(case: &Case) -> bool {
    let tells = |step: &Step| match step {
        Step::Send(text) | Step::Expect(text) => [
            "poke",
            "setUser",
            "SetUser",
            "unblockThenSet",
            "fenced",
            "users",
        ]
        .iter()
        .chain(&[
            "login",
            "tok",
            "\"headers\"",
            "closeMe",
            "session\":\"<SID>\",\"r",
        ])
        .chain(&["vent_emit", "userErr", "stu_"])
        .any(|word| text.contains(word)),
        Step::Close { .. } | Step::Reconnect => true,
        Step::Wait(pause) => *pause > Duration::from_millis(500),
    };
    !case.steps.iter().any(tells)
}

fn replay(url: &str, file: &str, case: &Case) {
    let mut client = Client::connect(url);
    let mut expected = Vec::new();
    let mut got = Vec::new();
    for turn in case.turns() {
        for step in turn {
            match step {
                Step::Send(text) => client.send_text(text),
                Step::Wait(pause) => std::thread::sleep(*pause),
                Step::Expect(text) => expected.push(text.clone()),
                Step::Close { .. } | Step::Reconnect => {}
            }
        }
        while got.len() < expected.len() {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => got.push(text),
                end => panic!("{file}::{}: {end:?} after {got:#?}", case.name),
            }
        }
    }
    // Clients of the oldest version cannot ping.
    let is_oldest =
        |step: &Step| matches!(step, Step::Send(text) if text.contains(r#""version":"pre1""#));
    if !case.steps.iter().any(is_oldest) && got.iter().any(|text| text.contains("\"connected\"")) {
        got.extend(received(&mut client));
    }
    let session = got.iter().find_map(|text| {
        let rest = text.strip_prefix(r#"{"msg":"connected","session":""#)?;
        Some(rest.trim_end_matches("\"}").to_owned())
    });
    if let Some(session) = session {
        got.iter_mut()
            .for_each(|text| *text = text.replace(&session, "<SID>"));
    }
    let (expected, got) = (by_subject(&expected), by_subject(&got));
    assert_eq!(expected, got, "{file}::{}", case.name);
    client.send_text(r#"{"msg":"disconnect"}"#);
}

/// The frames of each subscription, call and collection, in their order.
fn by_subject(texts: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut subjects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts {
        // Not all that JavaScript reads can be read here.
        let json: Json = serde_json::from_str(text).unwrap_or_default();
        let member = |name: &str| json.get(name).map(ToString::to_string).unwrap_or_default();
        let list = |name: &str| json.get(name).and_then(Json::as_array).cloned();
        let subject = match json.get("msg").and_then(Json::as_str) {
            Some("connected") => continue,
            Some("added" | "changed" | "removed") => member("collection"),
            Some("nosub") => format!("sub {}", member("id")),
            Some("result") => format!("call {}", member("id")),
            Some("ready") => {
                // A list may come in two parts.
                for id in list("subs").unwrap_or_default() {
                    let subject = subjects.entry(format!("sub {id}")).or_default();
                    subject.push("ready".into());
                }
                continue;
            }
            Some("updated") => {
                for id in list("methods").unwrap_or_default() {
                    let subject = subjects.entry(format!("call {id}")).or_default();
                    subject.push("updated".into());
                }
                continue;
            }
            msg => format!("{msg:?}"),
        };
        subjects.entry(subject).or_default().push(text.clone());
    }
    subjects
}
