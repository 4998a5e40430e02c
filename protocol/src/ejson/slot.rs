//! How a [`Value`] passes through serde unchanged. Serde's data model has no dates and no
//! `undefined`. So a value serializes as a newtype struct with a unique name. Our serializers and
//! our deserializer know that name, and pass the value through a thread-local slot; every other
//! format sees the EJSON form.

use std::cell::Cell;
use std::mem;

use serde::de::Visitor;
use serde::ser::{Serialize, Serializer};

use super::printer::{PrintedKind, Printer};
use super::{SerdeError, Value};

/// A name that no other type has.
pub(super) const NAME: &str = "$updraft_protocol::ejson::Value";

/// Filled and emptied within one call of [`request_value`], [`request_print`] or [`offer`].
enum Slot {
    Empty,
    /// Our serializer is calling; the value goes here.
    AwaitingValue,
    /// Our printer is calling; the value prints itself.
    AwaitingPrint(Printer),
    /// The value has printed itself, or (`None`) has left that to the tree.
    Printed(Printer, Option<PrintedKind>),
    /// The value in transit.
    Filled(Value),
}

thread_local! {
    static SLOT: Cell<Slot> = const { Cell::new(Slot::Empty) };
}

/// Called by our serializers for a newtype struct called [`NAME`].
///
/// # Errors
///
/// The result of `serializer`, if the value has passed through another format and is no [`Value`]
/// any more.
pub(super) fn request_value<T: Serialize + ?Sized, S: Serializer>(
    newtype: &T,
    serializer: S,
) -> Result<Value, Result<S::Ok, S::Error>> {
    SLOT.set(Slot::AwaitingValue);
    let result = newtype.serialize(serializer);
    match SLOT.replace(Slot::Empty) {
        Slot::Filled(value) => Ok(value),
        _ => Err(result),
    }
}

/// Called by our printer for a newtype struct called [`NAME`]: prints the value without a copy of
/// it. `None` leaves that to the tree. The `serializer` gets nothing of the value.
pub(super) fn request_print<T: Serialize + ?Sized, S: Serializer>(
    printer: &mut Printer,
    newtype: &T,
    serializer: S,
) -> Option<PrintedKind> {
    SLOT.set(Slot::AwaitingPrint(mem::take(printer)));
    // The result is in the slot: see `respond`.
    drop(newtype.serialize(serializer));
    match SLOT.replace(Slot::Empty) {
        Slot::Printed(printed, kind) => {
            *printer = printed;
            kind
        }
        _ => None,
    }
}

/// Called by a value that is asked to serialize itself: passes it through the slot if the caller is
/// ours. `false` if the caller is another format.
pub(super) fn respond(value: &Value) -> bool {
    match SLOT.replace(Slot::Empty) {
        Slot::AwaitingValue => SLOT.set(Slot::Filled(value.clone())),
        Slot::AwaitingPrint(mut printer) => {
            let kind = printer.value(value);
            SLOT.set(Slot::Printed(printer, kind));
        }
        _ => return false,
    }
    true
}

/// Called by our deserializer for a newtype struct called [`NAME`].
pub(super) fn offer<'de, V: Visitor<'de>>(
    value: Value,
    visitor: V,
) -> Result<V::Value, SerdeError> {
    SLOT.set(Slot::Filled(value));
    let result = visitor.visit_unit();
    SLOT.set(Slot::Empty);
    result
}

/// Called by a value's visitor for a unit: the value that our deserializer offers, if the caller is
/// ours.
pub(super) fn accept() -> Option<Value> {
    match SLOT.replace(Slot::Empty) {
        Slot::Filled(value) => Some(value),
        _ => None,
    }
}
