//! The plain value that represents a value in EJSON: the reverse of [`Value::decode`]. Canonical
//! text and other serde formats use it; the compact writer does not.

use super::form::{Form, InfNan};
use super::{Object, Value};

/// A value of JSON's kinds and `undefined` only. [`Value::decode`] turns it back into `value`.
pub(super) fn encode(value: &Value) -> Value {
    match value {
        Value::Undefined | Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        Value::Number(number) => match InfNan::of(*number) {
            None => value.clone(),
            Some(special) => object([("$InfNaN", special.code().into())]),
        },
        Value::Array(items) => Value::Array(items.iter().map(encode).collect()),
        Value::Object(members) => {
            let encoded = members
                .iter()
                .map(|(key, value)| (key.clone(), encode(value)))
                .collect::<Object>();
            match Form::of(members) {
                None => Value::Object(encoded),
                Some(_) => object([("$escape", Value::Object(encoded))]),
            }
        }
        // JSON prints the NaN of an invalid date as `null`.
        Value::Date(date) => object([(
            "$date",
            date.millis()
                .map_or(f64::NAN, |millis| millis as f64)
                .into(),
        )]),
        Value::Binary(bytes) => {
            let mut text = String::new();
            bytes.write_base64(&mut text);
            object([("$binary", text.into())])
        }
        Value::ObjectId(id) => object([("$type", "oid".into()), ("$value", id.to_hex().into())]),
        Value::Regexp(regexp) => object([
            ("$regexp", regexp.source().into()),
            ("$flags", regexp.flags().into()),
        ]),
        Value::Decimal(decimal) => object([
            ("$type", "Decimal".into()),
            ("$value", decimal.as_str().into()),
        ]),
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().collect())
}
