//! Makes a tree of YAML. The parser stops at its first error; duplicate keys are none, since both
//! of their places are to be told.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location as Found, Spanned, from_str_with_options};

use super::tree::{Node, Value};
use crate::registry::Location;
use crate::registry::problem::Problem;

pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Node, Vec<Problem>> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    match from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(file, raw)),
        Err(error) => {
            let tabs = tabs(file, text);
            if !tabs.is_empty() {
                return Err(tabs);
            }
            let at = location(file, error.location().unwrap_or(Found::UNKNOWN));
            Err(vec![Problem::new(&at, reason(&error.to_string()))])
        }
    }
}

/// The lines that are indented with a tab, which the parser says less plainly.
fn tabs(file: &Arc<str>, text: &str) -> Vec<Problem> {
    let lines = (1..).zip(text.lines());
    let problems = lines.filter_map(|(number, line)| {
        let rest = line.trim_start();
        let indent = line.strip_suffix(rest)?;
        let column = indent.chars().position(|letter| letter == '\t')?;
        let column = u32::try_from(column).ok()?.saturating_add(1);
        (!rest.is_empty() && !rest.starts_with('#')).then(|| {
            let at = Location::new(file, number, column);
            Problem::new(&at, "the line is indented with a tab; use spaces")
        })
    });
    problems.collect()
}

/// The parser's words, without the place, which stands in front already.
fn reason(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    let first = match first.split_once(": ") {
        Some((place, words)) if place.starts_with("error") || place.starts_with("line ") => words,
        _ => first,
    };
    if first.starts_with("multiple YAML documents") {
        return "this has two documents; give the second one a file of its own".into();
    }
    format!("this is not YAML: {first}")
}

fn node(file: &Arc<str>, raw: Spanned<Raw>) -> Node {
    let at = location(file, raw.referenced);
    let value = match raw.value {
        Raw::Map(entries) => {
            let entries = entries.into_iter();
            Value::Map(
                entries
                    .map(|(key, it)| (node(file, key), node(file, it)))
                    .collect(),
            )
        }
        Raw::List(items) => Value::List(items.into_iter().map(|it| node(file, it)).collect()),
        Raw::Text(text) => Value::Text(text),
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number => Value::Other("a number"),
        Raw::Nothing => Value::Nothing,
    };
    Node { at, value }
}

fn location(file: &Arc<str>, found: Found) -> Location {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Location::new(file, number(found.line()), number(found.column()))
}

/// A part of a file as the parser gives it.
enum Raw {
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
    List(Vec<Spanned<Self>>),
    Text(String),
    Bool(bool),
    Number,
    Nothing,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list or a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
}
