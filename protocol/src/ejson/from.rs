//! Conversions into a [`Value`].

use super::{Binary, Date, Decimal, Object, ObjectId, Regexp, Text, Value};

/// Integers lose precision beyond 2⁵³, as in JavaScript.
macro_rules! number {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Number(number as f64)
            }
        }
    )*};
}

macro_rules! variant {
    ($($kind:ty => $variant:ident),* $(,)?) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

number!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64);

variant! {
    bool => Bool,
    Text => String,
    String => String,
    &str => String,
    &String => String,
    &Text => String,
    Object => Object,
    Date => Date,
    Binary => Binary,
    ObjectId => ObjectId,
    Regexp => Regexp,
    Decimal => Decimal,
}

/// `()` is `null`.
impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Null
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// `None` is `null`.
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}
