//! EJSON's forms, such as `{"$date":5}`: which exist, and how an object is recognised as one.
//! `decode` turns a form into its value, `encode` and `write` do the reverse.

use super::{Object, Text};

/// The shapes of plain objects that represent other values. Used in both directions: an object that
/// only looks like one of them is escaped when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Date,
    Regexp,
    InfNan,
    Binary,
    Escape,
    Type,
}

impl Form {
    pub(super) fn of(object: &Object) -> Option<Self> {
        let mut keys = object.keys();
        match (
            keys.next()?.to_str()?,
            keys.next().map(Text::to_str),
            keys.next(),
        ) {
            ("$date", None, None) => Some(Self::Date),
            ("$InfNaN", None, None) => Some(Self::InfNan),
            ("$binary", None, None) => Some(Self::Binary),
            ("$escape", None, None) => Some(Self::Escape),
            ("$regexp", Some(Some("$flags")), None) | ("$flags", Some(Some("$regexp")), None) => {
                Some(Self::Regexp)
            }
            ("$type", Some(Some("$value")), None) | ("$value", Some(Some("$type")), None) => {
                Some(Self::Type)
            }
            _ => None,
        }
    }
}

/// The numbers that JSON cannot express.
#[derive(Clone, Copy)]
pub(super) enum InfNan {
    Nan,
    Positive,
    Negative,
}

impl InfNan {
    pub(super) fn of(number: f64) -> Option<Self> {
        match number {
            f64::INFINITY => Some(Self::Positive),
            f64::NEG_INFINITY => Some(Self::Negative),
            _ => number.is_nan().then_some(Self::Nan),
        }
    }

    pub(super) fn code(self) -> f64 {
        match self {
            Self::Nan => 0.0,
            Self::Positive => 1.0,
            Self::Negative => -1.0,
        }
    }
}
