//! `info --watch`: the same again and again, on a terminal in the same place.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::time::sleep;
use updraft::topics::{Group, GroupStats, TopicError};

use crate::command::end::{Ended, Exit, explain};
use crate::command::interrupt::Interrupt;
use crate::command::output::{Output, say};

/// Prints the lines of a group's statistics until somebody asks to end. `is_json` says that they
/// are for a program.
pub(super) async fn watch(
    group: &Group,
    every: Duration,
    is_json: bool,
    print: impl Fn(&GroupStats) -> Vec<String>,
) -> Result<Exit, Ended> {
    let interrupt = Interrupt::watch()?;
    let mut screen = Screen {
        output: Output::new(),
        is_terminal: io::stdout().is_terminal() && !is_json,
        has_blocks: !is_json,
        lines: 0,
    };
    let mut is_away = false;
    loop {
        let stats = tokio::select! {
            biased;
            () = interrupt.asked() => break,
            stats = group.stats() => stats,
        };
        match stats {
            Ok(stats) => {
                is_away = false;
                screen.show(&print(&stats))?;
            }
            Err(error @ TopicError::Unavailable(_)) => {
                if !std::mem::replace(&mut is_away, true) {
                    say(&format!("{}; waiting for it", explain(&error)));
                    screen.lines = 0;
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            biased;
            () = interrupt.asked() => break,
            () = sleep(every) => {}
        }
    }
    Ok(Exit::Done)
}

/// Where the lines go.
struct Screen {
    output: Output,
    /// Whether new lines take the place of the last ones.
    is_terminal: bool,
    /// Whether an empty line stands between those of one time and of the next.
    has_blocks: bool,
    /// How many there were the last time; 0 if something else was said since.
    lines: usize,
}

impl Screen {
    fn show(&mut self, lines: &[String]) -> io::Result<()> {
        if self.is_terminal {
            // No line is broken, so that each is one, and what is left of the last ones is erased.
            let up = match self.lines {
                0 => String::new(),
                lines => format!("\x1b[{lines}A"),
            };
            let text = lines.join("\x1b[K\n");
            self.output
                .line(&format!("{up}\r\x1b[?7l{text}\x1b[K\x1b[?7h"))?;
            self.output.text("\x1b[J")?;
        } else {
            if self.has_blocks && self.lines > 0 {
                self.output.line("")?;
            }
            for line in lines {
                self.output.line(line)?;
            }
        }
        self.lines = lines.len();
        self.output.flush()
    }
}
