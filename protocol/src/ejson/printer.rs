//! A text in the making that is EJSON and plain JSON alike, and how a [`Value`] gets into it.

use std::mem;

use super::form::Form;
use super::number::write_number;
use super::string::write_string;
use super::write::write_json;
use super::{SerdeError, Value};

/// What stays of the scratch; a longer text takes it along.
pub(super) const KEPT: usize = 64 * 1024;

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Printer {
    pub(super) out: String,
    /// The hashes of the keys of all objects that are open, in order. Emptied as these end.
    pub(super) keys: Vec<u64>,
    /// Something was met that is left to the tree, and the text is worth nothing.
    pub(super) gave_up: bool,
}

/// What was printed, as far as the text around it depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrintedKind {
    /// Written as `null`; as a member it vanishes.
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

    /// Leaves it to the tree.
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

/// Whether nothing of EJSON's own is in a value, so that it has the same text in EJSON and in plain JSON.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Undefined | Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.is_finite(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(object) => Form::of(object).is_none() && object.values().all(is_plain),
        _ => false,
    }
}
