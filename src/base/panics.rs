//! Panics, as the log has them: what a program panics with is often what a client sent.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{PanicHookInfo, set_hook};
use std::thread;

use crate::base::redact::Redacted;

/// Has panics logged as errors, in place of what Rust prints of them: each a line of its own, escaped, cut, and without
/// secrets, as all that this library logs. Where nobody listens to logs, the line goes to standard error.
///
/// A handler that panics harms nobody else, but Rust prints what it panics with as it is: with `panic!("{text}")` a client
/// writes lines of its own into the log, and a password that is quoted stands in it. A program calls this once, when it
/// starts; the binary does. With `RUST_BACKTRACE=1` the backtrace follows, which has nothing of a client in it.
///
/// It takes the place of a [panic hook](std::panic::set_hook) that was there before.
pub fn log_panics() {
    set_hook(Box::new(log));
}

/// What was panicked with, where that is a text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("something that is no text")
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
    // What cannot be written is nothing to panic for, least of all here.
    let mut out = std::io::stderr().lock();
    writeln!(out, "thread '{thread}' panicked at {location}: {text}").ok();
    if is_wanted {
        writeln!(out, "{backtrace}").ok();
    }
}
