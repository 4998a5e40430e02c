//! When two values count as equal. The merge box asks this before it sends a change.

use super::{Object, Value};

/// Meteor's `EJSON.equals`: 1 and 1.0, 0 and −0, NaN and NaN are equal, and so are objects whose
/// keys differ only in order.
///
/// Two invalid dates are never equal, and any two patterns always are.
pub fn equals(a: &Value, b: &Value) -> bool {
    equals_with(a, b, false)
}

/// As [`equals`]; if `key_order_sensitive`, the order of keys counts.
pub fn equals_with(a: &Value, b: &Value, key_order_sensitive: bool) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| equals_with(a, b, key_order_sensitive))
        }
        (Value::Object(a), Value::Object(b)) => objects(a, b, key_order_sensitive),
        (Value::Date(a), Value::Date(b)) => a.millis().is_some() && a == b,
        (Value::Regexp(_), Value::Regexp(_)) => true,
        (Value::Decimal(a), Value::Decimal(b)) => a.same_number(b),
        // The remaining kinds contain no other values.
        (a, b) => a == b,
    }
}

fn objects(a: &Object, b: &Object, key_order_sensitive: bool) -> bool {
    let same = |a, b| equals_with(a, b, key_order_sensitive);
    a.len() == b.len()
        && if key_order_sensitive {
            a.iter()
                .zip(b)
                .all(|((key, a), (other, b))| key == other && same(a, b))
        } else {
            a.iter()
                .all(|(key, a)| b.get_text(key).is_some_and(|b| same(a, b)))
        }
}

#[cfg(test)]
mod tests {
    use super::super::{Binary, Date, Decimal, ObjectId, Regexp};
    use super::*;
    use crate::ejson;

    #[test]
    fn ddp_197_equality_is_meteors() {
        let oid = ObjectId::from_bytes([7; 12]);
        let decimal = |text| Value::from(Decimal::parse(text).unwrap());
        let regexp = |source| Value::from(Regexp::new(source, "").unwrap());
        for (a, b) in [
            (ejson!(f64::NAN), ejson!(f64::NAN)),
            (ejson!(0.0), ejson!(-0.0)),
            (
                ejson!(Date::from_millis(5.0)),
                ejson!(Date::from_millis(5.0)),
            ),
            (ejson!(Binary(vec![1])), ejson!(Binary(vec![1]))),
            (ejson!(oid), ejson!(oid)),
            (regexp("a"), regexp("b")),
            (decimal("1.50"), decimal("15e-1")),
            (decimal("-0"), decimal("0.00")),
            (
                ejson!({ "a": [1, { "b": 2, "c": 3 }] }),
                ejson!({ "a": [1, { "c": 3, "b": 2 }] }),
            ),
            (ejson!({ "u": undefined }), ejson!({ "u": undefined })),
        ] {
            assert!(equals(&a, &b) && equals(&b, &a), "{a:?} {b:?}");
        }
        for (a, b) in [
            (ejson!(Date::INVALID), ejson!(Date::INVALID)),
            (ejson!(Date::from_millis(5.0)), ejson!(5)),
            (ejson!(Binary(vec![1])), ejson!([1])),
            (ejson!([]), ejson!({})),
            (ejson!({ "0": 1 }), ejson!([1])),
            (ejson!(null), ejson!(undefined)),
            (ejson!({}), ejson!({ "u": undefined })),
            (ejson!({ "a": 1 }), ejson!({ "b": 1 })),
            (ejson!("1"), ejson!(1)),
            (ejson!(0), ejson!(false)),
            (ejson!(oid), ejson!(oid.to_hex())),
            (decimal("1.5"), decimal("-1.5")),
            (decimal("1"), ejson!(1)),
            (ejson!([1, 2]), ejson!([2, 1])),
        ] {
            assert!(!equals(&a, &b) && !equals(&b, &a), "{a:?} {b:?}");
        }
    }

    #[test]
    fn ddp_099_197_key_order_counts_on_demand() {
        let (a, b) = (ejson!([{ "a": 1, "b": 2 }]), ejson!([{ "b": 2, "a": 1 }]));
        assert!(equals(&a, &b));
        assert!(!equals_with(&a, &b, true));
        assert!(equals_with(&a, &a, true));
    }
}
