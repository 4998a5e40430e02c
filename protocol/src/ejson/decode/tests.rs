//! Each form as Meteor decodes it, and what comes back when it is written again.

use super::super::{JsonLimits, Style, equals, parse, stringify, to_ejson, to_json, to_value};
use super::*;

fn plain(text: &str) -> Value {
    parse(text, &JsonLimits::default()).unwrap()
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
    let golden = r#"[1,"a",{"$date":5},null,{"$escape":{"$date":5}},[1],{"a":{"$binary":"AQI="}}]"#;
    assert_eq!(back(golden), golden);
    assert!(to_json(&decoded(&deep)).contains("1970-01-01T00:00:00.005Z"));
}

#[test]
fn ddp_195_deep_values_do_not_exhaust_the_stack() {
    let limits = JsonLimits {
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
