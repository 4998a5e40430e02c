//! What a parser makes of a file: parts with their places.

use crate::registry::Location;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Location,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Keys with what belongs to them, in the order of the file. Keys may be there twice.
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Text(String),
    Bool(bool),
    /// What no registry has, in words.
    Other(&'static str),
    Nothing,
}

impl Node {
    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Map(_) => "a map",
            Value::List(_) => "a list",
            Value::Text(_) => "text",
            Value::Bool(_) => "true or false",
            Value::Other(kind) => kind,
            Value::Nothing => "empty",
        }
    }
}
