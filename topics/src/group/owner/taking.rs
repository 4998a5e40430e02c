//! Takes slots that nobody has, with all that is known of their records.

use std::sync::Arc;

use crate::group::context::Context;
use crate::group::slot::{Now, Slot};
use crate::{Epoch, Place, Register, Swap, Swapped, TopicError, Version};

/// Takes these slots, as far as nobody else was faster.
pub(super) async fn take(
    context: &Context,
    registers: &[Option<Register>],
    numbers: Vec<usize>,
    clocks: Now,
) -> Result<Vec<(usize, Slot, Version)>, TopicError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut slots = Vec::with_capacity(numbers.len());
    let mut swaps = Vec::with_capacity(numbers.len());
    for number in numbers {
        let register = registers.get(number).and_then(Option::as_ref);
        let mut slot = slot_of(context, number, register);
        slot.next_owner();
        let value = slot.encode(Some(context.beats.id), clocks);
        slot.set_written();
        let expected = register.map(|register| register.version);
        swaps.push(Swap::write(context.name.slot(number), expected, value)?);
        slots.push((number, slot));
    }
    let swapped = context.registers.swap(swaps).await?;
    let taken = slots.into_iter().zip(swapped);
    let taken = taken.filter_map(|((number, slot), swapped)| match swapped {
        Swapped::Written(version) => Some((number, slot, version)),
        Swapped::Removed | Swapped::Conflict { .. } => None,
    });
    Ok(taken.collect())
}

fn slot_of(context: &Context, number: usize, register: Option<&Register>) -> Slot {
    let options = Arc::clone(&context.options);
    if let Some(register) = register {
        match Slot::decode(Arc::clone(&options), number, register.value.clone()) {
            Ok(slot)
                if slot
                    .scanned(context.inputs.len().saturating_sub(1))
                    .is_some() =>
            {
                return slot;
            }
            _ => {
                let group = &context.name;
                tracing::error!(%group, number, "a slot is damaged and begins anew");
            }
        }
    }
    let dead_letters = Place::start(Epoch::from_u64(0));
    let mut starts = context.starts.clone();
    starts.resize(context.inputs.len(), dead_letters);
    Slot::new(options, number, &starts)
}
