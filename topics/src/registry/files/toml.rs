//! Makes a tree of TOML. The parser says all errors of the text at once.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Node, Value};
use crate::registry::Location;
use crate::registry::problem::Problem;

pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Node, Vec<Problem>> {
    let places = Places { file, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(places.table(span, table.into_inner()));
    }
    let problems = errors.into_iter().map(|error| {
        let at = places.location(&error.span().unwrap_or_default());
        Problem::new(&at, format!("this is not TOML: {}", error.message()))
    });
    Err(problems.collect())
}

/// Where parts of a text are.
struct Places<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Places<'_> {
    fn table(&self, span: Range<usize>, table: DeTable<'_>) -> Node {
        let mut entries: Vec<_> = table.into_iter().collect();
        // The parser has them by name.
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let at = self.location(&key.span());
            let key: Cow<'_, str> = key.into_inner();
            let value_of_key = Value::Text(key.into_owned());
            (
                Node {
                    at,
                    value: value_of_key,
                },
                self.node(value),
            )
        });
        Node {
            value: Value::Map(entries.collect()),
            at: self.location(&span),
        }
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let at = self.location(&span);
        let value = match value.into_inner() {
            DeValue::Table(table) => return self.table(span, table),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Integer(_) | DeValue::Float(_) => Value::Other("a number"),
            DeValue::Datetime(_) => Value::Other("a time"),
        };
        Node { at, value }
    }

    fn location(&self, span: &Range<usize>) -> Location {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        Location::new(
            self.file,
            number(lines.saturating_add(1)),
            number(line.chars().count().saturating_add(1)),
        )
    }
}
