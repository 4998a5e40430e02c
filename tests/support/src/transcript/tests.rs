//! The parser, turn by turn and mistake by mistake. The transcripts of the project are read as
//! well, so that a slip in one is found without a server.

use std::time::Duration;

use super::{Case, Step, parse, read_all};

fn only(text: &str) -> Case {
    let mut cases = parse(text).unwrap();
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

#[test]
fn every_kind_of_line_is_read() {
    let case = only(
        "# a file\n\n=== ddp_007_close\n  -> {}\n  # between\n  <- a  \n  .. 15000\n  -- close 1000 Normal closure\n  ~~ reconnect\n",
    );
    assert_eq!(case.name, "ddp_007_close");
    assert_eq!(
        case.steps,
        [
            Step::Send("{}".into()),
            Step::Expect("a  ".into()),
            Step::Wait(Duration::from_secs(15)),
            Step::Close {
                code: 1000,
                reason: "Normal closure".into()
            },
            Step::Reconnect,
        ]
    );
    assert!(case.needs_virtual_time());
}

#[test]
fn frames_are_exact() {
    let case = only("=== a\r\n  ->\r\n->   {}\n  -> \u{feff}{}\n  -- close 1013\n  <- \u{2028}");
    let shown: Vec<String> = case.steps.iter().map(Step::to_string).collect();
    let expected = [
        "-> ",
        "->   {}",
        "-> \u{feff}{}",
        "-- close 1013 ",
        "<- \u{2028}",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_turn_starts_after_an_answer_and_with_a_pause() {
    let case = only(
        "=== a\n -> 1\n -> 2\n <- a\n <- b\n -> 3\n -> 4\n .. 100\n .. 1\n <- c\n .. 5\n -> 5\n <- d",
    );
    let turns: Vec<String> = case
        .turns()
        .map(|turn| {
            let steps: Vec<String> = turn.iter().map(Step::to_string).collect();
            steps.join(" ")
        })
        .collect();
    let expected = [
        "-> 1 -> 2 <- a <- b",
        "-> 3 -> 4",
        ".. 100",
        ".. 1 <- c",
        ".. 5 -> 5 <- d",
    ];
    assert_eq!(turns, expected);
    assert!(!case.needs_virtual_time());
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, expected) in [
        ("-> x", "line 1: a step before the first case"),
        ("=== a\n=== b\n\n=== a\n", "line 4: a second case named a"),
        ("===\n", "line 1: a case needs a name of one word"),
        ("=== a b\n", "line 1: a case needs a name of one word"),
        ("=== a\n>> x", "line 2: no step begins with \">>\""),
        ("=== a\n€", "line 2: no step begins with \"€\""),
        (
            "=== a\n.. soon",
            "line 2: not a number of milliseconds: \"soon\"",
        ),
        (
            "=== a\n-- open",
            "line 2: not `close CODE REASON`: \"open\"",
        ),
        (
            "=== a\n-- close x",
            "line 2: not `close CODE REASON`: \"close x\"",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_transcripts_of_the_project_can_be_read() {
    let files = read_all().unwrap();
    assert!(files["meteor"].len() >= 40);
}
