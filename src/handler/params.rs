//! Typed parameters: what a client sent, deserialized as the type that the handler names.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use updraft_protocol::ejson::{self, Object, SerdeError, Value};

use crate::base::error::{Error, Result};
use crate::base::redact::Redacted;

/// All parameters, as they came.
#[derive(Clone, Default, PartialEq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a wrapper, to be taken apart in a list of parameters"
)]
pub struct Args(pub Vec<Value>);

/// For logs: JSON, escaped, cut, and without the values of members such as `password`, `resume` and
/// `token`.
impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.0.iter().map(ejson::to_json).collect::<Vec<_>>();
        write!(f, "Args[{}]", Redacted(&json.join(",")))
    }
}

/// Reads parameters as `P`.
pub(crate) fn read<P: DeserializeOwned + 'static>(params: Vec<Value>) -> Result<P> {
    P::deserialize(Params(params)).map_err(|error| Error::match_failed().because(error))
}

/// The name by which [`Args`] asks for everything.
const ARGS: &str = "$updraft::Args";

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Args;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Args, D::Error> {
                Vec::deserialize(deserializer).map(Args)
            }
        }

        deserializer.deserialize_newtype_struct(ARGS, All)
    }
}

/// Deserializes the parameters of one call as a type that takes one of them or, as a tuple, all.
struct Params(Vec<Value>);

impl Params {
    /// The first parameter, or `missing` if there is none.
    fn first(self, missing: Value) -> Value {
        self.0
            .into_iter()
            .next()
            .filter(|first| !first.is_undefined())
            .unwrap_or(missing)
    }

    fn all<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_seq(Elements {
            rest: self.0.into_iter(),
            read: 0,
        })
    }
}

/// Every type that is not a tuple takes the first parameter. A missing one is undefined, or `{}`
/// for a struct.
macro_rules! forward {
    ($($method:ident($($name:ident: $kind:ty),*) or $missing:expr;)+) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, SerdeError> {
            self.first($missing).$method($($name,)* visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Params {
    type Error = SerdeError;

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.all(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.all(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        if name == ARGS {
            let all = Value::Array(self.0);
            return visitor.visit_newtype_struct(all);
        }
        // The inner type says what a missing parameter is, unless it is one of EJSON's own types.
        if self.0.is_empty() && !name.starts_with('$') {
            return visitor.visit_newtype_struct(self);
        }
        self.first(Value::Undefined)
            .deserialize_newtype_struct(name, visitor)
    }

    forward! {
        deserialize_any() or Value::Undefined;
        deserialize_bool() or Value::Undefined;
        deserialize_i8() or Value::Undefined;
        deserialize_i16() or Value::Undefined;
        deserialize_i32() or Value::Undefined;
        deserialize_i64() or Value::Undefined;
        deserialize_u8() or Value::Undefined;
        deserialize_u16() or Value::Undefined;
        deserialize_u32() or Value::Undefined;
        deserialize_u64() or Value::Undefined;
        deserialize_f32() or Value::Undefined;
        deserialize_f64() or Value::Undefined;
        deserialize_char() or Value::Undefined;
        deserialize_str() or Value::Undefined;
        deserialize_string() or Value::Undefined;
        deserialize_bytes() or Value::Undefined;
        deserialize_byte_buf() or Value::Undefined;
        deserialize_option() or Value::Undefined;
        deserialize_unit_struct(name: &'static str) or Value::Undefined;
        deserialize_seq() or Value::Undefined;
        deserialize_map() or Value::Object(Object::new());
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
            or Value::Object(Object::new());
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) or Value::Undefined;
        deserialize_identifier() or Value::Undefined;
        deserialize_ignored_any() or Value::Undefined;
    }
}

/// The parameters of a tuple. A missing one is read from an empty list of parameters.
struct Elements {
    rest: std::vec::IntoIter<Value>,
    read: usize,
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = SerdeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, SerdeError> {
        self.read = self.read.saturating_add(1);
        let element = match self.rest.next() {
            Some(value) if !value.is_undefined() => seed.deserialize(value),
            _ => seed.deserialize(Params(Vec::new())),
        };
        let number = self.read;
        element
            .map(Some)
            .map_err(|error| error.within(format_args!("parameter {number}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Thread {
        thread_id: Option<String>,
    }

    fn params(json: &str) -> Vec<Value> {
        let all = ejson::parse(json, &ejson::JsonLimits::default()).unwrap();
        all.as_array().unwrap().to_vec()
    }

    fn thread(id: &str) -> Thread {
        Thread {
            thread_id: Some(id.into()),
        }
    }

    #[test]
    fn a_type_takes_the_first_parameter_and_ignores_the_rest() {
        let given = params(r#"[{"threadId":"7","more":1},"surplus"]"#);
        assert_eq!(read::<Thread>(given).unwrap(), thread("7"));
        assert_eq!(read::<u32>(params("[5,6]")).unwrap(), 5);
        assert_eq!(read::<Vec<u8>>(params("[[1,2]]")).unwrap(), [1, 2]);
        assert_eq!(read::<()>(params("[1]")).unwrap(), ());
        assert_eq!(read::<Value>(params("[1,2]")).unwrap(), Value::from(1));
    }

    #[test]
    fn a_tuple_takes_them_all() {
        let given = params(r#"["7",{"threadId":"8"},9,10]"#);
        assert_eq!(
            read::<(String, Thread, i64)>(given).unwrap(),
            ("7".into(), thread("8"), 9)
        );
        assert_eq!(
            read::<Args>(params("[1,null]")).unwrap().0,
            params("[1,null]")
        );
    }

    #[test]
    fn what_is_missing_is_absent_or_empty() {
        let none = Thread { thread_id: None };
        assert_eq!(read::<Thread>(Vec::new()).unwrap(), none);
        assert_eq!(read::<Option<u32>>(Vec::new()).unwrap(), None);
        let read_tuple = read::<(Option<u32>, Thread, Value)>(Vec::new()).unwrap();
        assert_eq!(
            read_tuple,
            (None, Thread { thread_id: None }, Value::Undefined)
        );
        assert_eq!(read::<Args>(Vec::new()).unwrap(), Args::default());

        #[derive(Debug, Deserialize, PartialEq)]
        struct Wrapped(Thread);
        assert_eq!(read::<Wrapped>(Vec::new()).unwrap(), Wrapped(none));
    }

    #[test]
    fn row_069_parameters_are_logged_without_secrets() {
        let given = params(r#"[{"user":"u","password":"secret"},"\u001b[31m"]"#);
        assert_eq!(
            format!("{:?}", Args(given)),
            r#"Args[{"user":"u","password":[hidden]},"\u001b[31m"]"#
        );
    }

    #[test]
    fn row_067_what_does_not_fit_is_a_failed_match() {
        assert!(read::<String>(params(r#"[{"$ne":null}]"#)).is_err());
        assert!(read::<String>(Vec::new()).is_err());
        assert!(read::<(String, u32)>(params(r#"["a",-1]"#)).is_err());
        // Members have names, not places.
        assert!(read::<Thread>(params(r#"[["lobby"]]"#)).is_err());
        let error = read::<Thread>(params(r#"[{"threadId":5}]"#)).unwrap_err();
        assert_eq!(error.to_string(), "Match failed [400]");
    }

    #[test]
    fn found_302_the_cause_names_the_field_and_quotes_no_value() {
        fn cause<P: DeserializeOwned + 'static + fmt::Debug>(json: &str) -> String {
            let error = read::<P>(params(json)).unwrap_err();
            error.source().unwrap().to_string()
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "never made")]
        struct Search {
            words: Vec<String>,
            sort: Sort,
        }
        #[derive(Debug, Deserialize)]
        enum Sort {
            Ascending,
            Descending,
        }
        for (cause, expected) in [
            (
                cause::<Thread>(r#"[{"threadId":5}]"#),
                "threadId: invalid type: integer, expected a string",
            ),
            (
                cause::<(String, u32)>(r#"["a",-1]"#),
                "parameter 2: invalid value: integer, expected u32",
            ),
            (
                cause::<(String, u32)>(r#"["a"]"#),
                "parameter 2: invalid type: null or undefined, expected u32",
            ),
            (
                cause::<Search>(r#"[{"words":["a",true]}]"#),
                "words.1: invalid type: boolean, expected a string",
            ),
            (
                cause::<(u8, Search)>(r#"[1,{"words":[],"sort":"secret"}]"#),
                "parameter 2.sort: unknown variant, expected one of Ascending, Descending",
            ),
            (cause::<Search>(r#"[{"words":[]}]"#), "missing field sort"),
            (
                cause::<Search>(r#"[{"wrods":["secret"]}]"#),
                "unknown field wrods, expected one of words, sort",
            ),
            (
                cause::<String>(r#"[{"$date":5}]"#),
                "invalid type: map, expected a string",
            ),
            (
                cause::<(u8, i64)>("[1,9007199254740993]"),
                "parameter 2: invalid type: integer beyond ±(2^53 − 1), which JavaScript rounds, \
                 expected i64",
            ),
            (
                cause::<u64>("[-1e300]"),
                "invalid type: integer beyond ±(2^53 − 1), which JavaScript rounds, expected u64",
            ),
            (
                cause::<i64>("[0.5]"),
                "invalid type: floating point number, expected i64",
            ),
        ] {
            assert_eq!(cause, expected);
        }
    }
}
