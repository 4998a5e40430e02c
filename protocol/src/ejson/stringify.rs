//! EJSON text with the keys sorted, or indented, like Meteor's `EJSON.stringify`: for comparisons
//! and for people.

use super::encode::encode;
use super::write::write_json;
use super::{Object, Text, Value};

/// How [`stringify()`] prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Style {
    /// Sorts the keys of every object as strings, `"10"` before `"9"`.
    pub canonical: bool,
    /// One member per line, with this indentation; `None` writes everything on one line.
    pub indent: Option<Indent>,
}

/// The indentation of a member for each level of nesting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Indent {
    /// This many spaces. Meteor's `indent: true` is two.
    Spaces(usize),
    /// This text.
    Text(String),
}

impl Style {
    /// Everything on one line, keys in their order.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sorts the keys.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.canonical = true;
        self
    }

    /// Prints one member a line.
    #[must_use]
    pub fn indent(mut self, indent: Indent) -> Self {
        self.indent = Some(indent);
        self
    }
}

/// The EJSON text of a value in a style.
pub fn stringify(value: &Value, style: &Style) -> String {
    let indent = match &style.indent {
        None => String::new(),
        Some(Indent::Spaces(count)) => " ".repeat(*count),
        Some(Indent::Text(text)) => text.clone(),
    };
    let mut layout = Layout {
        out: String::new(),
        canonical: style.canonical,
        indent,
        level: 0,
    };
    layout.value(&encode(value));
    layout.out
}

struct Layout {
    out: String,
    canonical: bool,
    indent: String,
    level: usize,
}

impl Layout {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(items) => self.all('[', ']', items, Self::value),
            Value::Object(object) => {
                self.all('{', '}', self.members(object), |layout, (key, value)| {
                    key.write_literal(&mut layout.out);
                    layout
                        .out
                        .push_str(if layout.indent.is_empty() { ":" } else { ": " });
                    layout.value(value);
                })
            }
            scalar => write_json(scalar, &mut self.out),
        }
    }

    fn members<'a>(&self, object: &'a Object) -> Vec<(&'a Text, &'a Value)> {
        let mut members: Vec<_> = object
            .iter()
            .filter(|(_, value)| !value.is_undefined())
            .collect();
        if self.canonical {
            members.sort_by(|(a, _), (b, _)| a.cmp_units(b));
        }
        members
    }

    fn all<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        print: impl Fn(&mut Self, T),
    ) {
        self.out.push(open);
        self.level += 1;
        let mut first = true;
        for item in items {
            if !first {
                self.out.push(',');
            }
            first = false;
            self.line();
            print(self, item);
        }
        self.level -= 1;
        if !first {
            self.line();
        }
        self.out.push(close);
    }

    fn line(&mut self) {
        if !self.indent.is_empty() {
            self.out.push('\n');
            self.out
                .extend(std::iter::repeat_n(self.indent.as_str(), self.level));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Date, Regexp};
    use super::*;
    use crate::ejson;

    #[test]
    fn ddp_198_canonical_text_sorts_keys_at_every_level() {
        let style = Style {
            canonical: true,
            indent: None,
        };
        let value = ejson!({ "b": [{ "z": 1, "a": 2 }], "9": 1, "10": 2, "\u{ffee}": 3, "😀": 4, "u": undefined });
        assert_eq!(
            stringify(&value, &style),
            "{\"10\":2,\"9\":1,\"b\":[{\"a\":2,\"z\":1}],\"😀\":4,\"\u{ffee}\":3}"
        );
        let value = ejson!({ "re": Regexp::new("a", "g").unwrap(), "d": Date::from_millis(1.0), "e": { "$date": 5 } });
        assert_eq!(
            stringify(&value, &style),
            r#"{"d":{"$date":1},"e":{"$escape":{"$date":5}},"re":{"$flags":"g","$regexp":"a"}}"#
        );
        assert_eq!(stringify(&ejson!(f64::NAN), &style), r#"{"$InfNaN":0}"#);
        assert_eq!(
            stringify(&ejson!(f64::NAN), &Style::default()),
            r#"{"$InfNaN":0}"#
        );
    }

    #[test]
    fn ddp_198_indented_text_has_a_member_a_line() {
        let value = ejson!({ "b": [1, []], "a": {} });
        let style = |canonical, indent| Style {
            canonical,
            indent: Some(indent),
        };
        assert_eq!(
            stringify(&value, &style(false, Indent::Spaces(2))),
            "{\n  \"b\": [\n    1,\n    []\n  ],\n  \"a\": {}\n}"
        );
        assert_eq!(
            stringify(&value, &style(true, Indent::Text("\t".into()))),
            "{\n\t\"a\": {},\n\t\"b\": [\n\t\t1,\n\t\t[]\n\t]\n}"
        );
        assert_eq!(
            stringify(&value, &Style::default()),
            r#"{"b":[1,[]],"a":{}}"#
        );
    }
}
