//! Transcripts: conversations between a DDP client and a server, as plain text that any
//! implementation can replay. Parsing is here, comparing with what a server really sends is in
//! [`Expectations`].
//!
//! ```text
//! # a comment
//! === name_of_the_case
//!   -> what the client sends
//!   <- what the server answers
//!   .. 15000
//!   -- close 1000 Normal closure
//!   ~~ reconnect
//! ```
//!
//! `..` lets that many milliseconds pass, `--` is the server's close frame, `~~` a connection that
//! breaks, if it has not ended, and another one. In what is expected, `<SID>` stands for a session
//! id, the same throughout a case, `<NEW>` for another one, and `HOST` for the server's host and
//! port.

mod expectations;
mod placeholders;

pub use expectations::{Difference, Expectations, Received};

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs};

/// Where the transcripts of this project are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../transcripts");

/// Pauses from this length on are for virtual time only.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// One conversation, on a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique in its file; may carry the numbers of the facts it holds, as in
    /// `ddp_041_ping_without_id`.
    pub name: String,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One line of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends this text frame.
    Send(String),
    /// The server sends this text frame.
    Expect(String),
    /// The server closes.
    Close {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: String,
    },
    /// Time passes.
    Wait(Duration),
    /// The connection breaks without a word, unless it has ended already, and the client opens
    /// another.
    Reconnect,
}

/// What is wrong with a transcript.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from one.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Reads all cases of a transcript.
///
/// # Errors
/// The first line that is not of the format.
pub fn parse(text: &str) -> Result<Vec<Case>, ParseError> {
    let mut cases: Vec<Case> = Vec::new();
    let mut names = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let error = |reason: String| ParseError {
            line: index + 1,
            reason,
        };
        if let Some(name) = line.strip_prefix("===") {
            let name = name.trim();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(error("a case needs a name of one word".into()));
            }
            if !names.insert(name) {
                return Err(error(format!("a second case named {name}")));
            }
            cases.push(Case {
                name: name.into(),
                steps: Vec::new(),
            });
        } else if let Some(step) = step(line).map_err(error)? {
            let case = cases.last_mut();
            let case = case.ok_or_else(|| error("a step before the first case".into()))?;
            case.steps.push(step);
        }
    }
    Ok(cases)
}

/// Reads the transcripts of this project, by the names of their files without `.txt`.
///
/// # Errors
/// The file that cannot be read, and why.
pub fn read_all() -> Result<BTreeMap<String, Vec<Case>>, String> {
    let folder = fs::read_dir(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
    let paths = folder.filter_map(|entry| Some(entry.ok()?.path()));
    let transcripts = paths.filter(|path| path.extension().is_some_and(|found| found == "txt"));
    transcripts.map(|path| read(&path)).collect()
}

fn read(path: &Path) -> Result<(String, Vec<Case>), String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cases = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((name.into_owned(), cases))
}

fn step(line: &str) -> Result<Option<Step>, String> {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
    // Exactly one space belongs to the mark: a frame may begin or end with others.
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    let step = match mark {
        "->" => Step::Send(text.into()),
        "<-" => Step::Expect(text.into()),
        ".." => Step::Wait(Duration::from_millis(
            text.trim()
                .parse()
                .map_err(|_| format!("not a number of milliseconds: {text:?}"))?,
        )),
        "~~" if text == "reconnect" => Step::Reconnect,
        "--" => close(text).ok_or_else(|| format!("not `close CODE REASON`: {text:?}"))?,
        _ => return Err(format!("no step begins with {mark:?}")),
    };
    Ok(Some(step))
}

fn close(text: &str) -> Option<Step> {
    let text = text.strip_prefix("close ")?;
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    Some(Step::Close {
        code: code.parse().ok()?,
        reason: reason.into(),
    })
}

impl Case {
    /// Whether it lasts too long to be replayed in real time.
    pub fn needs_virtual_time(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Wait(pause) if *pause >= LONG_PAUSE))
    }

    /// Whether it breaks connections, so that a server may be left with sessions that wait for
    /// their clients.
    pub fn reconnects(&self) -> bool {
        self.steps.contains(&Step::Reconnect)
    }

    /// The conversation turn by turn: what is sent, or a pause, and what is expected before the
    /// next turn begins.
    ///
    /// A turn starts with each pause, each new connection, and with what is sent after something
    /// was expected. Frames sent without an answer in between are one turn: the client does not
    /// wait there.
    pub fn turns(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(|step, next| match next {
            Step::Expect(_) | Step::Close { .. } => true,
            Step::Send(_) => matches!(step, Step::Send(_) | Step::Wait(_) | Step::Reconnect),
            Step::Wait(_) | Step::Reconnect => false,
        })
    }
}

impl Step {
    /// Whether the server is to do it.
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Expect(_) | Self::Close { .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(text) => write!(f, "-> {text}"),
            Self::Expect(text) => write!(f, "<- {text}"),
            Self::Close { code, reason } => write!(f, "-- close {code} {reason}"),
            Self::Wait(pause) => write!(f, ".. {}", pause.as_millis()),
            Self::Reconnect => write!(f, "~~ reconnect"),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests;
