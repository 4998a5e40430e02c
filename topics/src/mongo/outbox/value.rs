//! Values of BSON as values of EJSON. Nothing is left out, and nothing becomes something else.

use mongodb::bson::Bson;
use updraft_protocol::ejson::{Binary, Date, Decimal, Object, ObjectId, Regexp, Value};

/// The highest integer up to which a double has all.
const EXACT: i64 = 1 << 53;

/// The value, or the reason why there is none: a clause.
pub(super) fn value(bson: Bson) -> Result<Value, String> {
    Ok(match bson {
        Bson::Double(number) => Value::Number(number),
        Bson::Int32(number) => Value::Number(f64::from(number)),
        Bson::Int64(number) if (-EXACT..=EXACT).contains(&number) => Value::Number(number as f64),
        Bson::Int64(_) => return Err("the payload has an integer beyond 2^53".into()),
        Bson::String(text) | Bson::Symbol(text) => Value::String(text.into()),
        Bson::Boolean(value) => Value::Bool(value),
        Bson::Null | Bson::Undefined => Value::Null,
        Bson::DateTime(date) => Value::Date(Date::from_millis(date.timestamp_millis() as f64)),
        Bson::Binary(binary) => Value::Binary(Binary::from(binary.bytes.as_slice())),
        Bson::ObjectId(id) => Value::ObjectId(ObjectId::from_bytes(id.bytes())),
        Bson::Decimal128(number) => {
            let decimal = Decimal::parse(&number.to_string());
            Value::Decimal(Box::new(decimal.map_err(|error| error.to_string())?))
        }
        Bson::RegularExpression(regex) => {
            let regexp = Regexp::new(regex.pattern.as_str(), regex.options.as_str());
            Value::Regexp(Box::new(regexp.map_err(|error| error.to_string())?))
        }
        Bson::Array(elements) => {
            let elements = elements.into_iter().map(value);
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        Bson::Document(document) => {
            let members = document.into_iter();
            let members = members.map(|(key, member)| Ok::<_, String>((key, value(member)?)));
            Value::Object(members.collect::<Result<Object, _>>()?)
        }
        Bson::Timestamp(_)
        | Bson::JavaScriptCode(_)
        | Bson::JavaScriptCodeWithScope(_)
        | Bson::DbPointer(_)
        | Bson::MinKey
        | Bson::MaxKey => return Err("the payload has a value that EJSON has not".into()),
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, Timestamp, doc, oid};
    use updraft_protocol::ejson::to_ejson;

    use super::*;

    #[test]
    fn values_become_those_of_ejson_or_are_refused() {
        let id = oid::ObjectId::from_bytes([1; 12]);
        let document = doc! {
            "text": "é", "double": 1.5, "long": EXACT, "no": null, "date": DateTime::from_millis(5),
            "id": id, "list": [1, { "n": true }],
        };
        let json = to_ejson(&value(document.into()).unwrap());
        let expected = r#"{"text":"é","double":1.5,"long":9007199254740992,"no":null,"date":{"$date":5},"id":{"$type":"oid","$value":"010101010101010101010101"},"list":[1,{"n":true}]}"#;
        assert_eq!(json, expected);
        for bad in [
            Bson::Int64(EXACT + 1),
            Bson::MinKey,
            Timestamp {
                time: 1,
                increment: 1,
            }
            .into(),
        ] {
            assert!(value(doc! { "list": [bad] }.into()).is_err());
        }
    }
}
