//! On a terminal a person is asked, and sees how far a command has come.

use super::*;

/// Runs it on a terminal on which somebody types this. What it prints is all in the output.
fn on_terminal(store: &str, arguments: &[&str], input: File) -> Ended {
    let program = env!("CARGO_BIN_EXE_updraft");
    let quoted = arguments.iter().map(|argument| format!(" '{argument}'"));
    let line = format!("'{program}' topic{}", quoted.collect::<String>());
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("UPDRAFT_STORE", store)
        .stdin(input)
        .output();
    output.expect("`script` of util-linux runs").into()
}

#[test]
fn a_person_is_asked_before_a_topic_is_deleted() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", &numbers(1, 3));
    for answer in ["n\n", "\n", "no\n", "orders\n"] {
        let kept = on_terminal(&store, &["delete", "orders"], folder.file(answer));
        assert_eq!(kept.code, Some(1), "{kept:?}");
        let question = "Delete \"orders\" with its records 1 to 3? [y/N]";
        assert!(kept.out.contains(question), "{kept:?}");
        assert!(kept.out.contains("nothing was deleted"), "{kept:?}");
        assert_eq!(held(&store, "orders"), numbered(1, 3));
    }
    let deleted = on_terminal(&store, &["delete", "orders"], folder.file("y\n"));
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    assert_eq!(run(&store, &["list"]).out, "");
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let folder = Folder::new();
    let store = folder.store();
    let input = folder.path("lines");
    fs::write(&input, numbers(1, 5000)).expect("a file");
    let publish = format!("publish orders --create < '{}'", input.display());
    let program = env!("CARGO_BIN_EXE_updraft");
    let shown = |redirected: &str| {
        let line = format!("'{program}' topic {publish} {redirected}");
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("UPDRAFT_STORE", &store)
            .stdin(Stdio::null())
            .output();
        let ended = Ended::from(output.expect("`script` of util-linux runs"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    let text = shown("");
    assert!(
        text.contains(" lines, ") && text.contains(" a second"),
        "{text:?}"
    );
    assert!(
        text.ends_with("\"orders\": 5000 stored, offsets 1 to 5000\r\n"),
        "{text:?}"
    );
    // A terminal that has the positions has no room for it.
    for redirected in ["--positions", "2>&1 | cat"] {
        let text = shown(redirected);
        assert!(!text.contains(" a second"), "{redirected}");
        assert!(text.contains("5000 stored"), "{redirected}");
    }
}
