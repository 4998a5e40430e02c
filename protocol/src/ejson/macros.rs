//! The `ejson!` macro: values written as in JavaScript.

/// Builds a [`Value`](crate::ejson::Value) from a literal in JavaScript's notation.
///
/// Besides `null` and `undefined`, a value can be anything that implements `Serialize`. A key is a
/// literal, a variable, or an expression in parentheses.
///
/// ```
/// # extern crate updraft_protocol as updraft;
/// use updraft::ejson;
/// use updraft::ejson::{Date, to_ejson};
///
/// let (name, key) = ("Ada", "born");
/// let born = Date::from_millis(0.0);
/// let value = ejson!({ "name": name, key: born, ("x".repeat(2)): [1, null, { "y": 2.5 }] });
/// assert_eq!(to_ejson(&value), r#"{"name":"Ada","born":{"$date":0},"xx":[1,null,{"y":2.5}]}"#);
/// ```
///
/// # Panics
///
/// If an interpolated value cannot be serialized, for example a map whose keys are structs.
#[macro_export]
macro_rules! ejson {
    // Items, one at a time: JavaScript's notation first, any other expression last.
    (@items $list:ident) => {};
    (@items $list:ident null $(, $($rest:tt)*)?) => {
        $list.push($crate::ejson!(null));
        $crate::ejson!(@items $list $($($rest)*)?);
    };
    (@items $list:ident undefined $(, $($rest:tt)*)?) => {
        $list.push($crate::ejson!(undefined));
        $crate::ejson!(@items $list $($($rest)*)?);
    };
    (@items $list:ident [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $list.push($crate::ejson!([$($inner)*]));
        $crate::ejson!(@items $list $($($rest)*)?);
    };
    (@items $list:ident {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $list.push($crate::ejson!({$($inner)*}));
        $crate::ejson!(@items $list $($($rest)*)?);
    };
    (@items $list:ident $item:expr $(, $($rest:tt)*)?) => {
        $list.push($crate::ejson!($item));
        $crate::ejson!(@items $list $($($rest)*)?);
    };

    (@members $object:ident) => {};
    (@members $object:ident ($key:expr) : $($rest:tt)*) => {
        $crate::ejson!(@member $object ($key) $($rest)*);
    };
    (@members $object:ident $key:tt : $($rest:tt)*) => {
        $crate::ejson!(@member $object ($key) $($rest)*);
    };
    (@member $object:ident ($key:expr) null $(, $($rest:tt)*)?) => {
        $object.insert($key, $crate::ejson!(null));
        $crate::ejson!(@members $object $($($rest)*)?);
    };
    (@member $object:ident ($key:expr) undefined $(, $($rest:tt)*)?) => {
        $object.insert($key, $crate::ejson!(undefined));
        $crate::ejson!(@members $object $($($rest)*)?);
    };
    (@member $object:ident ($key:expr) [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $object.insert($key, $crate::ejson!([$($inner)*]));
        $crate::ejson!(@members $object $($($rest)*)?);
    };
    (@member $object:ident ($key:expr) {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $object.insert($key, $crate::ejson!({$($inner)*}));
        $crate::ejson!(@members $object $($($rest)*)?);
    };
    (@member $object:ident ($key:expr) $value:expr $(, $($rest:tt)*)?) => {
        $object.insert($key, $crate::ejson!($value));
        $crate::ejson!(@members $object $($($rest)*)?);
    };

    (null) => { $crate::ejson::Value::Null };
    (undefined) => { $crate::ejson::Value::Undefined };
    ([]) => { $crate::ejson::Value::Array(::std::vec::Vec::new()) };
    ([$($items:tt)*]) => {{
        let mut list = ::std::vec::Vec::<$crate::ejson::Value>::from([]);
        $crate::ejson!(@items list $($items)*);
        $crate::ejson::Value::Array(list)
    }};
    ({}) => { $crate::ejson::Value::Object($crate::ejson::Object::new()) };
    ({$($members:tt)*}) => {{
        let mut object = $crate::ejson::Object::new();
        $crate::ejson!(@members object $($members)*);
        $crate::ejson::Value::Object(object)
    }};
    ($value:expr) => {{
        #[allow(unused_imports, reason = "one of them is used")]
        use $crate::ejson::interpolate::{ByClone as _, BySerde as _};
        $crate::ejson::interpolate::Interpolated(&$value).value()
    }};
}

/// How `ejson!` converts the value of an expression.
///
/// An expression that is a [`Value`](crate::ejson::Value) already is only cloned; serde would take
/// several times as long. The choice is made at compile time: the compiler tries a method that
/// takes the receiver itself before one that takes a reference to it.
#[doc(hidden)]
pub mod interpolate {
    use serde::Serialize;

    use super::super::{Value, to_value};

    #[derive(Debug)]
    #[allow(clippy::exhaustive_structs, reason = "of a macro, which builds it")]
    pub struct Interpolated<'a, T: ?Sized>(pub &'a T);

    pub trait ByClone {
        fn value(self) -> Value;
    }

    pub trait BySerde {
        fn value(&self) -> Value;
    }

    impl ByClone for Interpolated<'_, Value> {
        fn value(self) -> Value {
            self.0.clone()
        }
    }

    impl ByClone for Interpolated<'_, &Value> {
        fn value(self) -> Value {
            Value::clone(self.0)
        }
    }

    impl ByClone for Interpolated<'_, Option<Value>> {
        fn value(self) -> Value {
            self.0.clone().unwrap_or(Value::Null)
        }
    }

    impl ByClone for Interpolated<'_, Option<&Value>> {
        fn value(self) -> Value {
            self.0.cloned().unwrap_or(Value::Null)
        }
    }

    impl<T: Serialize + ?Sized> BySerde for Interpolated<'_, T> {
        #[track_caller]
        fn value(&self) -> Value {
            match to_value(self.0) {
                Ok(value) => value,
                Err(error) => panic!("ejson!: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::super::{Date, Value, to_ejson};

    #[test]
    fn literals_look_like_javascript() {
        let (name, items, key) = ("Ada", vec![1, 2], "k");
        let value = ejson!({
            "null": null, "undefined": undefined, "text": "x", name: items, (format!("{key}2")): [[], {}, [1][0], -1,],
            "call": i32::max(1, 2), "not": !items.is_empty(), "struct": Date::from_millis(0.0), "block": { "a": { "b": [null, undefined] } },
            "expression": if items.len() > 1 { "many" } else { "few" }, "some": Some(1), "none": None::<u8>,
        });
        assert_eq!(
            to_ejson(&value),
            concat!(
                r#"{"null":null,"text":"x","Ada":[1,2],"k2":[[],{},1,-1],"call":2,"not":true,"struct":{"$date":0},"#,
                r#""block":{"a":{"b":[null,null]}},"expression":"many","some":1,"none":null}"#
            )
        );
        assert!(value.as_object().unwrap().contains_key("undefined"));
        assert_eq!(items, [1, 2]);
        assert_eq!(to_ejson(&ejson!(name)), r#""Ada""#);
    }

    #[test]
    fn values_stay_what_they_are() {
        let any = ejson!({ "$date": Date::from_millis(0.0), "gone": undefined });
        let (none, of) = (None::<&Value>, Some(&any));
        let all = [
            ejson!(any),
            ejson!(&any),
            ejson!(&&any),
            ejson!(of),
            ejson!(of.cloned()),
            generic(&any),
        ];
        assert!(all.iter().all(|it| *it == any));
        assert!(ejson!(none).is_null() && ejson!(none.cloned()).is_null());
        assert!(ejson!(Some(Value::Undefined)).is_undefined());
        assert_eq!(generic(&Some(5)), Value::from(5));
    }

    fn generic<T: Serialize>(value: &T) -> Value {
        ejson!(value)
    }
}
