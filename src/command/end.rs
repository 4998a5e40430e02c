//! How a command ends: its exit code, and what it says.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use updraft::topics::TopicError;

use super::output::say;

/// What a command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    Lost,
    Damaged,
    InUse,
    Interrupted,
}

/// Of the help, and of `docs/command-line.md`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
    0  done; also when nobody reads the output any more
    1  it failed: standard error says why
    2  the command line cannot be understood
    3  records of this position are gone (gap), or it is not of this topic any more (reset)
    4  done, but records are damaged and were left out
    5  the store is in use by another process
  130  Ctrl-C or SIGTERM ended it before it was done";

/// Why a command ended before it had done everything.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// `None` if there is nothing to say.
    pub(super) why: Option<String>,
}

impl Ended {
    pub(super) fn new(exit: Exit, why: impl Into<String>) -> Self {
        Self {
            exit,
            why: Some(why.into()),
        }
    }

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::new(Exit::Failed, why)
    }

    /// Whoever read the output has gone, as `head` does when it has seen enough.
    pub(super) fn unread() -> Self {
        Self {
            exit: Exit::Done,
            why: None,
        }
    }
}

impl From<TopicError> for Ended {
    fn from(error: TopicError) -> Self {
        let exit = match &error {
            TopicError::Gap(_) | TopicError::Reset(_) => Exit::Lost,
            TopicError::Damaged { .. } => Exit::Damaged,
            TopicError::StoreInUse { .. } => Exit::InUse,
            _ => Exit::Failed,
        };
        Self::new(exit, explain(&error))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Lost => 3,
            Self::Damaged => 4,
            Self::InUse => 5,
            Self::Interrupted => 130,
        }
    }
}

/// Says why a command has ended, if there is something to say.
pub(super) fn exit_code(outcome: Result<Exit, Ended>) -> ExitCode {
    let exit = match outcome {
        Ok(exit) => exit,
        Err(Ended { exit, why }) => {
            if let Some(why) = why {
                let kind = if exit == Exit::Interrupted {
                    ""
                } else {
                    "error: "
                };
                say(&format!("{kind}{why}"));
            }
            exit
        }
    };
    exit.into()
}

/// The text of an error, with its causes. What it says to a program is left out.
pub(super) fn explain(error: &TopicError) -> String {
    let mut text = match error {
        TopicError::Unavailable(_) => "the store does not answer".to_owned(),
        TopicError::UnknownTopic => "the topic is not there any more".to_owned(),
        TopicError::UnknownGroup { .. } => "the group is not there any more".to_owned(),
        error => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(because) = cause {
        let told = because.to_string();
        // Some errors say what their cause says.
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = because.source();
    }
    text
}

/// What ends a command whose output cannot be written.
impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::unread(),
            _ => Self::failed(format!("standard output cannot be written: {error}")),
        }
    }
}
