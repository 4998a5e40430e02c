//! Document ids in messages: `_id` may be of several types, but a message has only a string for it.

use super::Value;
use super::write::write_json;

/// The string that represents a document's id in `added`, `changed` and `removed`; `None` if the
/// value cannot be an id.
///
/// Ids that are dates, arrays, other objects, or strings with lone surrogates are refused. So are
/// NaN and the infinities, which would be the same id as `null`.
pub fn wire_id(id: &Value) -> Option<String> {
    match id {
        Value::Undefined => Some("-".to_owned()),
        Value::String(text) => {
            let text = text.to_str()?;
            let ambiguous = text.starts_with(['-', '~', '{']) || looks_like_object_id(text);
            Some(if ambiguous {
                format!("-{text}")
            } else {
                text.to_owned()
            })
        }
        Value::ObjectId(id) => Some(id.to_hex()),
        Value::Number(number) if !number.is_finite() => None,
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let mut wire = "~".to_owned();
            write_json(id, &mut wire);
            Some(wire)
        }
        _ => None,
    }
}

/// Only lower case can be mistaken for an ObjectID, because ObjectIDs are always written in lower
/// case.
fn looks_like_object_id(text: &str) -> bool {
    text.len() == 24
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::super::{Date, Object, ObjectId};
    use super::*;

    fn wire(id: impl Into<Value>) -> Option<String> {
        wire_id(&id.into())
    }

    #[test]
    fn ddp_101_104_object_ids_are_hex() {
        assert_eq!(
            wire(ObjectId::parse("0123456789ABCDEF01234567").unwrap()).unwrap(),
            "0123456789abcdef01234567"
        );
    }

    #[test]
    fn ddp_102_104_ambiguous_strings_get_a_dash() {
        for (id, expected) in [
            ("plain", "plain"),
            ("-dash", "--dash"),
            ("~tilde", "-~tilde"),
            ("{brace", "-{brace"),
            ("0123456789abcdef01234567", "-0123456789abcdef01234567"),
            ("0123456789ABCDEF01234567", "0123456789ABCDEF01234567"),
            ("0123456789abcdef0123456", "0123456789abcdef0123456"),
        ] {
            assert_eq!(wire(id).as_deref(), Some(expected));
        }
    }

    #[test]
    fn ddp_103_104_other_kinds() {
        assert_eq!(wire("").unwrap(), "");
        assert_eq!(wire(5).unwrap(), "~5");
        assert_eq!(wire(1e21).unwrap(), "~1e+21");
        assert_eq!(wire(true).unwrap(), "~true");
        assert_eq!(wire(()).unwrap(), "~null");
        assert_eq!(wire(Value::Undefined).unwrap(), "-");
        assert_eq!(wire(Object::new()), None);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(wire(number), None, "found_202: {number}");
        }
        assert_eq!(wire(Vec::<Value>::new()), None);
        assert_eq!(wire(Date::from_millis(0.0)), None);
    }
}
