//! Converts BSON to the values that clients are sent, as Meteor's server does before it publishes a
//! document.

use mongodb::bson::{Bson, Document};
use updraft_protocol::ejson::{Binary, Date, Decimal, Object, ObjectId, Regexp, Value};

/// Converts a document. Members without a form in EJSON are left out.
pub(super) fn to_object(document: &Document) -> Object {
    let members = document.iter();
    members
        .filter_map(|(key, value)| Some((key, to_value(value)?)))
        .collect()
}

/// Converts a value; `None` if it has no form in EJSON.
pub(super) fn to_value(bson: &Bson) -> Option<Value> {
    let value = match bson {
        Bson::Double(number) => Value::Number(*number),
        Bson::Int32(number) => Value::Number(f64::from(*number)),
        // As in JavaScript, where numbers above 2^53 are not exact.
        Bson::Int64(number) => Value::Number(*number as f64),
        Bson::String(text) | Bson::Symbol(text) => Value::String(text.into()),
        Bson::Boolean(value) => Value::Bool(*value),
        Bson::Null => Value::Null,
        Bson::Undefined => Value::Undefined,
        Bson::DateTime(date) => Value::Date(Date::from_millis(date.timestamp_millis() as f64)),
        Bson::Binary(binary) => Value::Binary(Binary::from(binary.bytes.as_slice())),
        Bson::ObjectId(id) => Value::ObjectId(ObjectId::from_bytes(id.bytes())),
        Bson::Decimal128(number) => {
            Value::Decimal(Box::new(Decimal::parse(&number.to_string()).ok()?))
        }
        Bson::RegularExpression(regex) => {
            let regexp = Regexp::new(regex.pattern.as_str(), regex.options.as_str());
            Value::Regexp(Box::new(regexp.ok()?))
        }
        Bson::Array(elements) => {
            let elements = elements.iter().map(to_value);
            Value::Array(elements.map(Option::unwrap_or_default).collect())
        }
        Bson::Document(document) => Value::Object(to_object(document)),
        Bson::Timestamp(_)
        | Bson::JavaScriptCode(_)
        | Bson::JavaScriptCodeWithScope(_)
        | Bson::DbPointer(_)
        | Bson::MinKey
        | Bson::MaxKey => return None,
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, doc, oid};
    use updraft_protocol::ejson::to_ejson;

    use super::*;

    #[test]
    fn documents_become_what_meteor_publishes() {
        let id = oid::ObjectId::from_bytes([1; 12]);
        let document = doc! {
            "text": "é", "double": 1.5, "int": 2_i32, "long": 3_i64, "yes": true, "no": null,
            "date": DateTime::from_millis(5), "id": id, "list": [1, Bson::MinKey], "max": Bson::MaxKey,
            "inner": { "n": 1 },
        };
        let json = to_ejson(&Value::Object(to_object(&document)));
        let expected = r#"{"text":"é","double":1.5,"int":2,"long":3,"yes":true,"no":null,"date":{"$date":5},"id":{"$type":"oid","$value":"010101010101010101010101"},"list":[1,null],"inner":{"n":1}}"#;
        assert_eq!(json, expected);
    }
}
