//! From any Rust type straight to text, without a tree, if the value contains nothing specific to
//! EJSON: such a text is EJSON and plain JSON alike. Every unusual case is left to [`to_value`], so
//! that its rules are in one place.

use std::cell::Cell;
use std::mem;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::key::KeySerializer;
use super::printer::{PrintedKind, Printer};
use super::ser::{ValueSerializer, compound};
use super::slot::{NAME, request_print};
use super::string::write_string;
use super::{SerdeError, Text, Value, to_value};

/// The result of [`print()`].
#[derive(Clone, Debug)]
#[doc(hidden)]
#[allow(
    clippy::exhaustive_enums,
    reason = "of the server, which takes each by its own way"
)]
pub enum Print {
    /// The same text in EJSON and in plain JSON.
    Plain {
        /// One JSON value.
        text: Box<str>,
        /// Whether the value is falsy in JavaScript.
        falsy: bool,
        /// Whether the value is an array.
        array: bool,
    },
    /// The value contains a date or something else that only EJSON can express, so the two texts
    /// differ.
    Value(Value),
}

/// Prints anything that serde can serialize, as [`to_ejson`](super::to_ejson) would print its
/// [`to_value`].
///
/// If the value turns out to be more than plain JSON, it is serialized again, to a [`Value`].
///
/// # Errors
///
/// As [`to_value`].
pub fn print<T: Serialize + ?Sized>(value: &T) -> Result<Print, SerdeError> {
    let mut printer = SCRATCH.take();
    let outcome = value.serialize(&mut printer);
    let print = match outcome {
        Ok(kind) if !printer.gave_up => Some(Print::Plain {
            text: printer.text(),
            falsy: matches!(kind, PrintedKind::Undefined | PrintedKind::Falsy),
            array: matches!(kind, PrintedKind::Array),
        }),
        _ => None,
    };
    printer.clear();
    SCRATCH.set(printer);
    match print {
        Some(print) => Ok(print),
        // `to_value` also returns the error, if there is one.
        None => to_value(value).map(Print::Value),
    }
}

thread_local! {
    /// All texts of a thread are built in the same buffer, so that only their final length is
    /// allocated.
    static SCRATCH: Cell<Printer> = const { Cell::new(Printer::new()) };
}

impl Printer {
    fn members(&mut self, is_variant: bool) -> OpenObject<'_> {
        self.out.push('{');
        OpenObject {
            keys: self.keys.len(),
            is_empty: true,
            is_variant,
            key: Text::default(),
            printer: self,
        }
    }

    fn items(&mut self, is_variant: bool) -> OpenArray<'_> {
        self.out.push('[');
        OpenArray {
            is_empty: true,
            is_variant,
            printer: self,
        }
    }

    /// Writes the object that represents an enum's variant, up to its only value.
    fn variant(&mut self, name: &str) -> Result<(), SerdeError> {
        if is_unusual(name) {
            return self.give_up();
        }
        self.out.push('{');
        write_string(name, &mut self.out);
        self.out.push(':');
        Ok(())
    }
}

/// Whether such a key may turn its object into an EJSON form, or is sorted before others.
fn is_unusual(key: &str) -> bool {
    key.starts_with(|first: char| first == '$' || first.is_ascii_digit())
}

macro_rules! numbers {
    ($($method:ident: $kind:ty),* $(,)?) => {$(
        fn $method(self, number: $kind) -> Result<PrintedKind, SerdeError> {
            match self.number(number as f64) {
                Some(kind) => Ok(kind),
                None => self.give_up(),
            }
        }
    )*};
}

impl<'a> Serializer for &'a mut Printer {
    type Ok = PrintedKind;
    type Error = SerdeError;
    type SerializeSeq = OpenArray<'a>;
    type SerializeTuple = OpenArray<'a>;
    type SerializeTupleStruct = OpenArray<'a>;
    type SerializeTupleVariant = OpenArray<'a>;
    type SerializeMap = OpenObject<'a>;
    type SerializeStruct = OpenObject<'a>;
    type SerializeStructVariant = OpenObject<'a>;

    numbers! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_bool(self, value: bool) -> Result<PrintedKind, SerdeError> {
        Ok(self.bool(value))
    }

    fn serialize_char(self, character: char) -> Result<PrintedKind, SerdeError> {
        Ok(self.string(character.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, text: &str) -> Result<PrintedKind, SerdeError> {
        Ok(self.string(text))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<PrintedKind, SerdeError> {
        self.give_up()
    }

    fn serialize_none(self) -> Result<PrintedKind, SerdeError> {
        Ok(self.null())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<PrintedKind, SerdeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<PrintedKind, SerdeError> {
        Ok(self.null())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<PrintedKind, SerdeError> {
        Ok(self.null())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<PrintedKind, SerdeError> {
        Ok(self.string(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<PrintedKind, SerdeError> {
        if name != NAME {
            return value.serialize(self);
        }
        match request_print(self, value, ValueSerializer) {
            Some(kind) => Ok(kind),
            None => self.give_up(),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<PrintedKind, SerdeError> {
        let mut members = self.members(false);
        members.push(variant, value)?;
        members.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<OpenArray<'a>, SerdeError> {
        Ok(self.items(false))
    }

    fn serialize_tuple(self, _: usize) -> Result<OpenArray<'a>, SerdeError> {
        Ok(self.items(false))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<OpenArray<'a>, SerdeError> {
        Ok(self.items(false))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<OpenArray<'a>, SerdeError> {
        self.variant(variant)?;
        Ok(self.items(true))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<OpenObject<'a>, SerdeError> {
        Ok(self.members(false))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<OpenObject<'a>, SerdeError> {
        Ok(self.members(false))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<OpenObject<'a>, SerdeError> {
        self.variant(variant)?;
        Ok(self.members(true))
    }
}

/// An array that has been opened.
#[derive(Debug)]
pub(super) struct OpenArray<'a> {
    printer: &'a mut Printer,
    is_empty: bool,
    /// Whether it is the value of an enum's variant, whose object ends with it.
    is_variant: bool,
}

/// An object that has been opened.
#[derive(Debug)]
pub(super) struct OpenObject<'a> {
    printer: &'a mut Printer,
    /// Where its keys begin.
    keys: usize,
    is_empty: bool,
    /// Whether it is the value of an enum's variant, whose object ends with it.
    is_variant: bool,
    /// The key of the member whose value comes next.
    key: Text,
}

impl OpenArray<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerdeError> {
        if !mem::take(&mut self.is_empty) {
            self.printer.out.push(',');
        }
        // Even if the caller ignores the error: half an item has been written.
        let written = value.serialize(&mut *self.printer);
        self.printer.gave_up |= written.is_err();
        written.map(|_| ())
    }

    fn finish(self) -> Result<PrintedKind, SerdeError> {
        self.printer.out.push(']');
        Ok(if self.is_variant {
            self.printer.out.push('}');
            PrintedKind::Other
        } else {
            PrintedKind::Array
        })
    }
}

impl OpenObject<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), SerdeError> {
        if is_unusual(key) {
            return self.printer.give_up();
        }
        let begin = self.printer.out.len();
        if !self.is_empty {
            self.printer.out.push(',');
        }
        self.printer.keys.push(hash(key));
        write_string(key, &mut self.printer.out);
        self.printer.out.push(':');
        let written = value.serialize(&mut *self.printer);
        self.printer.gave_up |= written.is_err();
        if written? == PrintedKind::Undefined {
            self.printer.out.truncate(begin);
        } else {
            self.is_empty = false;
        }
        Ok(())
    }

    fn finish(self) -> Result<PrintedKind, SerdeError> {
        // If a key is repeated, its last value counts, at the place of the first.
        let keys = self.printer.keys.get_mut(self.keys..).unwrap_or_default();
        keys.sort_unstable();
        if keys
            .windows(2)
            .any(|pair| matches!(pair, [one, next] if one == next))
        {
            return self.printer.give_up();
        }
        self.printer.keys.truncate(self.keys);
        self.printer
            .out
            .push_str(if self.is_variant { "}}" } else { "}" });
        Ok(PrintedKind::Other)
    }
}

/// FNV-1a. Keys with equal hashes only cost a serialization through the tree.
fn hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

compound! {
    PrintedKind;
    OpenArray<'_>: SerializeSeq::serialize_element();
    OpenArray<'_>: SerializeTuple::serialize_element();
    OpenArray<'_>: SerializeTupleStruct::serialize_field();
    OpenArray<'_>: SerializeTupleVariant::serialize_field();
    OpenObject<'_>: SerializeStruct::serialize_field(key: &'static str);
    OpenObject<'_>: SerializeStructVariant::serialize_field(key: &'static str);
}

impl SerializeMap for OpenObject<'_> {
    type Ok = PrintedKind;
    type Error = SerdeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerdeError> {
        self.key = key.serialize(KeySerializer)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerdeError> {
        let key = mem::take(&mut self.key);
        match key.to_str() {
            Some(key) => self.push(key, value),
            None => self.printer.give_up(),
        }
    }

    fn end(self) -> Result<PrintedKind, SerdeError> {
        self.finish()
    }
}

#[cfg(test)]
mod tests;
