//! How a [`Value`] passes through serde whole. Serde's model has no dates or `undefined`, so a value
//! announces itself as a newtype struct with a name of its own; our serializers and our deserializer
//! know the name and take the value from a slot of this thread, every other format sees the EJSON
//! form.

use std::cell::Cell;
use std::mem;

use serde::de::Visitor;
use serde::ser::{Serialize, Serializer};

use super::printer::{PrintedKind, Printer};
use super::{SerdeError, Value};

/// The name that no other type has.
pub(super) const NAME: &str = "$updraft_protocol::ejson::Value";

/// Filled and emptied within one call of [`receive`], [`lend`] or [`offer`].
enum Slot {
    Empty,
    /// Our serializer is calling; the value is to be put here.
    Asked,
    /// Our printer is calling; the value is to print itself.
    Lent(Printer),
    /// It has, or left it to the tree.
    Printed(Printer, Option<PrintedKind>),
    /// The value in transit.
    Filled(Value),
}

thread_local! {
    static SLOT: Cell<Slot> = const { Cell::new(Slot::Empty) };
}

/// What our serializers do with a newtype struct called [`NAME`].
///
/// # Errors
///
/// What `serializer` made of it, if it has been through another format and is no value any more.
pub(super) fn receive<T: Serialize + ?Sized, S: Serializer>(
    newtype: &T,
    serializer: S,
) -> Result<Value, Result<S::Ok, S::Error>> {
    SLOT.set(Slot::Asked);
    let result = newtype.serialize(serializer);
    match SLOT.replace(Slot::Empty) {
        Slot::Filled(value) => Ok(value),
        _ => Err(result),
    }
}

/// What our printer does with a newtype struct called [`NAME`]: the value is printed without a copy
/// of it. `None` if that is left to the tree. The `serializer` gets nothing of the value.
pub(super) fn lend<T: Serialize + ?Sized, S: Serializer>(
    printer: &mut Printer,
    newtype: &T,
    serializer: S,
) -> Option<PrintedKind> {
    SLOT.set(Slot::Lent(mem::take(printer)));
    // What counts is in the slot: see `answer`.
    drop(newtype.serialize(serializer));
    match SLOT.replace(Slot::Empty) {
        Slot::Printed(printed, kind) => {
            *printer = printed;
            kind
        }
        _ => None,
    }
}

/// What a value does that is called to serialize itself: it goes through the slot if one of ours is
/// calling. `false` if it is another format.
pub(super) fn answer(value: &Value) -> bool {
    match SLOT.replace(Slot::Empty) {
        Slot::Asked => SLOT.set(Slot::Filled(value.clone())),
        Slot::Lent(mut printer) => {
            let kind = printer.value(value);
            SLOT.set(Slot::Printed(printer, kind));
        }
        _ => return false,
    }
    true
}

/// What our deserializer does when asked for a newtype struct called [`NAME`].
pub(super) fn offer<'de, V: Visitor<'de>>(
    value: Value,
    visitor: V,
) -> Result<V::Value, SerdeError> {
    SLOT.set(Slot::Filled(value));
    let result = visitor.visit_unit();
    SLOT.set(Slot::Empty);
    result
}

/// What a value's visitor does with a unit: the value that our deserializer offers, if it is ours.
pub(super) fn accept() -> Option<Value> {
    match SLOT.replace(Slot::Empty) {
        Slot::Filled(value) => Some(value),
        _ => None,
    }
}
