//! Decodes EJSON's forms: turns a plain value into one with dates, bytes and so on.

use super::coerce::{to_number, to_text};
use super::form::Form;
use super::number::number_text;
use super::text::TextBuilder;
use super::{Binary, Date, Decimal, Object, ObjectId, ParseError, Regexp, Text, Value};

impl Value {
    /// Replaces EJSON's forms by the values that they represent, at every depth.
    ///
    /// # Errors
    ///
    /// If Meteor could not decode a form, for example one with an unknown `$type`. An ObjectID of
    /// `""`, for which Meteor makes an id, is an error too; [`decode_with`](Self::decode_with)
    /// makes one. So are the 257th pattern in one value, and a `$escape` of strings with more than
    /// 10,000 characters.
    pub fn decode(self) -> Result<Self, ParseError> {
        self.decode_with(|| None)
    }

    /// As [`decode`](Self::decode), with a function that makes the id of an ObjectID that was sent
    /// without one, as `""`, `null`, `false` or 0.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), and if the function returns `None`.
    pub fn decode_with(
        self,
        mut new_object_id: impl FnMut() -> Option<ObjectId>,
    ) -> Result<Self, ParseError> {
        Decoder::new(false, &mut new_object_id).value(self)
    }

    /// As [`decode`](Self::decode), but an object that cannot be decoded stays a plain object.
    pub fn decode_lenient(self) -> Self {
        // In this mode no form is an error.
        let decoded = Decoder::new(true, &mut || None).value(self);
        decoded.unwrap_or_default()
    }
}

// The two things here that cost much more than their length: a pattern is checked, and a string in
// `$escape` becomes an object with a member for each character.
const MAX_PATTERNS: usize = 256;
const MAX_CHARACTERS: usize = 10_000;

struct Decoder<'a> {
    lenient: bool,
    new_object_id: &'a mut dyn FnMut() -> Option<ObjectId>,
    /// How many more patterns may follow.
    patterns: usize,
    /// How many more characters may become members.
    characters: usize,
}

impl<'a> Decoder<'a> {
    fn new(lenient: bool, new_object_id: &'a mut dyn FnMut() -> Option<ObjectId>) -> Self {
        Self {
            lenient,
            new_object_id,
            patterns: MAX_PATTERNS,
            characters: MAX_CHARACTERS,
        }
    }

    // The recursion is as deep as the value is nested, which `parse` has bounded.
    fn value(&mut self, value: Value) -> Result<Value, ParseError> {
        match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.value(item))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Object(mut object) => {
                if let Some(form) = Form::of(&object) {
                    match self.form(form, &mut object) {
                        Err(_) if self.lenient => {}
                        decoded => return decoded,
                    }
                }
                self.values(&mut object)?;
                Ok(Value::Object(object))
            }
            other => Ok(other),
        }
    }

    fn values(&mut self, object: &mut Object) -> Result<(), ParseError> {
        for value in object.values_mut() {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                *value = self.value(value.take())?;
            }
        }
        Ok(())
    }

    /// If this fails in lenient mode, `object` is unchanged.
    fn form(&mut self, form: Form, object: &mut Object) -> Result<Value, ParseError> {
        let member = |key| object.get(key).unwrap_or(&Value::Undefined);
        match form {
            Form::Date => Ok(Value::Date(decode_date(member("$date"))?)),
            Form::InfNan => Ok(Value::Number(to_number(member("$InfNaN"))? / 0.0)),
            Form::Binary => {
                let Value::String(text) = member("$binary") else {
                    return Err(ParseError::ejson("$binary is not a string"));
                };
                let bytes = Binary::from_base64(&text.to_string_lossy());
                let bytes = bytes.ok_or_else(|| ParseError::ejson("$binary is not base64"))?;
                Ok(Value::Binary(bytes))
            }
            Form::Regexp => {
                let left = self.patterns.checked_sub(1);
                self.patterns = left.ok_or_else(|| ParseError::ejson("too many patterns"))?;
                decode_regexp(member("$regexp"), member("$flags"))
            }
            Form::Type => match (member("$type").as_str(), member("$value")) {
                (Some("oid"), value) if value.is_falsy() => (self.new_object_id)()
                    .map(Value::ObjectId)
                    .ok_or_else(|| ParseError::ejson("an ObjectID without an id")),
                (name, value) => decode_type(name, value),
            },
            Form::Escape => {
                match member("$escape") {
                    Value::Null | Value::Undefined => {
                        return Err(ParseError::ejson("$escape of nothing"));
                    }
                    Value::String(text) => {
                        let left = self.characters.checked_sub(text.units().count());
                        self.characters =
                            left.ok_or_else(|| ParseError::ejson("$escape of a long string"))?;
                    }
                    _ => {}
                }
                let mut object = unescape(
                    object
                        .get_mut("$escape")
                        .map(Value::take)
                        .unwrap_or_default(),
                );
                self.values(&mut object)?;
                Ok(Value::Object(object))
            }
        }
    }
}

fn decode_date(value: &Value) -> Result<Date, ParseError> {
    Ok(match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Date::parse(&to_text(value)?.to_string_lossy())
        }
        _ => Date::from_millis(to_number(value)?),
    })
}

fn decode_regexp(source: &Value, flags: &Value) -> Result<Value, ParseError> {
    // JavaScript reads a missing source as an empty one.
    let source = match source {
        Value::Undefined => Text::default(),
        source => to_text(source)?,
    };
    let Value::String(flags) = flags else {
        return Err(ParseError::ejson("$flags is not a string"));
    };
    Ok(Value::from(Regexp::new(source, &flags.to_string_lossy())?))
}

fn decode_type(name: Option<&str>, value: &Value) -> Result<Value, ParseError> {
    match (name, value) {
        (Some("oid"), value) => Ok(Value::ObjectId(
            value.as_str().unwrap_or_default().parse::<ObjectId>()?,
        )),
        (Some("Decimal"), Value::String(text)) => {
            Ok(Value::from(Decimal::parse(&text.to_string_lossy())?))
        }
        (Some("Decimal"), Value::Number(number)) => {
            Ok(Value::from(Decimal::parse(&number_text(*number))?))
        }
        (Some("Decimal"), _) => Err(ParseError::ejson("not a decimal number")),
        _ => Err(ParseError::ejson("unknown $type")),
    }
}

/// The members that JavaScript finds in a value: those of arrays and strings are numbered, other
/// kinds have none.
fn unescape(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        Value::Array(items) => numbered(items.into_iter()),
        Value::String(text) => numbered(text.units().map(|unit| {
            let mut character = TextBuilder::default();
            character.push_unit(unit);
            Value::String(character.finish())
        })),
        _ => Object::new(),
    }
}

fn numbered(values: impl Iterator<Item = Value>) -> Object {
    values
        .enumerate()
        .map(|(index, value)| (index.to_string(), value))
        .collect()
}

#[cfg(test)]
mod tests;
