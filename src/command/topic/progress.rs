//! How far a command has come, on a terminal only.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

use crate::command::output::say;

/// How often it is shown.
const EVERY: Duration = Duration::from_millis(200);

/// A line at the bottom of the terminal.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None` where there is no terminal, or it has other lines.
    began: Option<Instant>,
    /// When it was shown last.
    shown: Option<Instant>,
}

impl Progress {
    /// `prints` says whether lines go to standard output meanwhile.
    pub(super) fn new(prints: bool) -> Self {
        let is_free = !(prints && io::stdout().is_terminal());
        let is_seen = io::stderr().is_terminal() && is_free;
        Self {
            began: is_seen.then(Instant::now),
            shown: None,
        }
    }

    /// So many lines are done.
    pub(super) fn show(&mut self, lines: u64) {
        let Some(began) = self.began else { return };
        if self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let seconds = began.elapsed().as_secs_f64().max(0.001);
        let rate = lines as f64 / seconds;
        drop(write!(
            io::stderr(),
            "\r\x1b[K{lines} lines, {rate:.0} a second"
        ));
    }

    /// Leaves the line empty, for others.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }

    /// Says something else.
    pub(super) fn say(&mut self, what: &dyn Display) {
        self.clear();
        say(what);
    }
}
