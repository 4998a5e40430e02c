//! A buffer for text that is both EJSON and plain JSON, and how a [`Value`] is written to it.

use std::mem;

use super::form::Form;
use super::number::write_number;
use super::string::write_string;
use super::write::write_json;
use super::{SerdeError, Value};

/// Capacity that the reused buffer keeps; a longer text is returned with its buffer.
pub(super) const KEPT: usize = 64 * 1024;

/// The text that is being printed.
#[derive(Debug, Default)]
pub(super) struct Printer {
    pub(super) out: String,
    /// The hashes of the keys of all open objects, in order. Filled as keys are written, drained as
    /// objects end; bounded by the printed value.
    pub(super) keys: Vec<u64>,
    /// Something was found that is left to the tree. The text is unusable.
    pub(super) gave_up: bool,
}

/// The kind of the printed value, as far as the surrounding text depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrintedKind {
    /// Written as `null`; a member with it is omitted.
    Undefined,
    Falsy,
    Array,
    Other,
}

impl PrintedKind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Undefined => Self::Undefined,
            Value::Array(_) => Self::Array,
            value => Self::falsy(value.is_falsy()),
        }
    }

    fn falsy(falsy: bool) -> Self {
        if falsy { Self::Falsy } else { Self::Other }
    }
}

impl Printer {
    pub(super) const fn new() -> Self {
        Self {
            out: String::new(),
            keys: Vec::new(),
            gave_up: false,
        }
    }

    pub(super) fn text(&mut self) -> Box<str> {
        if self.out.len() > KEPT {
            mem::take(&mut self.out).into_boxed_str()
        } else {
            Box::from(self.out.as_str())
        }
    }

    pub(super) fn clear(&mut self) {
        if self.out.capacity() > KEPT || self.keys.capacity() > KEPT / size_of::<u64>() {
            *self = Self::new();
        }
        self.out.clear();
        self.keys.clear();
        self.gave_up = false;
    }

    /// Leaves the value to the tree.
    pub(super) fn give_up<T>(&mut self) -> Result<T, SerdeError> {
        self.gave_up = true;
        Err(SerdeError::new(""))
    }

    /// Writes a value; `None` if it is left to the tree.
    pub(super) fn value(&mut self, value: &Value) -> Option<PrintedKind> {
        is_plain(value).then(|| {
            write_json(value, &mut self.out);
            PrintedKind::of(value)
        })
    }

    pub(super) fn null(&mut self) -> PrintedKind {
        self.out.push_str("null");
        PrintedKind::Falsy
    }

    pub(super) fn bool(&mut self, value: bool) -> PrintedKind {
        self.out.push_str(if value { "true" } else { "false" });
        PrintedKind::falsy(!value)
    }

    pub(super) fn number(&mut self, number: f64) -> Option<PrintedKind> {
        number.is_finite().then(|| {
            write_number(number, &mut self.out);
            PrintedKind::falsy(number == 0.0)
        })
    }

    pub(super) fn string(&mut self, text: &str) -> PrintedKind {
        write_string(text, &mut self.out);
        PrintedKind::falsy(text.is_empty())
    }
}

/// Whether a value contains nothing specific to EJSON, so that its text is the same in EJSON and in
/// plain JSON.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Undefined | Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.is_finite(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(object) => Form::of(object).is_none() && object.values().all(is_plain),
        _ => false,
    }
}
