//! EJSON: the values that DDP carries, and their text. Values are parsed ([`parse()`], then
//! [`Value::decode`]), written ([`to_ejson`], [`to_json`]), compared ([`equals()`]) and converted
//! to and from Rust types ([`from_value`], [`to_value`]). [`print()`] writes a Rust value without
//! building a [`Value`]; `scan` checks a payload that is passed on unchanged.

mod binary;
mod coerce;
mod date;
mod de;
mod decimal;
mod decode;
mod encode;
mod equals;
mod error;
mod form;
mod from;
mod id;
mod impls;
mod json;
mod key;
mod macros;
mod memory;
mod number;
mod object_id;
mod parse;
mod print;
mod printer;
mod regexp;
mod scan;
mod ser;
mod slot;
mod string;
mod stringify;
mod text;
mod value;
mod write;

pub use binary::Binary;
pub use date::Date;
pub use de::from_value;
pub use decimal::Decimal;
pub use equals::{equals, equals_with};
pub use error::{ParseError, ParseErrorKind, ScanError, SerdeError};
pub use json::JsonLimits;
pub use object_id::ObjectId;
pub use parse::parse;
pub use regexp::Regexp;
pub use ser::to_value;
pub use stringify::{Indent, Style, stringify};
pub use text::Text;
pub use value::{IntoIter, Iter, Object, Value};
pub use write::{to_ejson, to_json};

// What the macro needs, and what lets the server pass values on without making trees of them;
// subject to no promise.
#[doc(hidden)]
pub use id::wire_id;
#[doc(hidden)]
pub use macros::interpolate;
#[doc(hidden)]
pub use print::{Print, print};
#[doc(hidden)]
pub use scan::{Scan, scan};
#[doc(hidden)]
pub use string::write_string;
#[doc(hidden)]
pub use write::{write_ejson, write_json};
