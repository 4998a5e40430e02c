//! A text in the making, and how a [`Value`] gets into it.

use std::mem;

use bytes::Bytes;

use super::super::decode::Form;
use super::super::number::write_number;
use super::super::write::{write_string, write_text};
use super::super::{Object, SerdeError, Value};

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

    pub(super) fn text(&mut self) -> Bytes {
        if self.out.len() > KEPT {
            Bytes::from(mem::take(&mut self.out))
        } else {
            Bytes::copy_from_slice(self.out.as_bytes())
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
        let out = &mut self.out;
        Some(match value {
            Value::Undefined => {
                out.push_str("null");
                Kind::Undefined
            }
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Number(number) => return self.number(*number),
            Value::String(text) => {
                write_text(text, out);
                Kind::falsy(text.is_empty())
            }
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(item)?;
                }
                self.out.push(']');
                Kind::Array
            }
            Value::Object(object) if Form::of(object).is_none() => self.object(object)?,
            _ => return None,
        })
    }

    fn object(&mut self, object: &Object) -> Option<Kind> {
        let mut separator = '{';
        for (key, value) in object.iter().filter(|(_, value)| !value.is_undefined()) {
            self.out.push(separator);
            write_text(key, &mut self.out);
            self.out.push(':');
            self.value(value)?;
            separator = ',';
        }
        self.out.push_str(if separator == '{' { "{}" } else { "}" });
        Some(Kind::Other)
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
