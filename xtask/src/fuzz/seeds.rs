//! The inputs with which fuzzing starts: the transcripts' messages, in the form that each target
//! reads.

use std::path::Path;
use std::{fs, io};

use updraft_test_support::transcript::{self, Case, Step};

/// Writes the seeds of all targets, each into its own folder.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let files = transcript::read_all().map_err(io::Error::other)?;
    for name in super::TARGETS {
        fs::create_dir_all(folder.join(name))?;
    }
    for (file, case) in files
        .iter()
        .flat_map(|(file, cases)| cases.iter().map(move |case| (file, case)))
    {
        let name = format!("{file}-{}", case.name);
        fs::write(folder.join("session").join(&name), session(case))?;
        fs::write(folder.join("websocket").join(&name), websocket(case))?;
        for (index, step) in case.steps.iter().enumerate() {
            let name = format!("{name}-{index}");
            if let Step::Send(text) = step {
                fs::write(folder.join("message").join(&name), text)?;
            }
            if let Step::Send(text) | Step::Expect(text) = step {
                fs::write(folder.join("ejson").join(&name), text)?;
            }
        }
    }
    Ok(())
}

/// For `fuzz/targets/session/script.rs`: the client's messages, and handler actions that fit the
/// answers.
fn session(case: &Case) -> Vec<u8> {
    let mut script = Vec::new();
    for step in &case.steps {
        match step {
            Step::Send(text) => {
                script.push(b'>');
                script.extend_from_slice(text.as_bytes());
                script.push(b'\n');
            }
            Step::Expect(text) => script.extend_from_slice(handler_action(text)),
            Step::Wait(_) => script.push(b'!'),
            // The fuzzed session has one connection.
            Step::Reconnect => break,
            Step::Close { .. } => {}
        }
    }
    script
}

fn handler_action(answer: &str) -> &'static [u8] {
    let msg = answer.strip_prefix(r#"{"msg":""#);
    match msg.and_then(|rest| rest.split('"').next()) {
        Some("added") => b"+\0\0\x02\0\x01\0\x01\x01\x01",
        Some("changed") => b"~\0\0\x01\0\x01\x04",
        Some("removed") => b"-\0\0",
        Some("ready" | "result") => b"f\0\0\0",
        Some("nosub") => b"f\0\x01\0",
        _ => b"",
    }
}

/// For `fuzz/targets/websocket.rs`: a limit, the sizes of pieces, then frames. Their mask is zero,
/// so that a mutation of the text changes the message; each second message has two fragments.
fn websocket(case: &Case) -> Vec<u8> {
    let mut bytes = vec![0xff, 0x37];
    let sent = case.steps.iter().filter_map(|step| match step {
        Step::Send(text) => Some(text.as_bytes()),
        _ => None,
    });
    for (index, text) in sent.enumerate() {
        if index % 2 == 0 {
            frame(0x81, text, &mut bytes);
        } else {
            let (first, second) = text.split_at(text.len() / 2);
            frame(0x01, first, &mut bytes);
            frame(0x89, b"ping", &mut bytes);
            frame(0x80, second, &mut bytes);
        }
    }
    frame(0x88, &1000_u16.to_be_bytes(), &mut bytes);
    bytes
}

fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match u8::try_from(payload.len()) {
        Ok(short @ 0..=125) => out.push(0x80 | short),
        _ => {
            out.push(0x80 | 126);
            // A message of a transcript is one line, far below 64 KiB.
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}
