//! Standard output, which programs read, and standard error, which people read.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Bytes that are written together.
const BUFFER: usize = 64 * 1024;

/// Standard output. What was put into it is written when it is full, or flushed.
#[derive(Debug)]
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(super) fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER, io::stdout().lock()))
    }

    /// # Errors
    ///
    /// Of [`io::ErrorKind::BrokenPipe`] if nobody reads it any more.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())?;
        self.0.write_all(b"\n")
    }

    /// Text without the end of a line.
    ///
    /// # Errors
    ///
    /// As [`line`](Self::line).
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// # Errors
    ///
    /// As [`line`](Self::line).
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line on standard error. If nobody reads that, there is nobody to tell.
pub(super) fn say(text: &dyn Display) {
    drop(writeln!(io::stderr(), "{text}"));
}
