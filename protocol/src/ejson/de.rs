//! From a [`Value`] to any Rust type.

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _,
    IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::encode::encode;
use super::form::Form;
use super::key::KeyDeserializer;
use super::number::integer;
use super::slot::{NAME, offer};
use super::value::{IntoIter, Object};
use super::{SerdeError, Text, Value};

/// Converts a value to a Rust type.
///
/// Whole numbers up to ±(2⁵³ − 1) fit integers; a larger one may have been any of several integers
/// before it became a double, so it does not fit. `null` and `undefined` fit `Option` and `()`, a
/// member that is `undefined` counts as absent, and lone surrogates become U+FFFD in a `String`.
/// [`Value`], [`Date`](super::Date) and the other types of this module pass unchanged.
///
/// # Errors
///
/// If the value does not fit the type.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, SerdeError> {
    T::deserialize(value)
}

impl<'de> Deserializer<'de> for Value {
    type Error = SerdeError;

    /// Dates and similar values appear in their EJSON form, so that serde's untagged and flattened
    /// types, which read into a buffer first, still get them.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Undefined | Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => visit_number(number, visitor),
            Self::String(text) => visitor.visit_string(text.into_string_lossy()),
            Self::Array(items) => visit_items(items, visitor),
            Self::Object(object) if Form::of(&object).is_none() => {
                visitor.visit_map(ObjectAccess::new(object, |value| value))
            }
            special => Encoded(encode(&special)).deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Number(number) => visitor.visit_f64(number),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Binary(bytes) => visitor.visit_byte_buf(bytes.0),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Undefined | Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        if name == NAME {
            offer(self, visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Binary(bytes) => visit_items(bytes.0, visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Object(object) => visitor.visit_map(ObjectAccess::new(object, |value| value)),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        // Serde would fill the members by their places, which are no part of a struct's interface.
        if matches!(self, Self::Array(_)) {
            return Err(SerdeError::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        match self {
            Self::String(text) => visitor.visit_enum(Variant {
                name: Self::String(text),
                content: Self::Undefined,
            }),
            Self::Object(object) if object.len() == 1 => {
                let (name, content) = object.into_iter().next().unwrap_or_default();
                visitor.visit_enum(Variant {
                    name: Self::String(name),
                    content,
                })
            }
            _ => Err(SerdeError::custom(
                "expected a string or an object with one member",
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string unit unit_struct identifier
    }
}

impl IntoDeserializer<'_, SerdeError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A value that is already in EJSON's form, and must not be escaped again.
struct Encoded(Value);

impl<'de> Deserializer<'de> for Encoded {
    type Error = SerdeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self.0 {
            Value::Object(object) => visitor.visit_map(ObjectAccess::new(object, Encoded)),
            Value::Array(items) => visit_items(items.into_iter().map(Encoded).collect(), visitor),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self.0 {
            Value::Undefined | Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, SerdeError> for Encoded {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: f64, visitor: V) -> Result<V::Value, SerdeError> {
    match integer(number).map(|integer| (integer, u64::try_from(integer))) {
        Some((_, Ok(integer))) => visitor.visit_u64(integer),
        Some((integer, Err(_))) => visitor.visit_i64(integer),
        None => visitor.visit_f64(number),
    }
}

fn visit_items<'de, T, V>(items: Vec<T>, visitor: V) -> Result<V::Value, SerdeError>
where
    T: IntoDeserializer<'de, SerdeError>,
    V: Visitor<'de>,
{
    let length = items.len();
    let mut items = ArrayAccess {
        rest: items.into_iter(),
        read: 0,
    };
    let result = visitor.visit_seq(&mut items)?;
    match items.rest.len() {
        0 => Ok(result),
        _ => Err(SerdeError::invalid_length(length, &"fewer items")),
    }
}

struct ArrayAccess<T> {
    rest: std::vec::IntoIter<T>,
    read: usize,
}

impl<'de, T: IntoDeserializer<'de, SerdeError>> SeqAccess<'de> for ArrayAccess<T> {
    type Error = SerdeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, SerdeError> {
        let Some(item) = self.rest.next() else {
            return Ok(None);
        };
        let number = self.read;
        self.read = number.saturating_add(1);
        let item = seed.deserialize(item.into_deserializer());
        item.map(Some).map_err(|error| error.within(number))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct ObjectAccess<T> {
    rest: IntoIter,
    wrap: fn(Value) -> T,
    // The key of the member that was read last.
    key: Text,
    value: Value,
}

impl<T> ObjectAccess<T> {
    fn new(object: Object, wrap: fn(Value) -> T) -> Self {
        Self {
            rest: object.into_iter(),
            wrap,
            key: Text::default(),
            value: Value::Undefined,
        }
    }
}

impl<'de, T: IntoDeserializer<'de, SerdeError>> MapAccess<'de> for ObjectAccess<T> {
    type Error = SerdeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, SerdeError> {
        match self.rest.find(|(_, value)| !value.is_undefined()) {
            None => Ok(None),
            Some((key, value)) => {
                self.value = value;
                self.key = key.clone();
                seed.deserialize(KeyDeserializer(key)).map(Some)
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, SerdeError> {
        let value = seed.deserialize((self.wrap)(self.value.take()).into_deserializer());
        value.map_err(|error| error.within(self.key.to_string_lossy()))
    }
}

/// An enum's variant; its content is `undefined` if it has only a name.
struct Variant {
    name: Value,
    content: Value,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = SerdeError;
    type Variant = Value;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Value), SerdeError> {
        Ok((seed.deserialize(self.name)?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Value {
    type Error = SerdeError;

    fn unit_variant(self) -> Result<(), SerdeError> {
        <()>::deserialize(self)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, SerdeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Self::Array(items) => visit_items(items, visitor),
            _ => Err(SerdeError::invalid_type(
                Unexpected::Other("something else"),
                &"an array",
            )),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::{Binary, Date, Object};
    use super::*;
    use crate::ejson;

    #[test]
    fn numbers_fit_or_fail() {
        assert_eq!(from_value::<u32>(ejson!(5.0)), Ok(5));
        assert_eq!(from_value::<i8>(ejson!(-128)), Ok(-128));
        assert_eq!(from_value::<u64>(ejson!(-0.0)), Ok(0));
        assert_eq!(from_value::<f64>(ejson!(5)), Ok(5.0));
        assert_eq!(from_value::<f32>(ejson!(0.5)), Ok(0.5));
        assert_eq!(from_value::<i128>(ejson!(-5)), Ok(-5));
        assert!(from_value::<f64>(ejson!(f64::NAN)).unwrap().is_nan());
        for number in [1.5, -1.0, 256.0, f64::NAN, f64::INFINITY] {
            assert!(from_value::<u8>(ejson!(number)).is_err(), "{number}");
        }
        assert!(from_value::<u8>(ejson!("5")).is_err());
    }

    #[test]
    fn found_202_an_integer_is_exact_or_refused() {
        const SAFE: i64 = 9_007_199_254_740_991;
        for number in [SAFE, -SAFE, SAFE - 1] {
            assert_eq!(from_value::<i64>(ejson!(number)), Ok(number));
        }
        assert_eq!(from_value::<u64>(ejson!(SAFE)), Ok(SAFE as u64));
        // Another integer has become the same double.
        for number in [SAFE + 1, SAFE + 2, -SAFE - 1, i64::MAX, i64::MIN] {
            assert!(from_value::<i64>(ejson!(number)).is_err(), "{number}");
            assert!(from_value::<i128>(ejson!(number)).is_err(), "{number}");
            assert_eq!(from_value::<f64>(ejson!(number)), Ok(number as f64));
            assert_eq!(from_value(ejson!(number)), Ok(ejson!(number)));
        }
        assert!(from_value::<u64>(ejson!(1e19)).is_err());
        assert!(from_value::<u64>(ejson!(1e20)).is_err());
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Thread {
        thread_id: String,
        #[serde(default)]
        limit: u32,
        after: Option<Date>,
        #[serde(default)]
        any: Value,
    }

    #[test]
    fn undefined_members_are_absent() {
        let thread = Thread {
            thread_id: "7".into(),
            limit: 0,
            after: None,
            any: Value::Undefined,
        };
        let undefined = ejson!({ "threadId": "7", "limit": undefined, "after": undefined, "any": undefined, "more": 1 });
        assert_eq!(from_value(undefined), Ok(thread));
        assert!(from_value::<Thread>(ejson!({ "threadId": undefined })).is_err());
        assert!(from_value::<Thread>(ejson!({ "threadId": "7", "limit": null })).is_err());
        assert!(from_value::<Thread>(ejson!([])).is_err());
    }

    #[test]
    fn sequences_options_and_bytes() {
        assert_eq!(
            from_value::<(String, Option<u8>)>(ejson!(["a", null])),
            Ok(("a".into(), None))
        );
        assert!(from_value::<(u8,)>(ejson!([1, 2])).is_err());
        assert!(from_value::<(u8, u8)>(ejson!([1])).is_err());
        assert_eq!(
            from_value::<Vec<u8>>(ejson!(Binary(vec![1, 2]))),
            Ok(vec![1, 2])
        );
        assert_eq!(from_value::<Option<u8>>(Value::Undefined), Ok(None));
        assert_eq!(from_value::<()>(Value::Undefined), Ok(()));
        assert_eq!(from_value::<char>(ejson!("é")), Ok('é'));
        assert_eq!(
            from_value::<BTreeMap<i32, bool>>(ejson!({ "-1": true })),
            Ok([(-1, true)].into())
        );
        assert!(from_value::<BTreeMap<i32, bool>>(ejson!({ "x": true })).is_err());
        assert_eq!(
            from_value::<BTreeMap<String, u8>>(ejson!({ "$date": 5 })),
            Ok([("$date".into(), 5)].into())
        );
        assert_eq!(
            from_value::<Object>(ejson!({ "a": undefined }))
                .unwrap()
                .len(),
            1
        );
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Shape {
        Dot,
        Circle(f64),
        Box(u8, u8),
        Text { of: String },
    }

    #[test]
    fn enums_are_tagged_from_outside() {
        assert_eq!(from_value(ejson!("Dot")), Ok(Shape::Dot));
        assert_eq!(from_value(ejson!({ "Dot": null })), Ok(Shape::Dot));
        assert_eq!(from_value(ejson!({ "Circle": 1 })), Ok(Shape::Circle(1.0)));
        assert_eq!(from_value(ejson!({ "Box": [1, 2] })), Ok(Shape::Box(1, 2)));
        assert_eq!(
            from_value(ejson!({ "Text": { "of": "x" } })),
            Ok(Shape::Text { of: "x".into() })
        );
        for wrong in [
            ejson!("Line"),
            ejson!({ "Box": [1] }),
            ejson!({ "Dot": 1 }),
            ejson!({}),
            ejson!(1),
            ejson!({ "Dot": null, "Box": 1 }),
        ] {
            assert!(from_value::<Shape>(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
