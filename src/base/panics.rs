//! Logs panics safely: the text of a panic often contains what a client has sent.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{PanicHookInfo, set_hook};
use std::thread;

use crate::base::redact::Redacted;

/// Logs panics as errors, instead of Rust's own output. Each is one line: escaped, shortened and
/// without secrets, like all that this library logs. If logs have no subscriber, the line goes to
/// standard error.
///
/// A handler that panics harms no other, but Rust prints the panic's text as it is. With
/// `panic!("{text}")` a client can write lines of its own into the log, and a quoted password is
/// printed. A program calls this once when it starts, as the binary does. With `RUST_BACKTRACE=1`
/// the backtrace follows, which contains no text of a client.
///
/// It replaces an earlier [panic hook](std::panic::set_hook).
pub fn log_panics() {
    set_hook(Box::new(log));
}

/// The text of a panic, if it is a text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not a text")
}

fn log(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or_default();
    let text = Redacted(text_of(info.payload()));
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let is_wanted = backtrace.status() == BacktraceStatus::Captured;
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(thread, location, %text, "Something panicked.");
        if is_wanted {
            tracing::error!("{backtrace}");
        }
        return;
    }
    // An output error must not cause a panic, least of all here.
    let mut out = std::io::stderr().lock();
    writeln!(out, "thread '{thread}' panicked at {location}: {text}").ok();
    if is_wanted {
        writeln!(out, "{backtrace}").ok();
    }
}
