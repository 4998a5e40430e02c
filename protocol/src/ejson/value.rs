//! The value type: JSON's kinds, `undefined`, and EJSON's own kinds.

mod object;

pub use object::{IntoIter, Iter, Object};

use super::{Binary, Date, Decimal, ObjectId, Regexp, Text};

/// Anything that DDP can carry in `params`, `fields` or `result`.
///
/// `==` compares the contents, in any order of keys, with NaN equal to NaN and 0 equal to −0.
/// [`equals`](super::equals) has JavaScript's exceptions: two patterns are always equal, two
/// invalid dates never are.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// JavaScript's `undefined`: as a member of an object it is omitted from the text.
    #[default]
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A double, JavaScript's only kind of number.
    Number(f64),
    /// A string.
    String(Text),
    /// An array.
    Array(Vec<Self>),
    /// A plain object.
    Object(Object),
    /// A date.
    Date(Date),
    /// Bytes.
    Binary(Binary),
    /// MongoDB's document id.
    ObjectId(ObjectId),
    /// A pattern. It is never executed.
    Regexp(Box<Regexp>),
    /// A decimal number, as text.
    Decimal(Box<Decimal>),
}

impl Value {
    /// The string, unless it is something else or holds lone surrogates.
    pub fn as_str(&self) -> Option<&str> {
        self.as_text().and_then(Text::to_str)
    }

    /// The string, including one with lone surrogates.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The members of the array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of the array, mutable.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The plain object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The plain object, mutable.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The date.
    pub fn as_date(&self) -> Option<Date> {
        match self {
            Self::Date(date) => Some(*date),
            _ => None,
        }
    }

    /// A member of a plain object; `None` for every other kind.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is `undefined`.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// Whether the value is falsy in JavaScript: `undefined`, `null`, `false`, 0, −0, NaN and `""`.
    pub fn is_falsy(&self) -> bool {
        match self {
            Self::Undefined | Self::Null => true,
            Self::Bool(value) => !value,
            Self::Number(number) => *number == 0.0 || number.is_nan(),
            Self::String(text) => text.is_empty(),
            _ => false,
        }
    }

    /// Replaces the value by `undefined` and returns it.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::ObjectId(a), Self::ObjectId(b)) => a == b,
            (Self::Regexp(a), Self::Regexp(b)) => a == b,
            (Self::Decimal(a), Self::Decimal(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_small() {
        assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
    }

    #[test]
    fn falsy_is_javascripts() {
        for falsy in [
            Value::Undefined,
            Value::Null,
            false.into(),
            0.into(),
            (-0.0).into(),
            f64::NAN.into(),
            "".into(),
        ] {
            assert!(falsy.is_falsy(), "{falsy:?}");
        }
        for truthy in [
            true.into(),
            1.into(),
            "0".into(),
            Value::Array(vec![]),
            Object::new().into(),
        ] {
            assert!(!Value::is_falsy(&truthy), "{truthy:?}");
        }
    }
}
