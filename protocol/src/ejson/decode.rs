//! EJSON's forms, `{"$date":5}` and the like: how an object is recognised as one, and what it
//! stands for.

use super::coerce::{to_number, to_text};
use super::number::number_text;
use super::text::TextBuilder;
use super::{Binary, Date, Decimal, Object, ObjectId, ParseError, Regexp, Text, Value};

impl Value {
    /// Replaces EJSON's forms by what they stand for, at every depth.
    ///
    /// # Errors
    ///
    /// If Meteor could not decode a form, an unknown `$type` for example. An ObjectID of `""`, for
    /// which Meteor makes up an id, is an error too ([`decode_with`](Self::decode_with) makes one up),
    /// and so are the 257th pattern in one value and a `$escape` of strings of more than 10,000
    /// characters.
    pub fn decode(self) -> Result<Self, ParseError> {
        self.decode_with(|| None)
    }

    /// As [`decode`](Self::decode), with somebody to ask for the id of an ObjectID that was sent
    /// without one, as `""`, `null`, `false` or 0.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), and if there is no id to be had.
    pub fn decode_with(
        self,
        mut new_object_id: impl FnMut() -> Option<ObjectId>,
    ) -> Result<Self, ParseError> {
        Decoder::new(false, &mut new_object_id).value(self)
    }

    /// As [`decode`](Self::decode), but an object that cannot be decoded stays a plain object.
    pub fn decode_lenient(self) -> Self {
        // No form is an error then.
        let decoded = Decoder::new(true, &mut || None).value(self);
        decoded.unwrap_or_default()
    }
}

/// What a plain object must look like to be taken for something else. Used both ways: an object
/// that looks like this without being meant so is escaped when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Date,
    Regexp,
    InfNan,
    Binary,
    Escape,
    Type,
}

impl Form {
    pub(super) fn of(object: &Object) -> Option<Self> {
        let mut keys = object.keys();
        match (
            keys.next()?.to_str()?,
            keys.next().map(Text::to_str),
            keys.next(),
        ) {
            ("$date", None, None) => Some(Self::Date),
            ("$InfNaN", None, None) => Some(Self::InfNan),
            ("$binary", None, None) => Some(Self::Binary),
            ("$escape", None, None) => Some(Self::Escape),
            ("$regexp", Some(Some("$flags")), None) | ("$flags", Some(Some("$regexp")), None) => {
                Some(Self::Regexp)
            }
            ("$type", Some(Some("$value")), None) | ("$value", Some(Some("$type")), None) => {
                Some(Self::Type)
            }
            _ => None,
        }
    }
}

// The two things here that cost much more than their length: a pattern is checked, and a string whose
// `$escape` is taken becomes an object with a member for each character.
const MAX_PATTERNS: usize = 256;
const MAX_CHARACTERS: usize = 10_000;

struct Decoder<'a> {
    lenient: bool,
    new_object_id: &'a mut dyn FnMut() -> Option<ObjectId>,
    /// How many more patterns may follow.
    patterns: usize,
    /// How many more characters may become members.
    characters: usize,
}

impl<'a> Decoder<'a> {
    fn new(lenient: bool, new_object_id: &'a mut dyn FnMut() -> Option<ObjectId>) -> Self {
        Self {
            lenient,
            new_object_id,
            patterns: MAX_PATTERNS,
            characters: MAX_CHARACTERS,
        }
    }

    // Recurses as deep as the value is nested, which `parse` has bounded.
    fn value(&mut self, value: Value) -> Result<Value, ParseError> {
        match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.value(item))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Object(mut object) => {
                if let Some(form) = Form::of(&object) {
                    match self.form(form, &mut object) {
                        Err(_) if self.lenient => {}
                        decoded => return decoded,
                    }
                }
                self.values(&mut object)?;
                Ok(Value::Object(object))
            }
            other => Ok(other),
        }
    }

    fn values(&mut self, object: &mut Object) -> Result<(), ParseError> {
        for value in object.values_mut() {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                *value = self.value(value.take())?;
            }
        }
        Ok(())
    }

    /// If it fails in lenient mode, `object` is as it was.
    fn form(&mut self, form: Form, object: &mut Object) -> Result<Value, ParseError> {
        let member = |key| object.get(key).unwrap_or(&Value::Undefined);
        match form {
            Form::Date => Ok(Value::Date(decode_date(member("$date"))?)),
            Form::InfNan => Ok(Value::Number(to_number(member("$InfNaN"))? / 0.0)),
            Form::Binary => {
                let Value::String(text) = member("$binary") else {
                    return Err(ParseError::ejson("$binary is not a string"));
                };
                let bytes = Binary::from_base64(&text.to_string_lossy());
                let bytes = bytes.ok_or_else(|| ParseError::ejson("$binary is not base64"))?;
                Ok(Value::Binary(bytes))
            }
            Form::Regexp => {
                let left = self.patterns.checked_sub(1);
                self.patterns = left.ok_or_else(|| ParseError::ejson("too many patterns"))?;
                decode_regexp(member("$regexp"), member("$flags"))
            }
            Form::Type => match (member("$type").as_str(), member("$value")) {
                (Some("oid"), value) if value.is_falsy() => (self.new_object_id)()
                    .map(Value::ObjectId)
                    .ok_or_else(|| ParseError::ejson("an ObjectID without an id")),
                (name, value) => decode_type(name, value),
            },
            Form::Escape => {
                match member("$escape") {
                    Value::Null | Value::Undefined => {
                        return Err(ParseError::ejson("$escape of nothing"));
                    }
                    Value::String(text) => {
                        let left = self.characters.checked_sub(text.units().count());
                        self.characters =
                            left.ok_or_else(|| ParseError::ejson("$escape of a long string"))?;
                    }
                    _ => {}
                }
                let mut object = unescape(
                    object
                        .get_mut("$escape")
                        .map(Value::take)
                        .unwrap_or_default(),
                );
                self.values(&mut object)?;
                Ok(Value::Object(object))
            }
        }
    }
}

fn decode_date(value: &Value) -> Result<Date, ParseError> {
    Ok(match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Date::parse(&to_text(value)?.to_string_lossy())
        }
        _ => Date::from_millis(to_number(value)?),
    })
}

fn decode_regexp(source: &Value, flags: &Value) -> Result<Value, ParseError> {
    // JavaScript reads no source as an empty one.
    let source = match source {
        Value::Undefined => Text::default(),
        source => to_text(source)?,
    };
    let Value::String(flags) = flags else {
        return Err(ParseError::ejson("$flags is not a string"));
    };
    Ok(Value::from(Regexp::new(source, &flags.to_string_lossy())?))
}

fn decode_type(name: Option<&str>, value: &Value) -> Result<Value, ParseError> {
    match (name, value) {
        (Some("oid"), value) => Ok(Value::ObjectId(
            value.as_str().unwrap_or_default().parse::<ObjectId>()?,
        )),
        (Some("Decimal"), Value::String(text)) => {
            Ok(Value::from(Decimal::parse(&text.to_string_lossy())?))
        }
        (Some("Decimal"), Value::Number(number)) => {
            Ok(Value::from(Decimal::parse(&number_text(*number))?))
        }
        (Some("Decimal"), _) => Err(ParseError::ejson("not a decimal number")),
        _ => Err(ParseError::ejson("unknown $type")),
    }
}

/// The members JavaScript finds in a value: an array's and a string's are numbered, other kinds
/// have none.
fn unescape(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        Value::Array(items) => numbered(items.into_iter()),
        Value::String(text) => numbered(text.units().map(|unit| {
            let mut character = TextBuilder::default();
            character.push_unit(unit);
            Value::String(character.finish())
        })),
        _ => Object::new(),
    }
}

fn numbered(values: impl Iterator<Item = Value>) -> Object {
    values
        .enumerate()
        .map(|(index, value)| (index.to_string(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Style, equals, parse, stringify, to_ejson, to_json, to_value};
    use super::*;

    fn plain(text: &str) -> Value {
        parse(text, &Limits::default()).unwrap()
    }

    fn decoded(text: &str) -> Value {
        plain(text).decode().unwrap()
    }

    fn back(text: &str) -> String {
        to_ejson(&decoded(text))
    }

    fn refused(text: &str) -> bool {
        plain(text).decode().is_err()
    }

    #[test]
    fn ddp_182_date() {
        let millis = |text: &str| decoded(text).as_date().unwrap().millis();
        assert_eq!(millis(r#"{"$date":5.7}"#), Some(5));
        assert_eq!(millis(r#"{"$date":-5.7}"#), Some(-5));
        assert_eq!(millis(r#"{"$date":"2020-01-01"}"#), Some(1_577_836_800_000));
        assert_eq!(millis(r#"{"$date":null}"#), Some(0));
        assert_eq!(millis(r#"{"$date":true}"#), Some(1));
        assert_eq!(millis(r#"{"$date":false}"#), Some(0));
        assert_eq!(millis(r#"{"$date":8640000000000001}"#), None);
        assert_eq!(millis(r#"{"$date":{"$date":5}}"#), None);
        assert_eq!(back(r#"{"$date":"x"}"#), r#"{"$date":null}"#);
    }

    #[test]
    fn ddp_183_192_other_keys_make_a_plain_object() {
        for text in [
            r#"{"$date":5,"b":1}"#,
            r#"{"b":1,"$date":5}"#,
            r#"{"$type":"oid"}"#,
            r#"{"$value":"0123456789abcdef01234567"}"#,
            r#"{"$regexp":"a"}"#,
            r#"{"$flags":"g"}"#,
            r#"{"$date":5,"$x":1}"#,
            r#"{"$type":"x","$value":1,"c":2}"#,
            "{}",
            "[]",
        ] {
            assert_eq!(decoded(text), plain(text));
            assert_eq!(back(text), text);
        }
    }

    #[test]
    fn ddp_184_185_an_escape_guards_one_level() {
        let text = r#"{"$escape":{"$date":{"$date":5}}}"#;
        assert_eq!(
            decoded(text).get("$date"),
            Some(&Value::Date(Date::from_millis(5.0)))
        );
        assert_eq!(back(text), text);
        let text = r#"{"$escape":{"$escape":{"$date":5}}}"#;
        assert_eq!(
            decoded(text).get("$escape"),
            Some(&Value::Date(Date::from_millis(5.0)))
        );
        assert_eq!(back(text), text);
        let text = r#"{"$escape":{"$date":5,"b":{"$date":5}}}"#;
        assert_eq!(back(text), r#"{"$date":5,"b":{"$date":5}}"#);
    }

    #[test]
    fn ddp_186_escapes_of_other_kinds() {
        assert!(refused(r#"{"$escape":null}"#));
        assert_eq!(back(r#"{"$escape":5}"#), "{}");
        assert_eq!(back(r#"{"$escape":true}"#), "{}");
        assert_eq!(
            back(r#"{"$escape":[1,{"$date":5}]}"#),
            r#"{"0":1,"1":{"$date":5}}"#
        );
        assert_eq!(
            back(r#"{"$escape":"aé😀"}"#),
            r#"{"0":"a","1":"é","2":"\ud83d","3":"\ude00"}"#
        );
    }

    #[test]
    fn ddp_187_binary() {
        let bytes = |text: &str| match decoded(&format!(r#"{{"$binary":"{text}"}}"#)) {
            Value::Binary(bytes) => bytes.0,
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes("AQI="), [1, 2]);
        assert_eq!(bytes("AQI"), [1, 2]);
        assert_eq!(bytes("AQJ="), [1, 2]);
        assert!(bytes("").is_empty());
        assert!(bytes("A").is_empty());
        assert_eq!(bytes("!!!!"), [0, 0, 0]);
        assert_eq!(bytes("AQID+g=="), [1, 2, 3, 250]);
        assert_eq!(bytes("AQID+g"), [1, 2, 3, 250]);
        assert_eq!(bytes("AQ-D"), [1, 3, 0]);
        assert_eq!(bytes("éééé"), [0, 0, 0]);
        assert_eq!(back(r#"{"$binary":"AQI"}"#), r#"{"$binary":"AQI="}"#);
        assert!(refused(r#"{"$binary":5}"#));
    }

    #[test]
    fn ddp_188_inf_nan() {
        for (text, number) in [
            (r#"{"$InfNaN":0}"#, f64::NAN),
            (r#"{"$InfNaN":1}"#, f64::INFINITY),
            (r#"{"$InfNaN":-1}"#, f64::NEG_INFINITY),
            (r#"{"$InfNaN":5}"#, f64::INFINITY),
            (r#"{"$InfNaN":"x"}"#, f64::NAN),
            (r#"{"$InfNaN":null}"#, f64::NAN),
        ] {
            assert_eq!(decoded(text), Value::Number(number));
        }
        assert_eq!(back(r#"{"$InfNaN":-7}"#), r#"{"$InfNaN":-1}"#);
    }

    #[test]
    fn found_503_javascript_converts_what_is_of_another_kind() {
        for (text, printed) in [
            (r#"{"$InfNaN":true}"#, r#"{"$InfNaN":1}"#),
            (r#"{"$InfNaN":[5]}"#, r#"{"$InfNaN":1}"#),
            (r#"{"$InfNaN":[["-0x1"]]}"#, r#"{"$InfNaN":0}"#),
            (r#"{"$InfNaN":" -3 "}"#, r#"{"$InfNaN":-1}"#),
            (r#"{"$InfNaN":{}}"#, r#"{"$InfNaN":0}"#),
            (r#"{"$date":["2020"]}"#, r#"{"$date":1577836800000}"#),
            (r#"{"$date":{}}"#, r#"{"$date":null}"#),
            (
                r#"{"$regexp":["a",1],"$flags":""}"#,
                r#"{"$regexp":"a,1","$flags":""}"#,
            ),
            (
                r#"{"$regexp":{},"$flags":""}"#,
                r#"{"$regexp":"[object Object]","$flags":""}"#,
            ),
        ] {
            assert_eq!(back(text), printed, "{text}");
        }
        for text in [
            r#"{"$InfNaN":{"toString":1}}"#,
            r#"{"$date":[{"toString":1}]}"#,
            r#"{"$regexp":{"toString":1},"$flags":""}"#,
        ] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn found_502_an_object_id_without_an_id_gets_a_new_one() {
        let mut next = 0_u8;
        let mut decode = |text: &str| {
            plain(text).decode_with(|| {
                next += 1;
                (next < 6).then(|| ObjectId::from_bytes([next; 12]))
            })
        };
        let oid = |value: &str| format!(r#"{{"$type":"oid","$value":{value}}}"#);
        for (number, value) in (1_u8..).zip([r#""""#, "null", "0", "false"]) {
            let decoded = decode(&oid(value)).unwrap();
            assert_eq!(decoded, Value::ObjectId(ObjectId::from_bytes([number; 12])));
        }
        for value in ["true", "5", "[]", r#""bad""#] {
            assert!(decode(&oid(value)).is_err(), "{value}");
        }
        let two = decode(&format!("[{},{}]", oid("null"), oid("null")));
        assert!(two.is_err(), "there was an id for the first only");
    }

    #[test]
    fn ddp_189_deviation_014_object_ids() {
        let upper = r#"{"$type":"oid","$value":"0123456789ABCDEF01234567"}"#;
        assert_eq!(back(upper), upper.to_lowercase());
        let swapped = r#"{"$value":"0123456789abcdef01234567","$type":"oid"}"#;
        assert_eq!(decoded(swapped), decoded(upper));
        for value in [
            r#""bad""#,
            "5",
            r#""""#,
            "null",
            r#""0123456789abcdef0123456g""#,
        ] {
            assert!(
                refused(&format!(r#"{{"$type":"oid","$value":{value}}}"#)),
                "{value}"
            );
        }
        assert!(refused(r#"{"$type":"nope","$value":1}"#));
        let decimal = r#"{"$type":"Decimal","$value":"1.50"}"#;
        assert_eq!(back(decimal), decimal);
        assert!(refused(r#"{"$type":"Decimal","$value":"x"}"#));
    }

    #[test]
    fn ddp_190_patterns() {
        let text = r#"{"$regexp":"a+","$flags":"gi"}"#;
        assert_eq!(back(text), text);
        assert_eq!(
            back(r#"{"$flags":"ggiixyz","$regexp":"a/"}"#),
            r#"{"$regexp":"a\\/","$flags":"giy"}"#
        );
        assert!(refused(r#"{"$regexp":"(","$flags":""}"#));
        assert!(refused(r#"{"$regexp":"a","$flags":5}"#));
        assert_eq!(
            back(r#"{"$regexp":"\ud800","$flags":""}"#),
            r#"{"$regexp":"\ud800","$flags":""}"#
        );
    }

    #[test]
    fn ddp_191_195_forms_are_found_at_every_depth() {
        let text = r#"{"$foo":1,"$bar":{"$date":1}}"#;
        assert_eq!(
            decoded(text).get("$bar"),
            Some(&Value::Date(Date::from_millis(1.0)))
        );
        assert_eq!(back(text), text);
        let deep = format!(
            "{}{}{}",
            r#"[{"a":"#.repeat(30),
            r#"{"$date":5}"#,
            "}]".repeat(30)
        );
        assert_eq!(back(&deep), deep);
        let golden =
            r#"[1,"a",{"$date":5},null,{"$escape":{"$date":5}},[1],{"a":{"$binary":"AQI="}}]"#;
        assert_eq!(back(golden), golden);
        assert!(to_json(&decoded(&deep)).contains("1970-01-01T00:00:00.005Z"));
    }

    #[test]
    fn ddp_195_deep_values_do_not_exhaust_the_stack() {
        let limits = Limits {
            depth: usize::MAX,
            keys: 10,
        };
        let text = format!("{}{}", r#"{"$a":["#.repeat(256), "]}".repeat(256));
        let value = parse(&text, &limits).unwrap().decode().unwrap();
        assert_eq!(to_ejson(&value), text);
        assert_eq!(to_json(&value.clone()), text);
        assert!(equals(&value, &value.clone()));
        assert_eq!(stringify(&value, &Style::default()), text);
        assert_eq!(to_value(&value).unwrap(), value);
        assert!(serde_json::to_string(&value).is_ok());
    }

    #[test]
    fn ddp_186_190_deviation_012_costly_forms_are_counted() {
        let many = |count| {
            format!(
                "[{}]",
                vec![r#"{"$regexp":"a","$flags":""}"#; count].join(",")
            )
        };
        assert_eq!(back(&many(256)), many(256));
        assert!(refused(&many(257)));
        assert!(refused(&format!(
            r#"{{"$escape":"{}"}}"#,
            "x".repeat(10_001)
        )));
        let lenient = plain(&many(257)).decode_lenient();
        assert!(
            lenient
                .as_array()
                .unwrap()
                .last()
                .unwrap()
                .as_object()
                .is_some()
        );
    }

    #[test]
    fn lenient_decoding_keeps_what_it_cannot_read() {
        let lenient = |text: &str| plain(text).decode_lenient();
        let text =
            r#"{"a":{"$type":"nope","$value":{"$date":5}},"b":{"$date":6},"c":{"$escape":null}}"#;
        let value = lenient(text);
        let kept = value.get("a").unwrap();
        assert_eq!(kept.get("$type").unwrap().as_str(), Some("nope"));
        assert_eq!(
            kept.get("$value").unwrap().as_date(),
            Some(Date::from_millis(5.0))
        );
        assert_eq!(
            value.get("b").unwrap().as_date(),
            Some(Date::from_millis(6.0))
        );
        assert!(value.get("c").unwrap().get("$escape").unwrap().is_null());
        assert_eq!(
            to_ejson(&value),
            r#"{"a":{"$escape":{"$type":"nope","$value":{"$date":5}}},"b":{"$date":6},"c":{"$escape":{"$escape":null}}}"#
        );
        let text = r#"{"$escape":{"$type":{"$binary":1}}}"#;
        assert_eq!(
            to_ejson(&lenient(text)),
            r#"{"$type":{"$escape":{"$binary":1}}}"#
        );
    }
}
