//! From any Rust type to a [`Value`].

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::key::KeySerializer;
use super::slot::{NAME, request_value};
use super::{Binary, Object, SerdeError, Text, Value};

/// The value of anything that serde can serialize.
///
/// Integers beyond 2⁵³ lose precision, `None` and `()` become `null`, bytes become binary data,
/// keys that are numbers or booleans become text. [`Value`], [`Date`](super::Date) and the other
/// types of this module pass unchanged.
///
/// # Errors
///
/// If a map has keys that cannot be text, or a `Serialize` implementation fails.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, SerdeError> {
    value.serialize(ValueSerializer)
}

pub(super) struct ValueSerializer;

macro_rules! into_value {
    ($($method:ident: $kind:ty),* $(,)?) => {$(
        fn $method(self, value: $kind) -> Result<Value, SerdeError> {
            Ok(Value::from(value))
        }
    )*};
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = SerdeError;
    type SerializeSeq = ArrayBuilder;
    type SerializeTuple = ArrayBuilder;
    type SerializeTupleStruct = ArrayBuilder;
    type SerializeTupleVariant = ArrayBuilder;
    type SerializeMap = ObjectBuilder;
    type SerializeStruct = ObjectBuilder;
    type SerializeStructVariant = ObjectBuilder;

    into_value! {
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
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_str: &str,
    }

    fn serialize_char(self, value: char) -> Result<Value, SerdeError> {
        Ok(Value::String(value.into()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, SerdeError> {
        Ok(Value::from(Binary::from(bytes)))
    }

    fn serialize_none(self) -> Result<Value, SerdeError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, SerdeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, SerdeError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, SerdeError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, SerdeError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, SerdeError> {
        if name == NAME {
            request_value(value, self).or_else(|written| written)
        } else {
            value.serialize(self)
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, SerdeError> {
        Ok(tagged(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ArrayBuilder, SerdeError> {
        Ok(ArrayBuilder {
            variant: None,
            items: Vec::with_capacity(length.unwrap_or(0)),
        })
    }

    fn serialize_tuple(self, length: usize) -> Result<ArrayBuilder, SerdeError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<ArrayBuilder, SerdeError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ArrayBuilder, SerdeError> {
        Ok(ArrayBuilder {
            variant: Some(variant),
            items: Vec::with_capacity(length),
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<ObjectBuilder, SerdeError> {
        Ok(ObjectBuilder {
            variant: None,
            object: Object::with_capacity(length.unwrap_or(0)),
            key: Text::default(),
        })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<ObjectBuilder, SerdeError> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ObjectBuilder, SerdeError> {
        Ok(ObjectBuilder {
            variant: Some(variant),
            ..self.serialize_map(Some(length))?
        })
    }
}

/// The variant of an enum is an object with one member.
fn tagged(variant: Option<&str>, value: Value) -> Value {
    match variant {
        None => value,
        Some(variant) => Value::Object([(variant, value)].into_iter().collect()),
    }
}

/// An array that is being built.
#[derive(Debug)]
pub(super) struct ArrayBuilder {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ArrayBuilder {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerdeError> {
        self.items.push(to_value(value)?);
        Ok(())
    }

    fn finish(self) -> Result<Value, SerdeError> {
        Ok(tagged(self.variant, Value::Array(self.items)))
    }
}

/// An object that is being built.
#[derive(Debug)]
pub(super) struct ObjectBuilder {
    variant: Option<&'static str>,
    object: Object,
    // The key of the member whose value comes next.
    key: Text,
}

impl ObjectBuilder {
    fn push<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), SerdeError> {
        self.object.append(key.into(), to_value(value)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Value, SerdeError> {
        self.object.restore_order();
        Ok(tagged(self.variant, Value::Object(self.object)))
    }
}

/// The compound serializers of serde, all of which push and then finish.
macro_rules! compound {
    ($made:ty; $($kind:ty: $trait:ident :: $method:ident ($($key:ident: $type:ty)?);)*) => {$(
        impl $trait for $kind {
            type Ok = $made;
            type Error = SerdeError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &T) -> Result<(), SerdeError> {
                self.push($($key,)? value)
            }

            fn end(self) -> Result<$made, SerdeError> {
                self.finish()
            }
        }
    )*};
}

pub(super) use compound;

compound! {
    Value;
    ArrayBuilder: SerializeSeq::serialize_element();
    ArrayBuilder: SerializeTuple::serialize_element();
    ArrayBuilder: SerializeTupleStruct::serialize_field();
    ArrayBuilder: SerializeTupleVariant::serialize_field();
    ObjectBuilder: SerializeStruct::serialize_field(key: &'static str);
    ObjectBuilder: SerializeStructVariant::serialize_field(key: &'static str);
}

impl SerializeMap for ObjectBuilder {
    type Ok = Value;
    type Error = SerdeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerdeError> {
        self.key = key.serialize(KeySerializer)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerdeError> {
        self.object
            .append(std::mem::take(&mut self.key), to_value(value)?);
        Ok(())
    }

    fn end(self) -> Result<Value, SerdeError> {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::super::to_ejson;
    use super::to_value;
    use crate::ejson;

    #[derive(Serialize)]
    struct Fields {
        z: u64,
        a: (),
        nothing: Option<u8>,
        unit: Unit,
        wrapped: Wrapped,
        pair: (i8, f32),
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Wrapped(char);

    #[derive(Serialize)]
    enum Shape {
        Dot,
        Circle(f64),
        Box(u8, u8),
        Text { of: String },
    }

    #[test]
    fn structs_keep_their_order() {
        let fields = Fields {
            z: 9_007_199_254_740_993,
            a: (),
            nothing: None,
            unit: Unit,
            wrapped: Wrapped('x'),
            pair: (-1, 0.5),
        };
        let value = to_value(&fields).unwrap();
        let text = r#"{"z":9007199254740992,"a":null,"nothing":null,"unit":null,"wrapped":"x","pair":[-1,0.5]}"#;
        assert_eq!(to_ejson(&value), text);
    }

    #[test]
    fn enums_are_tagged_from_outside() {
        let shapes = [
            Shape::Dot,
            Shape::Circle(1.0),
            Shape::Box(1, 2),
            Shape::Text { of: "x".into() },
        ];
        assert_eq!(
            to_value(&shapes).unwrap(),
            ejson!(["Dot", { "Circle": 1 }, { "Box": [1, 2] }, { "Text": { "of": "x" } }])
        );
    }

    #[test]
    fn keys_become_text() {
        assert_eq!(
            to_value(&BTreeMap::from([(10, 'a'), (9, 'b')])).unwrap(),
            ejson!({ "9": "b", "10": "a" })
        );
        assert_eq!(
            to_value(&BTreeMap::from([(true, ())])).unwrap(),
            ejson!({ "true": null })
        );
        assert!(to_value(&BTreeMap::from([((1, 2), ())])).is_err());
    }
}
