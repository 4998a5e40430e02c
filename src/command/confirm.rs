//! A question to whoever is at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use super::end::Ended;

/// Asks whether something is to be done that cannot be undone. `done` says what would not have been
/// done otherwise, as in "nothing was deleted".
///
/// # Errors
///
/// Whoever is asked does not say yes, or there is nobody.
pub(super) fn confirm(question: &str, done: &str) -> Result<(), Ended> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let why = "nobody can be asked: standard input is no terminal; --yes answers";
        return Err(Ended::failed(format!("nothing was {done}; {why}")));
    }
    drop(write!(io::stderr(), "{question} [y/N] "));
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Ended::failed(format!("standard input cannot be read: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" | "Yes" => Ok(()),
        _ => Err(Ended::failed(format!("nothing was {done}"))),
    }
}
