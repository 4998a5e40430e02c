//! What the merge box costs in memory: 10,000 sessions that show the same 100 documents of 1 KiB,
//! which they all share. On Linux, `cargo bench -p updraft-protocol --bench merge_box` prints the
//! bytes per session beyond that one copy.

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::Object;
use updraft_protocol::session::{Action, Output, PublicationKind, Session, SessionConfig};
use updraft_protocol::view::Fields;

const SESSIONS: usize = 10_000;
const DOCUMENTS: usize = 100;
const LIMIT: usize = 8 * 1024;

fn main() {
    let mut config = SessionConfig::default();
    let added = config
        .names
        .publication("all", 0, PublicationKind::Ordinary);
    added.expect("there is no other");
    let config = Arc::new(config);
    let documents: Vec<_> = (0..DOCUMENTS).map(document).collect();

    let before = resident();
    let mut out = Output::default();
    let mut sessions: Vec<_> = (0..SESSIONS)
        .map(|_| connected(&config, &mut out))
        .collect();
    let connected = resident();
    let mut last = connected;
    report("a session without subscriptions", connected - before);
    for (id, text) in [
        ("1", "its first"),
        ("2", "its second, to the same documents"),
    ] {
        for session in &mut sessions {
            subscribe(session, id, &documents, &mut out);
        }
        let now = resident();
        let each = report(text, now - last);
        assert!(id != "1" || each <= LIMIT, "{each} bytes are over {LIMIT}");
        last = now;
    }
}

/// An id of 17 characters, like Meteor's, and fields of 1 KiB.
fn document(number: usize) -> (String, Fields) {
    let fields: Object = ["name", "text", "owner", "more"]
        .map(|key| (key, "x".repeat(256)))
        .into_iter()
        .collect();
    (format!("document{number:09}"), fields.into())
}

fn connected(config: &Arc<SessionConfig>, out: &mut Output) -> Session {
    let mut session = Session::new("kpNzWxsDHYcxAHj5M", config.clone(), Duration::ZERO);
    let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
    session.receive(connect, Duration::ZERO, out);
    out.frames.clear();
    out.actions.clear();
    session
}

fn subscribe(session: &mut Session, id: &str, documents: &[(String, Fields)], out: &mut Output) {
    let sub = format!(r#"{{"msg":"sub","id":"{id}","name":"all"}}"#);
    session.receive(&sub, Duration::ZERO, out);
    let run = out.actions.drain(..).find_map(|action| match action {
        Action::Publish { run, .. } => Some(run),
        _ => None,
    });
    let run = run.expect("the publication exists");
    for (id, fields) in documents {
        session.added(run, "documents", id, fields.clone(), out);
    }
    session.published(run, Ok(()), Duration::ZERO, out);
    out.frames.clear();
}

fn report(what: &str, bytes: usize) -> usize {
    let each = bytes / SESSIONS;
    println!("{what}: {each} bytes");
    each
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    let kib: usize = kib
        .and_then(|kib| kib.trim().parse().ok())
        .expect("the kernel says so");
    kib * 1024
}
