//! Serde's traits for [`Value`] and the types in it: unchanged for our own serializers and
//! deserializer, in EJSON's form for every other format.

use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::encode::encode;
use super::form::{Form, InfNan};
use super::number::integer;
use super::slot::{self, NAME};
use super::{Binary, Date, Decimal, Object, ObjectId, Regexp, Text, Value};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &Newtype(self))
    }
}

struct Newtype<'a>(&'a Value);

impl Serialize for Newtype<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if slot::respond(self.0) {
            serializer.serialize_unit()
        } else {
            EjsonForm(self.0).serialize(serializer)
        }
    }
}

/// A value in EJSON's form, for formats that are not ours.
struct EjsonForm<'a>(&'a Value);

impl Serialize for EjsonForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Undefined | Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) if InfNan::of(*number).is_none() => match integer(*number) {
                Some(integer) => serializer.serialize_i64(integer),
                None => serializer.serialize_f64(*number),
            },
            Value::String(text) => serializer.serialize_str(&text.to_string_lossy()),
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| sequence.serialize_element(&EjsonForm(item)))?;
                sequence.end()
            }
            Value::Object(object) if Form::of(object).is_none() => {
                serialize_members(object, serializer, |map, value| {
                    map.serialize_value(&EjsonForm(value))
                })
            }
            special => match encode(special) {
                // Already in EJSON's form, so not escaped again.
                Value::Object(form) => serialize_members(&form, serializer, |map, value| {
                    map.serialize_value(&AlreadyEncoded(value))
                }),
                other => EjsonForm(&other).serialize(serializer),
            },
        }
    }
}

/// A value that is in EJSON's form already.
struct AlreadyEncoded<'a>(&'a Value);

impl Serialize for AlreadyEncoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => serialize_members(object, serializer, |map, value| {
                map.serialize_value(&AlreadyEncoded(value))
            }),
            Value::Array(items) => serializer.collect_seq(items.iter().map(AlreadyEncoded)),
            // Only the form of an invalid date has such a number.
            Value::Number(number) if !number.is_finite() => serializer.serialize_unit(),
            scalar => EjsonForm(scalar).serialize(serializer),
        }
    }
}

fn serialize_members<S: Serializer>(
    object: &Object,
    serializer: S,
    write: impl Fn(&mut S::SerializeMap, &Value) -> Result<(), S::Error>,
) -> Result<S::Ok, S::Error> {
    let members = || object.iter().filter(|(_, value)| !value.is_undefined());
    let mut map = serializer.serialize_map(Some(members().count()))?;
    for (key, value) in members() {
        map.serialize_key(&*key.to_string_lossy())?;
        write(&mut map, value)?;
    }
    map.end()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_newtype_struct(NAME, ValueVisitor)? {
            Deserialized::Whole(value) => Ok(value),
            Deserialized::Form(form) => form.decode().map_err(D::Error::custom),
        }
    }
}

/// The result of a deserializer: the value itself if the deserializer is ours, else its EJSON form.
enum Deserialized {
    Whole(Value),
    Form(Value),
}

impl Deserialized {
    fn into_inner(self) -> Value {
        match self {
            Self::Whole(value) | Self::Form(value) => value,
        }
    }
}

struct FormSeed(Value);

impl<'de> Deserialize<'de> for FormSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(ValueVisitor)
            .map(|got| Self(got.into_inner()))
    }
}

struct ValueVisitor;

macro_rules! visit {
    ($($method:ident: $kind:ty),* $(,)?) => {$(
        fn $method<E>(self, value: $kind) -> Result<Deserialized, E> {
            Ok(Deserialized::Form(Value::from(value)))
        }
    )*};
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Deserialized;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visit! {
        visit_bool: bool,
        visit_i64: i64,
        visit_i128: i128,
        visit_u64: u64,
        visit_u128: u128,
        visit_f64: f64,
        visit_str: &str,
        visit_string: String,
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Deserialized, E> {
        Ok(Deserialized::Whole(Value::Binary(Binary(bytes.to_vec()))))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Deserialized, E> {
        Ok(Deserialized::Whole(Value::Binary(Binary(bytes))))
    }

    fn visit_none<E>(self) -> Result<Deserialized, E> {
        Ok(Deserialized::Form(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Deserialized, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Deserialized, E> {
        Ok(slot::accept().map_or(Deserialized::Form(Value::Null), Deserialized::Whole))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Deserialized, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Deserialized, A::Error> {
        let mut items = Vec::new();
        while let Some(FormSeed(item)) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Deserialized::Form(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Deserialized, A::Error> {
        let mut object = Object::new();
        while let Some((key, FormSeed(value))) = map.next_entry::<Text, _>()? {
            object.append(key, value);
        }
        object.restore_order();
        Ok(Deserialized::Form(Value::Object(object)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Deserialized, A::Error> {
        let _unused = access;
        Err(A::Error::custom("an enum without a type cannot be read"))
    }
}

/// The types that a value is made of use the same traits.
macro_rules! through_value {
    ($($kind:ident: $pattern:pat => $result:expr, $expected:literal;)*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Value::from(self.clone()).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Value::deserialize(deserializer)? {
                    $pattern => Ok($result),
                    _ => Err(D::Error::custom(concat!("expected ", $expected))),
                }
            }
        }
    )*};
}

through_value! {
    Date: Value::Date(date) => date, "a date";
    Binary: Value::Binary(bytes) => bytes, "binary data";
    ObjectId: Value::ObjectId(id) => id, "an ObjectID";
    Regexp: Value::Regexp(regexp) => *regexp, "a pattern";
    Decimal: Value::Decimal(decimal) => *decimal, "a decimal number";
    Text: Value::String(text) => text, "a string";
    Object: Value::Object(object) => object, "an object";
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::{Deserialize, Serialize};

    use super::super::{from_value, to_ejson, to_value};
    use super::*;
    use crate::ejson;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Everything {
        created_at: Date,
        any: Value,
        list: (String, Value),
        maybe: Option<Value>,
        nothing: Option<Date>,
        oid: ObjectId,
        bytes: Binary,
        decimal: Decimal,
        pattern: Regexp,
        text: Text,
        object: Object,
        by_name: BTreeMap<String, Vec<Date>>,
        either: Vec<Either>,
        loose: Vec<Loose>,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Either {
        Unit,
        One(Date),
        Two(i32, Value),
        Named { at: Date },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Date(Date),
        Number(u8),
        Nested { of: Vec<ObjectId> },
        Any(Value),
    }

    fn everything() -> Everything {
        let (date, oid) = (Date::from_millis(5.0), ObjectId::from_bytes([1; 12]));
        Everything {
            created_at: date,
            any: ejson!({ "$date": 5, "deep": [date, { "$escape": f64::NAN }] }),
            list: ("x".into(), ejson!({ "$type": "oid", "$value": "" })),
            maybe: Some(Value::from(Binary(vec![9]))),
            nothing: None,
            oid,
            bytes: Binary(vec![1, 2]),
            decimal: Decimal::parse("1.50").unwrap(),
            pattern: Regexp::new("a/b", "g").unwrap(),
            text: "é".into(),
            object: [("$binary", Value::from(1))].into_iter().collect(),
            by_name: [("7".to_owned(), vec![date])].into(),
            either: vec![
                Either::Unit,
                Either::One(date),
                Either::Two(-1, oid.into()),
                Either::Named { at: date },
            ],
            loose: vec![
                Loose::Date(date),
                Loose::Date(Date::INVALID),
                Loose::Number(5),
                Loose::Nested { of: vec![oid] },
                Loose::Any(ejson!({ "$date": 5 })),
                Loose::Any(ejson!([{ "$date": [{ "$InfNaN": 1 }] }, date])),
            ],
            rest: [
                ("more".to_owned(), ejson!({ "$date": 1 })),
                ("when".to_owned(), date.into()),
            ]
            .into(),
        }
    }

    #[test]
    fn everything_passes_through_our_formats() {
        let value = to_value(&everything()).unwrap();
        assert_eq!(
            value.get("createdAt"),
            Some(&Value::Date(Date::from_millis(5.0)))
        );
        assert_eq!(value.get("any"), Some(&everything().any));
        assert_eq!(value.get("more"), Some(&ejson!({ "$date": 1 })));
        assert_eq!(from_value::<Everything>(value).unwrap(), everything());
    }

    #[test]
    fn everything_passes_through_a_foreign_format() {
        let mut everything = everything();
        everything.loose.remove(1);
        let text = serde_json::to_string(&everything).unwrap();
        assert!(
            text.starts_with(r#"{"createdAt":{"$date":5},"any":{"$date":5,"deep":"#),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<Everything>(&text).unwrap(),
            everything
        );
        assert_eq!(text, to_ejson(&to_value(&everything).unwrap()));
        assert!(serde_json::from_str::<Value>(r#"[{"$binary":5}]"#).is_err());
        let tree: serde_json::Value = from_value(ejson!({ "at": Date::from_millis(5.0) })).unwrap();
        assert_eq!(tree, serde_json::json!({ "at": { "$date": 5 } }));
        assert_eq!(
            from_value::<Value>(to_value(&tree).unwrap().decode().unwrap()).unwrap(),
            ejson!({ "at": Date::from_millis(5.0) })
        );
    }

    #[test]
    fn wild_text_and_undefined_survive() {
        let wild =
            super::super::parse(r#""\ud800""#, &super::super::JsonLimits::default()).unwrap();
        let map: HashMap<Text, Value> =
            [(wild.as_text().unwrap().clone(), ejson!([undefined, wild]))].into();
        let value = to_value(&map).unwrap();
        assert_eq!(to_ejson(&value), r#"{"\ud800":[null,"\ud800"]}"#);
        assert_eq!(from_value::<HashMap<Text, Value>>(value).unwrap(), map);
        assert_eq!(from_value::<String>(wild).unwrap(), "\u{fffd}");
    }

    // Serde buffers the contents of such a variant, and the buffered contents are no longer
    // [`Value`]s.
    #[test]
    fn keys_survive_a_buffer() {
        #[derive(Serialize)]
        #[serde(tag = "outer")]
        enum Outer {
            Wrapped(Inner),
        }

        #[derive(Serialize)]
        enum Inner {
            Maps {
                texts: HashMap<Text, Date>,
                numbers: Vec<(Value, ByKey)>,
            },
        }

        struct ByKey(Value);

        impl Serialize for ByKey {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([(&self.0, 1)])
            }
        }

        let date = Date::from_millis(5.0);
        let keys = [ejson!(1.5), ejson!(-0.0), ejson!(true), ejson!("a")];
        let with = |key: Value| {
            to_value(&Outer::Wrapped(Inner::Maps {
                texts: [("é".into(), date)].into(),
                numbers: vec![(Value::Null, ByKey(key))],
            }))
        };
        let printed = keys.map(|key| to_ejson(&with(key).unwrap()));
        let expected = ["1.5", "0", "true", "a"].map(|key| {
            format!(
                r#"{{"outer":"Wrapped","Maps":{{"texts":{{"é":{{"$escape":{{"$date":5}}}}}},"numbers":[[null,{{"{key}":1}}]]}}}}"#
            )
        });
        assert_eq!(printed, expected);
        assert!(with(Value::Null).is_err() && with(date.into()).is_err());
        assert!(with(f64::NAN.into()).is_err());
    }

    #[test]
    fn the_wrong_kind_is_an_error() {
        assert!(from_value::<Date>(ejson!(5)).is_err());
        assert!(from_value::<Vec<Date>>(ejson!([Date::INVALID, null])).is_err());
        assert!(from_value::<ObjectId>(ejson!("0123456789abcdef01234567")).is_err());
        assert!(from_value::<String>(ejson!(Date::INVALID)).is_err());
        // The slot is empty for the next caller.
        assert_eq!(from_value::<Option<()>>(Value::Null), Ok(None));
        assert_eq!(to_value(&()), Ok(Value::Null));
    }
}
