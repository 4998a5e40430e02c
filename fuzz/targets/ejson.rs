//! EJSON: a value that was read and printed reads as the same value again, the payload check agrees
//! with the reader, and both agree with serde_json on what is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_protocol::ejson::{self, JsonLimits, Print, Text, Value};

/// Decoding may make a small text wider, and printing makes it deeper.
const PRINTED: JsonLimits = JsonLimits::new(512, usize::MAX);

fuzz_target!(|bytes: &[u8]| {
    let limits = JsonLimits::default();
    let scanned = ejson::scan(bytes, &limits);
    let Ok(text) = str::from_utf8(bytes) else {
        assert!(scanned.is_err());
        return;
    };
    let plain = match (ejson::parse(text, &limits), scanned) {
        (Ok(plain), Ok(scan)) => {
            assert_eq!(scan.falsy, plain.is_falsy());
            assert_eq!(scan.array, plain.as_array().is_some());
            assert!(scan.special || !has_special_key(&plain));
            plain
        }
        (Err(_), Err(_)) => {
            // A text that serde_json accepts is JSON, so only a limit may have refused it.
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert!(!is_json || ejson::parse(text, &PRINTED).is_ok());
            return;
        }
        (plain, scan) => panic!("reader: {plain:?}, checker: {scan:?}"),
    };
    check_json(&plain);
    check_plain(&plain);
    check_print(&plain);
    if let Ok(value) = plain.clone().decode() {
        check_json(&value);
        check_ejson(&value);
    }
    let lenient = plain.decode_lenient();
    check_ejson(&lenient);
    check_print(&lenient);
});

fn has_special_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_special_key),
        Value::Object(object) => object.iter().any(|(key, value)| {
            key.to_str().is_some_and(|key| key.starts_with('$')) || has_special_key(value)
        }),
        _ => false,
    }
}

/// Plain JSON survives a round trip, except the infinities, which print as null.
fn check_plain(plain: &Value) {
    let text = ejson::to_json(plain);
    let again = ejson::parse(&text, &PRINTED).expect("printed JSON is read again");
    if is_finite(plain) {
        assert_eq!(*plain, again);
    }
    assert_eq!(text, ejson::to_json(&again));
}

/// EJSON survives a round trip, except invalid dates, which print as null and read as 1970.
fn check_ejson(value: &Value) {
    let text = ejson::to_ejson(value);
    let plain = ejson::parse(&text, &PRINTED).expect("printed EJSON is read again");
    let again = plain.decode().expect("printed EJSON is decoded again");
    if !has_invalid_date(value) {
        assert_eq!(*value, again, "{text}");
        assert!(ejson::equals(value, &again));
    }
    let lossless = if has_invalid_date(value) {
        &again
    } else {
        value
    };
    assert_eq!(ejson::to_ejson(lossless), ejson::to_ejson(&again));
}

/// Printing at once gives the text of the tree, in EJSON and in plain JSON.
fn check_print(value: &Value) {
    match ejson::print(value).expect("a value is printed") {
        Print::Plain { text, falsy, array } => {
            assert_eq!(*text, ejson::to_ejson(value));
            assert_eq!(*text, ejson::to_json(value));
            assert_eq!(falsy, value.is_falsy());
            assert_eq!(array, value.as_array().is_some());
        }
        Print::Value(tree) => assert_eq!(tree, *value),
    }
}

/// serde_json accepts the printed text, unless it has a lone surrogate.
fn check_json(value: &Value) {
    let text = ejson::to_json(value);
    if !has_lone_surrogate(value) {
        let read = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        assert!(read.is_ok(), "{text}: {read:?}");
    }
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_finite(),
        Value::Array(items) => items.iter().all(is_finite),
        Value::Object(object) => object.values().all(is_finite),
        _ => true,
    }
}

fn has_invalid_date(value: &Value) -> bool {
    match value {
        Value::Date(date) => date.millis().is_none(),
        Value::Array(items) => items.iter().any(has_invalid_date),
        Value::Object(object) => object.values().any(has_invalid_date),
        _ => false,
    }
}

fn has_lone_surrogate(value: &Value) -> bool {
    let is_wild = |text: &Text| text.to_str().is_none();
    match value {
        Value::String(text) => is_wild(text),
        Value::Array(items) => items.iter().any(has_lone_surrogate),
        Value::Object(object) => object
            .iter()
            .any(|(key, value)| is_wild(key) || has_lone_surrogate(value)),
        _ => false,
    }
}
