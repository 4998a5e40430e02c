//! Values as compact text: EJSON for the members that DDP decodes, plain JSON for the others. The
//! bytes are those that Meteor would send.

use super::form::{Form, InfNan};
use super::number::write_number;
use super::string::write_string;
use super::{Object, Value};

/// Appends the EJSON text of a value.
///
/// `undefined` members of objects are omitted; in arrays, and alone, `undefined` is written as
/// `null`.
pub fn write_ejson(value: &Value, out: &mut String) {
    match value {
        Value::Undefined | Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match InfNan::of(*number) {
            None => write_number(*number, out),
            Some(special) => wrap(out, r#"{"$InfNaN":"#, "}", |out| {
                write_number(special.code(), out)
            }),
        },
        Value::String(text) => text.write_literal(out),
        Value::Array(items) => write_items(items, out, write_ejson),
        Value::Object(object) if Form::of(object).is_some() => {
            wrap(out, r#"{"$escape":"#, "}", |out| {
                write_members(object, out, write_ejson)
            });
        }
        Value::Object(object) => write_members(object, out, write_ejson),
        Value::Date(date) => wrap(out, r#"{"$date":"#, "}", |out| match date.millis() {
            Some(millis) => write_number(millis as f64, out),
            None => out.push_str("null"),
        }),
        Value::Binary(bytes) => wrap(out, r#"{"$binary":""#, r#""}"#, |out| {
            bytes.write_base64(out)
        }),
        Value::ObjectId(id) => wrap(out, r#"{"$type":"oid","$value":""#, r#""}"#, |out| {
            out.push_str(&id.to_hex())
        }),
        Value::Regexp(regexp) => wrap(out, r#"{"$regexp":"#, r#""}"#, |out| {
            regexp.source().write_literal(out);
            out.push_str(r#","$flags":""#);
            out.push_str(regexp.flags());
        }),
        Value::Decimal(decimal) => {
            wrap(out, r#"{"$type":"Decimal","$value":"#, "}", |out| {
                write_string(decimal.as_str(), out)
            });
        }
    }
}

/// The EJSON text of a value; see [`write_ejson`].
pub fn to_ejson(value: &Value) -> String {
    let mut out = String::new();
    write_ejson(value, &mut out);
    out
}

/// Appends the text of JavaScript's `JSON.stringify` for a value: a date is its ISO string, bytes
/// are an object with numeric keys, NaN and the infinities are `null`.
pub fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Undefined | Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_finite() => write_number(*number, out),
        Value::Number(_) => out.push_str("null"),
        Value::String(text) => text.write_literal(out),
        Value::Array(items) => write_items(items, out, write_json),
        Value::Object(object) => write_members(object, out, write_json),
        Value::Date(date) => match date.to_iso() {
            Some(iso) => wrap(out, "\"", "\"", |out| out.push_str(&iso)),
            None => out.push_str("null"),
        },
        Value::Binary(bytes) => wrap(out, "{", "}", |out| {
            for (index, byte) in bytes.0.iter().enumerate() {
                out.push_str(if index == 0 { "\"" } else { ",\"" });
                out.push_str(&format!("{index}\":{byte}"));
            }
        }),
        Value::ObjectId(id) => wrap(out, r#"{"_str":""#, r#""}"#, |out| {
            out.push_str(&id.to_hex())
        }),
        Value::Regexp(_) => out.push_str("{}"),
        Value::Decimal(decimal) => write_string(decimal.as_str(), out),
    }
}

/// The plain JSON of a value; see [`write_json`].
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_items(items: &[Value], out: &mut String, write: fn(&Value, &mut String)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

fn write_members(object: &Object, out: &mut String, write: fn(&Value, &mut String)) {
    let mut separator = '{';
    for (key, value) in object.iter().filter(|(_, value)| !value.is_undefined()) {
        out.push(separator);
        key.write_literal(out);
        out.push(':');
        write(value, out);
        separator = ',';
    }
    if separator == '{' {
        out.push('{');
    }
    out.push('}');
}

fn wrap(out: &mut String, before: &str, after: &str, between: impl FnOnce(&mut String)) {
    out.push_str(before);
    between(out);
    out.push_str(after);
}

#[cfg(test)]
mod tests {
    use super::super::{Binary, Date, Decimal, JsonLimits, ObjectId, Regexp, parse};
    use super::*;
    use crate::ejson;

    fn everything() -> Value {
        let oid = ObjectId::parse("0123456789abcdef01234567").unwrap();
        ejson!({
            "date": Date::from_millis(1_500_000_000_123.0),
            "bin": Binary(vec![1, 2, 3, 250]),
            "nan": f64::NAN,
            "inf": f64::INFINITY,
            "ninf": f64::NEG_INFINITY,
            "oid": oid,
            "re": Regexp::new("ab+c", "gi").unwrap(),
            "esc": { "$date": 5 },
            "esc2": { "$type": "x", "$value": 1 },
            "notesc": { "$date": 1, "b": 2 },
            "nested": { "a": [Date::from_millis(0.0), { "d": Date::from_millis(1.0) }], "o": { "oid": oid } },
            "nul": null,
            "t": true,
            "und": undefined,
            "neg0": -0.0,
            "big": 1e21,
            "arr": [undefined, f64::NAN, null],
            "invalid": Date::INVALID,
            "str": "é\u{2028}\"\\",
            "emptyO": {},
            "emptyA": [],
        })
    }

    #[test]
    fn ddp_108_everything_prints_as_from_meteor() {
        let golden = concat!(
            r#"{"date":{"$date":1500000000123},"bin":{"$binary":"AQID+g=="},"nan":{"$InfNaN":0},"inf":{"$InfNaN":1},"#,
            r#""ninf":{"$InfNaN":-1},"oid":{"$type":"oid","$value":"0123456789abcdef01234567"},"#,
            r#""re":{"$regexp":"ab+c","$flags":"gi"},"esc":{"$escape":{"$date":5}},"#,
            r#""esc2":{"$escape":{"$type":"x","$value":1}},"notesc":{"$date":1,"b":2},"#,
            r#""nested":{"a":[{"$date":0},{"d":{"$date":1}}],"#,
            r#""o":{"oid":{"$type":"oid","$value":"0123456789abcdef01234567"}}},"nul":null,"t":true,"neg0":0,"#,
            r#""big":1e+21,"arr":[null,{"$InfNaN":0},null],"invalid":{"$date":null},"#,
            "\"str\":\"é\u{2028}\\\"\\\\\",\"emptyO\":{},\"emptyA\":[]}",
        );
        assert_eq!(to_ejson(&everything()), golden);
        let mut read = everything();
        // Meteor reads its own invalid date as the epoch.
        read.as_object_mut()
            .unwrap()
            .insert("invalid", Date::from_millis(0.0));
        read.as_object_mut().unwrap().remove("und");
        *read.as_object_mut().unwrap().get_mut("arr").unwrap() = ejson!([null, f64::NAN, null]);
        assert_eq!(
            parse(golden, &JsonLimits::default())
                .unwrap()
                .decode()
                .unwrap(),
            read
        );
    }

    #[test]
    fn ddp_193_plain_json_is_that_of_javascript() {
        assert_eq!(
            to_json(&everything()),
            concat!(
                r#"{"date":"2017-07-14T02:40:00.123Z","bin":{"0":1,"1":2,"2":3,"3":250},"nan":null,"inf":null,"#,
                r#""ninf":null,"oid":{"_str":"0123456789abcdef01234567"},"re":{},"esc":{"$date":5},"#,
                r#""esc2":{"$type":"x","$value":1},"notesc":{"$date":1,"b":2},"#,
                r#""nested":{"a":["1970-01-01T00:00:00.000Z",{"d":"1970-01-01T00:00:00.001Z"}],"#,
                r#""o":{"oid":{"_str":"0123456789abcdef01234567"}}},"nul":null,"t":true,"neg0":0,"big":1e+21,"#,
                r#""arr":[null,null,null],"invalid":null,"#,
                "\"str\":\"é\u{2028}\\\"\\\\\",\"emptyO\":{},\"emptyA\":[]}",
            )
        );
        assert_eq!(
            to_json(&Decimal::parse("1.50").unwrap().into()),
            r#""1.50""#
        );
        assert_eq!(to_json(&Value::Undefined), "null");
    }

    #[test]
    fn ddp_184_forms_are_escaped_even_with_undefined_members() {
        assert_eq!(
            to_ejson(&ejson!({ "$date": undefined })),
            r#"{"$escape":{}}"#
        );
        assert_eq!(
            to_ejson(&ejson!({ "$flags": 1, "$regexp": 2 })),
            r#"{"$escape":{"$flags":1,"$regexp":2}}"#
        );
        assert_eq!(
            to_ejson(&ejson!({ "$escape": { "$escape": 1 } })),
            r#"{"$escape":{"$escape":{"$escape":{"$escape":1}}}}"#
        );
    }

    // A small generator, so that the same thousands of values are tested each time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }

        fn value(&mut self, depth: u64) -> Value {
            let kinds = if depth == 0 { 10 } else { 14 };
            match self.roll(kinds) {
                0 => Value::Null,
                1 => Value::Bool(self.roll(2) == 0),
                2 => Value::from(self.roll(1 << 20)),
                3 => [
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    0.1,
                    -1e300,
                    5e-324,
                ][self.roll(6) as usize]
                    .into(),
                4 => ["", "é\u{2028}", "\"\\\n", "$date", "😀"][self.roll(5) as usize].into(),
                5 => parse(r#""a\ud800\udfff\udc00""#, &JsonLimits::default()).unwrap(),
                6 => Date::from_millis(self.roll(1 << 30) as f64).into(),
                7 => Binary((0..self.roll(9)).map(|byte| byte as u8 * 31).collect()).into(),
                8 => ObjectId::from_bytes([self.roll(256) as u8; 12]).into(),
                9 => Regexp::new("a/[/]", "gi").unwrap().into(),
                10 | 11 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
                _ => {
                    let keys = [
                        "$date", "$type", "$value", "$escape", "$regexp", "$flags", "$InfNaN",
                        "$binary", "a", "1",
                    ];
                    let members = (0..self.roll(4))
                        .map(|_| (keys[self.roll(10) as usize], self.value(depth - 1)));
                    Value::Object(members.collect())
                }
            }
        }
    }

    #[test]
    fn ddp_195_every_value_comes_back() {
        let mut dice = Dice(1);
        for _ in 0..20_000 {
            let value = dice.value(4);
            let text = to_ejson(&value);
            let read = parse(&text, &JsonLimits::default()).unwrap();
            assert_eq!(read, super::super::encode::encode(&value));
            assert_eq!(read.clone().decode_lenient(), value);
            assert_eq!(read.decode().unwrap(), value, "{text}");
            let through = super::super::to_value(&value).unwrap();
            assert_eq!(through, value);
            assert_eq!(super::super::from_value::<Value>(through).unwrap(), value);
            if !text.contains("\\ud") {
                let foreign = serde_json::to_string(&value).unwrap();
                assert_eq!(
                    serde_json::from_str::<Value>(&foreign).unwrap(),
                    value,
                    "{foreign}"
                );
            }
        }
    }
}
