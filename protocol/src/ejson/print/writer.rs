//! A text in the making, and how a [`Value`] gets into it.

use std::mem;

use super::super::form::Form;
use super::super::number::write_number;
use super::super::string::write_string;
use super::super::write::write_json;
use super::super::{SerdeError, Value};

/// What stays of the scratch; a longer text takes it along.
pub(super) const KEPT: usize = 64 * 1024;

/// A text in the making.
#[derive(Debug, Default)]
pub(in crate::ejson) struct Writer {
    pub(super) out: String,
    /// The hashes of the keys of all objects that are open, in order. Emptied as these end.
    pub(super) keys: Vec<u64>,
    /// Something was met that is left to the tree, and the text is worth nothing.
    pub(super) gave_up: bool,
}

/// What was written, as far as those want to know in whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ejson) enum Kind {
    /// Written as `null`; as a member it vanishes.
    Undefined,
    Falsy,
    Array,
    Other,
}

impl Kind {
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

impl Writer {
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
    pub(in crate::ejson) fn value(&mut self, value: &Value) -> Option<Kind> {
        is_plain(value).then(|| {
            write_json(value, &mut self.out);
            Kind::of(value)
        })
    }

    pub(super) fn null(&mut self) -> Kind {
        self.out.push_str("null");
        Kind::Falsy
    }

    pub(super) fn bool(&mut self, value: bool) -> Kind {
        self.out.push_str(if value { "true" } else { "false" });
        Kind::falsy(!value)
    }

    pub(super) fn number(&mut self, number: f64) -> Option<Kind> {
        number.is_finite().then(|| {
            write_number(number, &mut self.out);
            Kind::falsy(number == 0.0)
        })
    }

    pub(super) fn string(&mut self, text: &str) -> Kind {
        write_string(text, &mut self.out);
        Kind::falsy(text.is_empty())
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
