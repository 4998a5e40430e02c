//! From JSON text to plain values, exactly like JavaScript's `JSON.parse`. EJSON's forms are
//! decoded later, by [`Value::decode`], because DDP decodes only some members of a message.

use super::json::{Build, Raw, read};
use super::number::read_number;
use super::{JsonLimits, Object, ParseError, Value};

/// Parses one JSON value.
///
/// Lone surrogates are kept, 1e400 becomes Infinity, integers beyond 2⁵³ lose precision, and the
/// last of several equal keys counts.
///
/// # Errors
///
/// If `JSON.parse` would refuse the text, or it exceeds `limits`.
pub fn parse(text: &str, limits: &JsonLimits) -> Result<Value, ParseError> {
    read(text, limits, &mut Tree)
}

struct Tree;

impl<'a> Build<'a> for Tree {
    type Value = Value;
    type Array = Vec<Value>;
    type Object = Object;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    fn number(&mut self, digits: &'a str) -> Value {
        Value::Number(read_number(digits))
    }

    fn string(&mut self, raw: Raw<'a>) -> Value {
        Value::String(raw.into_text())
    }

    fn array(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn item(&mut self, array: &mut Vec<Value>, item: Value) {
        array.push(item);
    }

    fn end_array(&mut self, array: Vec<Value>) -> Value {
        Value::Array(array)
    }

    fn object(&mut self) -> Object {
        Object::new()
    }

    fn member(&mut self, object: &mut Object, key: Raw<'a>, value: Value) {
        object.append(key.into_text(), value);
    }

    fn end_object(&mut self, mut object: Object) -> Value {
        object.restore_order();
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParseErrorKind, Text, to_json};
    use super::*;

    fn round(text: &str) -> String {
        to_json(&parse(text, &JsonLimits::default()).unwrap())
    }

    #[test]
    fn ddp_194_numbers_are_doubles() {
        assert_eq!(
            round("[-0,12345678901234567890,1e21,1e400,-1E400,1e-400]"),
            "[0,12345678901234567000,1e+21,null,null,0]"
        );
        assert_eq!(
            parse("1e400", &JsonLimits::default()),
            Ok(Value::Number(f64::INFINITY))
        );
        assert!(
            parse("-0", &JsonLimits::default())
                .unwrap()
                .as_f64()
                .unwrap()
                .is_sign_negative()
        );
        assert_eq!(round("2.2250738585072011e-308"), "2.225073858507201e-308");
        assert_eq!(
            round("[5e-324,0.1,1.50,9007199254740993,123456789012345,-12,1e2]"),
            "[5e-324,0.1,1.5,9007199254740992,123456789012345,-12,100]"
        );
    }

    #[test]
    fn ddp_105_keys_come_in_javascripts_order() {
        assert_eq!(
            round(r#"{"b":1,"10":2,"a":3,"9":4,"b":5,"__proto__":6}"#),
            r#"{"9":4,"10":2,"b":5,"a":3,"__proto__":6}"#
        );
    }

    #[test]
    fn lone_surrogates_are_kept() {
        for text in [
            r#""\ud800""#,
            r#""a\udfffb\ud83d""#,
            r#"{"\ud800":"\udc00"}"#,
            r#""\udc00\ud800""#,
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(
            round(r#""\ud83d\ude00\u00e9\u0000\/\"\\\b\f\n\r\t\u001F""#),
            r#""😀é\u0000/\"\\\b\f\n\r\t\u001f""#
        );
        assert_eq!(round("\"\u{2028}\u{7f}\""), "\"\u{2028}\u{7f}\"");
        let object = parse(r#"{"\ud800":1}"#, &JsonLimits::default()).unwrap();
        assert_eq!(
            object.as_object().unwrap().keys().next().map(Text::to_str),
            Some(None)
        );
    }

    #[test]
    fn what_javascript_refuses_is_refused() {
        for text in [
            "",
            " ",
            "\u{feff}1",
            "NaN",
            "Infinity",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "--1",
            "0x1",
            "1 2",
            "tru",
            "nulll",
            "'a'",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{,}",
            "]",
            "}",
            "\u{a0}1",
            "\u{c}1",
            "1\u{0}",
            "[1}",
            "{\"a\":1]",
            "\"\\u+123\"",
            "undefined",
        ] {
            let error = parse(text, &JsonLimits::default()).unwrap_err();
            assert_eq!(error.kind(), ParseErrorKind::Syntax, "{text:?}");
        }
        assert_eq!(
            parse("[1,x]", &JsonLimits::default())
                .unwrap_err()
                .to_string(),
            "unexpected character at byte 3"
        );
    }

    #[test]
    fn limits_are_kept() {
        let limits = JsonLimits { depth: 2, keys: 3 };
        assert!(parse("[{}]", &limits).is_ok());
        assert_eq!(
            parse("[[[]]]", &limits).unwrap_err().kind(),
            ParseErrorKind::Depth
        );
        assert!(parse("[1,2,3]", &limits).is_ok());
        assert_eq!(
            parse("[1,2,3,4]", &limits).unwrap_err().kind(),
            ParseErrorKind::Keys
        );
        assert_eq!(
            parse(r#"{"a":1,"a":1,"a":1,"a":1}"#, &limits)
                .unwrap_err()
                .kind(),
            ParseErrorKind::Keys
        );
        let bottomless = JsonLimits {
            depth: usize::MAX,
            keys: 1,
        };
        assert_eq!(
            parse(&"[".repeat(1_000_000), &bottomless)
                .unwrap_err()
                .kind(),
            ParseErrorKind::Depth
        );
        assert!(
            parse(
                &format!("{}{}", "[".repeat(512), "]".repeat(512)),
                &bottomless
            )
            .is_ok()
        );
    }
}
