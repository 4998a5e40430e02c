//! Every case of every transcript, in virtual time against the session alone.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing should stop")]

mod fixture;

use std::path::Path;
use std::time::Duration;

use fixture::{HOST, World};
use libtest_mimic::{Arguments, Trial};
use updraft_test_support::transcript::{self, Case, Expectations, Received, Step};

/// Between frames that are sent without waiting for an answer.
const PIPELINE: Duration = Duration::from_millis(40);

/// How long an answer may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);

/// After the last turn, for frames that should not have come at all.
const TAIL: Duration = Duration::from_millis(500);

/// Files whose cases are about what only a server has.
const NEED_A_SERVER: [&str; 1] = ["accounts"];

const TICK: Duration = Duration::from_millis(1);

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts");
    let mut trials = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        if NEED_A_SERVER.contains(&file.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for case in transcript::parse(&text).unwrap() {
            let name = format!("virtual::{file}::{}", case.name);
            trials.push(Trial::test(name, move || replay(&case).map_err(Into::into)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn replay(case: &Case) -> Result<(), String> {
    let mut world = World::new();
    let mut expectations = Expectations::new(case).with_host(HOST);
    let mut turns = case.turns().peekable();
    let mut closed = None;
    while let Some(turn) = turns.next() {
        let mut steps = turn.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Send(text) => {
                    world.receive(&expectations.fill(text));
                    if matches!(steps.peek(), Some(Step::Send(_))) {
                        world.pass(PIPELINE);
                    }
                }
                Step::Wait(time) => world.pass(*time),
                Step::Reconnect => {
                    world.reconnect();
                    closed = None;
                }
                Step::Expect(_) | Step::Close { .. } => {}
            }
        }
        let expected = turn
            .iter()
            .filter(|step| matches!(step, Step::Expect(_)))
            .count();
        let mut waited = Duration::ZERO;
        while world.frames.len() < expected && waited < PATIENCE {
            world.pass(TICK);
            waited += TICK;
        }
        if turns.peek().is_none() {
            world.pass(TAIL);
        }
        let mut received: Vec<_> = world.frames.drain(..).map(Received::Text).collect();
        if world.closed != closed {
            closed.clone_from(&world.closed);
            received.extend(closed.as_ref().map(|close| parse_close(close)));
        }
        expectations.compare(turn, &received);
    }
    expectations
        .finish()
        .map_err(|difference| difference.to_string())
}

fn parse_close(close: &str) -> Received {
    let (code, reason) = close.split_once(' ').unwrap();
    Received::Close {
        code: code.parse().unwrap(),
        reason: reason.to_owned(),
    }
}
