//! The printed text always equals the text of the tree. The generators reach every method of a
//! serializer, and every kind of value.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Serialize;
use serde::ser::Error;

use super::super::printer::KEPT;
use super::*;
use crate::ejson;
use crate::ejson::{
    Binary, Date, Decimal, JsonLimits, ObjectId, Regexp, parse, to_ejson, to_json, to_value,
};

/// The text and the tree agree.
fn agree<T: Serialize + ?Sized>(value: &T) {
    match (print(value), to_value(value)) {
        (Ok(Print::Plain { text, falsy, array }), Ok(tree)) => {
            assert_eq!(*text, to_ejson(&tree));
            assert_eq!(*text, to_json(&tree));
            assert_eq!(falsy, tree.is_falsy(), "{text}");
            assert_eq!(array, tree.as_array().is_some(), "{text}");
        }
        (Ok(Print::Value(printed)), Ok(tree)) => {
            assert_eq!(to_ejson(&printed), to_ejson(&tree));
            assert_eq!(to_json(&printed), to_json(&tree));
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("{one:?}, {other:?}"),
    }
}

fn is_plain<T: Serialize + ?Sized>(value: &T) -> bool {
    agree(value);
    matches!(print(value), Ok(Print::Plain { .. }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ordinary {
    id: u32,
    user_name: String,
    ratio: f64,
    none: Option<u8>,
    tags: Vec<&'static str>,
    kind: Either,
    more: Vec<Either>,
    any: Value,
    gone: Value,
    by_name: BTreeMap<String, i8>,
    #[serde(flatten)]
    rest: BTreeMap<&'static str, Value>,
}

#[derive(Clone, Serialize)]
enum Either {
    Unit,
    One(char),
    Two((), bool),
    Named { x: f32 },
}

fn ordinary() -> Ordinary {
    let all = [
        Either::Unit,
        Either::One('"'),
        Either::Two((), true),
        Either::Named { x: 0.5 },
    ];
    Ordinary {
        id: 7,
        user_name: "Ada \"L\"\n".into(),
        ratio: -0.0,
        none: None,
        tags: vec!["a", "é"],
        kind: Either::Unit,
        more: all.to_vec(),
        any: ejson!({ "7": [undefined, {}], "a": { "gone": undefined } }),
        gone: Value::Undefined,
        by_name: [("x".into(), -1)].into(),
        rest: [("z", ejson!([1e21, null]))].into(),
    }
}

#[test]
fn what_is_ordinary_needs_no_tree() {
    assert!(is_plain(&ordinary()));
    assert!(is_plain(&Some(
        ejson!({ "t": "x", "p": [1, 2, { "deep": true }] })
    )));
    for value in [
        Value::Undefined,
        ejson!(null),
        ejson!(0),
        ejson!(""),
        ejson!([]),
    ] {
        assert!(is_plain(&value));
    }
    let wild = parse(r#"{"\ud800":"\udc00"}"#, &JsonLimits::default()).unwrap();
    assert!(is_plain(&wild));
}

#[test]
fn what_is_not_is_left_to_the_tree() {
    let date = Date::from_millis(5.0);
    assert!(!is_plain(&date));
    assert!(!is_plain(&ejson!({ "deep": [date] })));
    assert!(!is_plain(&f64::NAN));
    assert!(!is_plain(&ejson!({ "$date": 5 })));
    assert!(!is_plain(&BTreeMap::from([("$date", 5)])));
    assert!(!is_plain(&BTreeMap::from([(10, 'a'), (9, 'b')])));
    assert!(!is_plain(&BTreeMap::from([((1, 2), ())])));
    // A value that was given up leaves nothing behind.
    assert!(is_plain(&ordinary()));
    assert_eq!(
        to_value(&date).unwrap(),
        Value::from(date),
        "the slot is empty"
    );
    let mut twice = ordinary();
    twice.rest.insert("id", ejson!("again"));
    assert!(!is_plain(&twice));
}

#[test]
fn a_long_text_is_whole_and_not_kept() {
    let long = "é\"".repeat(KEPT);
    assert!(is_plain(&[&long, &long]));
    assert!(SCRATCH.take().out.capacity() <= KEPT);
    assert!(is_plain(&[1]));
}

/// Calls our serializer in every possible way.
#[derive(Clone, Debug)]
enum Any {
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    F32(f32),
    F64(f64),
    Char(char),
    Str(String),
    Bytes(Vec<u8>),
    None,
    Some(Box<Self>),
    Unit,
    UnitStruct,
    UnitVariant(&'static str),
    Newtype(Box<Self>),
    NewtypeVariant(&'static str, Box<Self>),
    Seq(Vec<Self>),
    Tuple(Vec<Self>),
    TupleStruct(Vec<Self>),
    TupleVariant(&'static str, Vec<Self>),
    Map(Vec<(Self, Self)>),
    Struct(Vec<(&'static str, Self)>),
    StructVariant(&'static str, Vec<(&'static str, Self)>),
    Value(Value),
    Fails,
    /// An array that ignores the errors of its members.
    Swallows(Vec<Self>),
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::I64(number) => serializer.serialize_i64(*number),
            Self::U64(number) => serializer.serialize_u64(*number),
            Self::I128(number) => serializer.serialize_i128(*number),
            Self::F32(number) => serializer.serialize_f32(*number),
            Self::F64(number) => serializer.serialize_f64(*number),
            Self::Char(character) => serializer.serialize_char(*character),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::None => serializer.serialize_none(),
            Self::Some(value) => serializer.serialize_some(value),
            Self::Unit => serializer.serialize_unit(),
            Self::UnitStruct => serializer.serialize_unit_struct("S"),
            Self::UnitVariant(name) => serializer.serialize_unit_variant("E", 0, name),
            Self::Newtype(value) => serializer.serialize_newtype_struct("N", value),
            Self::NewtypeVariant(name, value) => {
                serializer.serialize_newtype_variant("E", 0, name, value)
            }
            Self::Seq(items) => serializer.collect_seq(items),
            Self::Tuple(items) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                for item in items {
                    tuple.serialize_element(item)?;
                }
                tuple.end()
            }
            Self::TupleStruct(items) => {
                let mut tuple = serializer.serialize_tuple_struct("T", items.len())?;
                for item in items {
                    tuple.serialize_field(item)?;
                }
                tuple.end()
            }
            Self::TupleVariant(name, items) => {
                let mut tuple = serializer.serialize_tuple_variant("E", 0, name, items.len())?;
                for item in items {
                    tuple.serialize_field(item)?;
                }
                tuple.end()
            }
            Self::Map(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
            }
            Self::Struct(members) => {
                let mut fields = serializer.serialize_struct("S", members.len())?;
                for (key, value) in members {
                    fields.serialize_field(key, value)?;
                }
                fields.end()
            }
            Self::StructVariant(name, members) => {
                let mut fields =
                    serializer.serialize_struct_variant("E", 0, name, members.len())?;
                for (key, value) in members {
                    fields.serialize_field(key, value)?;
                }
                fields.end()
            }
            Self::Value(value) => value.serialize(serializer),
            Self::Fails => Err(S::Error::custom("as it should")),
            Self::Swallows(items) => {
                let mut sequence = serializer.serialize_seq(None)?;
                for item in items {
                    drop(sequence.serialize_element(item));
                }
                sequence.end()
            }
        }
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "b", "c", "\"", "", "$date", "$escape", "$type", "$value", "0", "17", "01",
    ])
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<i64>().prop_map(|number| number as f64),
        (-100..100).prop_map(f64::from),
        prop::sample::select(vec![-0.0, 0.1, 1e21, 9_007_199_254_740_993.0, f64::NAN]),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    let wild = |text: &str| parse(text, &JsonLimits::default()).unwrap();
    prop_oneof![
        4 => any::<String>().prop_map(Text::from),
        4 => "[a-z\"\\\\\n\u{1f}é😀]{0,40}".prop_map(Text::from),
        1 => Just(wild(r#""a\ud800\udfff\udc00""#).as_text().unwrap().clone()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let special = prop_oneof![
        number().prop_map(|millis| Value::from(Date::from_millis(millis))),
        any::<Vec<u8>>().prop_map(|bytes| Value::from(Binary(bytes))),
        any::<[u8; 12]>().prop_map(|bytes| Value::from(ObjectId::from_bytes(bytes))),
        Just(Value::from(Regexp::new("a/[/]", "gi").unwrap())),
        Just(Value::from(Decimal::parse("1.50").unwrap())),
    ];
    let leaf = prop_oneof![
        2 => prop::sample::select(vec![Value::Undefined, Value::Null]),
        1 => any::<bool>().prop_map(Value::from),
        4 => number().prop_map(Value::from),
        6 => text().prop_map(Value::from),
        1 => special,
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        let key = prop_oneof![name().prop_map(Text::from), text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn anything() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Any::Bool),
        any::<i64>().prop_map(Any::I64),
        any::<u64>().prop_map(Any::U64),
        any::<i128>().prop_map(Any::I128),
        any::<f32>().prop_map(Any::F32),
        number().prop_map(Any::F64),
        any::<char>().prop_map(Any::Char),
        any::<String>().prop_map(Any::Str),
        name().prop_map(|name| Any::Str(name.into())),
        any::<Vec<u8>>().prop_map(Any::Bytes),
        prop::sample::select(vec![Any::None, Any::Unit, Any::UnitStruct]),
        name().prop_map(Any::UnitVariant),
    ];
    let leaf = prop_oneof![
        20 => leaf,
        6 => value().prop_map(Any::Value),
        2 => Just(Any::Value(Value::Undefined)),
        1 => Just(Any::Fails),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let items = || prop::collection::vec(inner.clone(), 0..4);
        let fields = || prop::collection::vec((name(), inner.clone()), 0..6);
        let key = prop_oneof![
            6 => name().prop_map(|name| Any::Str(name.into())),
            1 => text().prop_map(|text| Any::Value(text.into())),
            1 => inner.clone(),
        ];
        prop_oneof![
            one().prop_map(Any::Some),
            one().prop_map(Any::Newtype),
            (name(), one()).prop_map(|(name, value)| Any::NewtypeVariant(name, value)),
            items().prop_map(Any::Seq),
            items().prop_map(Any::Tuple),
            items().prop_map(Any::TupleStruct),
            items().prop_map(Any::Swallows),
            (name(), items()).prop_map(|(name, items)| Any::TupleVariant(name, items)),
            prop::collection::vec((key, inner.clone()), 0..6).prop_map(Any::Map),
            fields().prop_map(Any::Struct),
            (name(), fields()).prop_map(|(name, fields)| Any::StructVariant(name, fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn values_print_as_their_trees(value in value()) {
        agree(&value);
    }

    #[test]
    fn rust_types_print_as_their_trees(value in anything()) {
        agree(&value);
    }
}
