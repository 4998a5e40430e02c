//! JavaScript's conversions. Where a member of an EJSON form has another type, Meteor lets
//! JavaScript convert it: `[5]` becomes the number 5, and `{}` a text.

use super::number::number_text;
use super::text::TextBuilder;
use super::{ParseError, Text, Value};

/// JavaScript's `String(value)`.
///
/// # Errors
///
/// If there is a member `toString`, because it hides the function of that name.
pub(super) fn to_text(value: &Value) -> Result<Text, ParseError> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    let mut text = TextBuilder::default();
    push(value, &mut text)?;
    Ok(text.finish())
}

/// JavaScript's `Number(value)`.
///
/// # Errors
///
/// As [`to_text`].
pub(super) fn to_number(value: &Value) -> Result<f64, ParseError> {
    Ok(match value {
        Value::Number(number) => *number,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Null => 0.0,
        Value::Undefined => f64::NAN,
        other => number_of(&to_text(other)?.to_string_lossy()),
    })
}

// The recursion is as deep as the value is nested, which `parse` has bounded.
fn push(value: &Value, out: &mut TextBuilder) -> Result<(), ParseError> {
    match value {
        Value::String(text) => out.push_text(text),
        Value::Number(number) => out.push_str(&number_text(*number)),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Null => out.push_str("null"),
        Value::Undefined => out.push_str("undefined"),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(",");
                }
                if !matches!(item, Value::Null | Value::Undefined) {
                    push(item, out)?;
                }
            }
        }
        Value::Object(object) if !object.contains_key("toString") => {
            out.push_str("[object Object]");
        }
        _ => return Err(ParseError::ejson("a value that is no text and no number")),
    }
    Ok(())
}

fn number_of(text: &str) -> f64 {
    let text = text.trim_matches(is_space);
    let (sign, magnitude) = match text.as_bytes() {
        [b'-', ..] => (-1.0, text.get(1..)),
        [b'+', ..] => (1.0, text.get(1..)),
        _ => (1.0, Some(text)),
    };
    match (text.get(..2), magnitude) {
        _ if text.is_empty() => 0.0,
        (_, Some("Infinity")) => sign * f64::INFINITY,
        (Some("0x" | "0X"), _) => in_radix(text, 16),
        (Some("0o" | "0O"), _) => in_radix(text, 8),
        (Some("0b" | "0B"), _) => in_radix(text, 2),
        // Rust parses the same numbers, and also words for infinities and NaN.
        _ if text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) =>
        {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

fn in_radix(text: &str, radix: u32) -> f64 {
    let digits = text.get(2..).filter(|digits| !digits.is_empty());
    let add = |number: f64, digit: char| {
        let digit = digit.to_digit(radix)?;
        Some(number * f64::from(radix) + f64::from(digit))
    };
    digits
        .and_then(|digits| digits.chars().try_fold(0.0, add))
        .unwrap_or(f64::NAN)
}

/// White space that JavaScript ignores around a number.
fn is_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::super::{JsonLimits, parse};
    use super::*;

    fn value(text: &str) -> Value {
        parse(text, &JsonLimits::default()).unwrap()
    }

    // The expected results are those of Node 20.
    #[test]
    fn found_503_numbers_are_what_javascript_makes_of_any_value() {
        for (text, number) in [
            ("5", 5.0),
            ("true", 1.0),
            ("false", 0.0),
            ("null", 0.0),
            ("[]", 0.0),
            ("[null]", 0.0),
            ("[5]", 5.0),
            (r#"[["-7"]]"#, -7.0),
            ("[1e400]", f64::INFINITY),
            (r#""""#, 0.0),
            (r#"" \n ""#, 0.0),
            (r#"" -3 ""#, -3.0),
            (r#""\u00a0\u2028\ufeff5\t""#, 5.0),
            (r#""0x1F""#, 31.0),
            (r#""0B101""#, 5.0),
            (r#""0o17""#, 15.0),
            (r#""-Infinity""#, f64::NEG_INFINITY),
            (r#""+Infinity""#, f64::INFINITY),
            (r#"".5""#, 0.5),
            (r#""5.""#, 5.0),
            (r#""+.5e1""#, 5.0),
            (r#""1e-400""#, 0.0),
            (r#""1e400""#, f64::INFINITY),
            (r#""007""#, 7.0),
        ] {
            assert_eq!(to_number(&value(text)), Ok(number), "{text}");
        }
        for text in [
            "{}",
            r#"{"valueOf":1}"#,
            "[1,2]",
            "[true]",
            r#""x""#,
            r#""0x""#,
            r#""0xg""#,
            r#""-0x1""#,
            r#""infinity""#,
            r#""inf""#,
            r#""nan""#,
            r#""NaN""#,
            r#""1_0""#,
            r#""1e""#,
            r#"".""#,
            r#""-""#,
            r#""+-1""#,
            r#""1 1""#,
            r#""\u00855""#,
            r#""\ud8005""#,
        ] {
            assert!(to_number(&value(text)).unwrap().is_nan(), "{text}");
        }
        for text in [r#"{"toString":1}"#, r#"[1,[{"toString":null}]]"#] {
            assert!(to_number(&value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn found_503_texts_are_what_javascript_makes_of_any_value() {
        for (json, text) in [
            (r#"["a","b"]"#, "a,b"),
            ("[null,1.5,true,-0,[[],[2,3]]]", ",1.5,true,0,,2,3"),
            ("{}", "[object Object]"),
            ("null", "null"),
            ("[1e21]", "1e+21"),
        ] {
            assert_eq!(to_text(&value(json)).unwrap(), text);
        }
        let halves = to_text(&value(r#"["\ud83d","\ude00"]"#)).unwrap();
        let units: Vec<u16> = halves.units().collect();
        assert_eq!(units, [0xd83d, u16::from(b','), 0xde00]);
    }
}
