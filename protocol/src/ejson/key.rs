//! The keys of maps. In Rust they may be numbers or booleans, in JavaScript they are text.

use serde::de::{Deserializer, Visitor};
use serde::ser::{Impossible, Serialize, Serializer};
use serde::{forward_to_deserialize_any, ser::Error as _};

use super::number::number_text;
use super::slot::{NAME, offer, request_value};
use super::{SerdeError, Text, Value};

/// Serializes a key to its text.
pub(super) struct KeySerializer;

type Never = Impossible<Text, SerdeError>;

fn refused<T>() -> Result<T, SerdeError> {
    Err(SerdeError::custom(
        "a key must be text, a number or a boolean",
    ))
}

macro_rules! display {
    ($($method:ident: $kind:ty),* $(,)?) => {$(
        fn $method(self, key: $kind) -> Result<Text, SerdeError> {
            Ok(Text::from(key.to_string()))
        }
    )*};
}

impl Serializer for KeySerializer {
    type Ok = Text;
    type Error = SerdeError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    display! {
        serialize_bool: bool,
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
        serialize_char: char,
        serialize_str: &str,
    }

    fn serialize_f32(self, key: f32) -> Result<Text, SerdeError> {
        self.serialize_f64(key.into())
    }

    fn serialize_f64(self, key: f64) -> Result<Text, SerdeError> {
        Ok(Text::from(number_text(key)))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Text, SerdeError> {
        refused()
    }

    fn serialize_none(self) -> Result<Text, SerdeError> {
        refused()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<Text, SerdeError> {
        key.serialize(self)
    }

    fn serialize_unit(self) -> Result<Text, SerdeError> {
        refused()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Text, SerdeError> {
        refused()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Text, SerdeError> {
        Ok(Text::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        key: &T,
    ) -> Result<Text, SerdeError> {
        if name != NAME {
            return key.serialize(self);
        }
        match request_value(key, Self) {
            Ok(Value::String(text)) => Ok(text),
            Ok(Value::Number(number)) => self.serialize_f64(number),
            Ok(Value::Bool(value)) => self.serialize_bool(value),
            Ok(Value::ObjectId(id)) => Ok(Text::from(id.to_hex())),
            Ok(_) => refused(),
            Err(written) => written,
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Text, SerdeError> {
        refused()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, SerdeError> {
        refused()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, SerdeError> {
        refused()
    }
}

/// Deserializes a key, also as a number or boolean if the type asks for one.
pub(super) struct KeyDeserializer(pub(super) Text);

macro_rules! parse {
    ($($method:ident => $visit:ident: $kind:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
            match self.0.to_str().and_then(|key| key.parse::<$kind>().ok()) {
                Some(key) => visitor.$visit(key),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDeserializer {
    type Error = SerdeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_string(self.0.into_string_lossy())
    }

    parse! {
        deserialize_bool => visit_bool: bool,
        deserialize_i8 => visit_i8: i8,
        deserialize_i16 => visit_i16: i16,
        deserialize_i32 => visit_i32: i32,
        deserialize_i64 => visit_i64: i64,
        deserialize_i128 => visit_i128: i128,
        deserialize_u8 => visit_u8: u8,
        deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32,
        deserialize_u64 => visit_u64: u64,
        deserialize_u128 => visit_u128: u128,
        deserialize_f32 => visit_f32: f32,
        deserialize_f64 => visit_f64: f64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        if name == NAME {
            offer(Value::String(self.0), visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        Value::String(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
