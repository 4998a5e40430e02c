//! The value of a slot's register.
//!
//! `format: 1 byte, owner: 16 bytes (0 if it has none)`, then numbers of 7 bits a byte, the lowest
//! first: generation, redeliveries, parked, and how many topics there are. For each of these: its
//! epoch, the offset of the floor and its mark (0 if it is not known), the highest offset that was
//! handed out, the lowest one that may have a record which was not, how many records are finished, how many offsets were lost, and how many records
//! follow: those up to the highest that are not finished. For each of these: how far it is behind
//! the one before it, 0 if it waits, 1 if a member has it, 2 if it waits for a time, how often it
//! was handed out, and that time, in milliseconds since 1970.
//!
//! So what is finished above the floor is what lies between those that are not.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::part::{Part, Recovered, State};
use crate::group::ids::{Millis, ProcessId};
use crate::{Damaged, Epoch, Offset, Place};

const FORMAT: u8 = 1;

const WAITING: u8 = 0;
const IN_FLIGHT: u8 = 1;
const RETRY: u8 = 2;

/// A moment, on the monotonic clock and as the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) mono: Millis,
    pub(crate) wall: u64,
}

/// What a register says.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) generation: u64,
    pub(crate) redeliveries: u64,
    pub(crate) parked: u64,
    pub(crate) parts: Vec<StoredPart>,
}

/// What a register says of a topic.
#[derive(Debug)]
pub(crate) struct StoredPart {
    pub(crate) floor: Place,
    pub(crate) begun: Offset,
    /// The lowest offset that may have a record which was never handed out.
    pub(crate) undelivered: Offset,
    pub(crate) finished: u64,
    pub(crate) lost: u64,
    /// What is not finished, up to `begun`.
    pub(crate) unfinished: BTreeMap<Offset, Recovered>,
}

impl Stored {
    pub(crate) fn decode(mut value: Bytes) -> Result<Self, Damaged> {
        if take_u8(&mut value)? != FORMAT {
            return Err(Damaged);
        }
        // Its owner, see `owner_of`.
        value.try_get_u128().map_err(|_| Damaged)?;
        let generation = take(&mut value)?;
        let redeliveries = take(&mut value)?;
        let parked = take(&mut value)?;
        let count = take(&mut value)?;
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(StoredPart::decode(&mut value)?);
        }
        if !value.is_empty() {
            return Err(Damaged);
        }
        Ok(Self {
            generation,
            redeliveries,
            parked,
            parts,
        })
    }
}

impl StoredPart {
    fn decode(value: &mut Bytes) -> Result<Self, Damaged> {
        let epoch = Epoch::from_u64(value.try_get_u64().map_err(|_| Damaged)?);
        let floor = take(value)?;
        let mark = u32::try_from(take(value)?).map_err(|_| Damaged)?;
        let begun = take(value)?;
        let undelivered = take(value)?;
        let finished = take(value)?;
        let lost = take(value)?;
        let count = take(value)?;
        let mut unfinished = BTreeMap::new();
        let mut last = floor;
        for _ in 0..count {
            last = last.checked_add(take(value)?).ok_or(Damaged)?;
            let state = take_u8(value)?;
            let attempts = u32::try_from(take(value)?).map_err(|_| Damaged)?;
            let due = match state {
                WAITING | IN_FLIGHT => None,
                RETRY => Some(take(value)?),
                _ => return Err(Damaged),
            };
            let recovered = Recovered {
                attempts,
                was_in_flight: state == IN_FLIGHT,
                due,
            };
            unfinished.insert(last, recovered);
        }
        let floor = match (floor, mark) {
            (0, _) => Place::start(epoch),
            (offset, 0) => Place::unmarked(epoch, offset),
            (offset, mark) => Place::new(epoch, offset, mark),
        };
        Ok(Self {
            floor,
            begun,
            undelivered,
            finished,
            lost,
            unfinished,
        })
    }
}

/// Who owns the slot of this register.
pub(crate) fn owner_of(value: &[u8]) -> Option<ProcessId> {
    let bytes = value.get(1..17)?.try_into().ok()?;
    ProcessId::from_u128(u128::from_be_bytes(bytes))
}

pub(super) fn encode_head(owner: Option<ProcessId>, numbers: [u64; 4]) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_u8(FORMAT);
    out.put_u128(owner.map_or(0, ProcessId::to_u128));
    for number in numbers {
        put(&mut out, number);
    }
    out
}

impl Part {
    pub(super) fn encode(&self, out: &mut BytesMut, now: Now) {
        let floor = self.floor();
        out.put_u64(floor.epoch.to_u64());
        put(out, floor.offset);
        put(out, u64::from(floor.mark.unwrap_or_default()));
        put(out, self.begun);
        put(out, self.undelivered());
        put(out, self.finished);
        put(out, self.lost);
        let open = self.open.range(..=self.begun);
        let open = open.map(|(offset, open)| {
            let (state, due) = match &open.state {
                State::Waiting | State::Parking => (WAITING, None),
                State::InFlight(_) => (IN_FLIGHT, None),
                State::Retry { due } => {
                    let left = due.saturating_sub(now.mono);
                    (RETRY, Some(now.wall.saturating_add(left)))
                }
            };
            (*offset, state, open.attempts, due)
        });
        let recovered = self.recovered.iter().map(|(offset, record)| {
            let state = match record.due {
                Some(_) => RETRY,
                None if record.was_in_flight => IN_FLIGHT,
                None => WAITING,
            };
            (*offset, state, record.attempts, record.due)
        });
        // What was recovered and not read lies behind what was read.
        let unfinished: Vec<_> = open.chain(recovered).collect();
        put(out, u64::try_from(unfinished.len()).unwrap_or(u64::MAX));
        let mut last = floor.offset;
        for (offset, state, attempts, due) in unfinished {
            put(out, offset.saturating_sub(last));
            last = offset;
            out.put_u8(state);
            put(out, u64::from(attempts));
            if let Some(due) = due {
                put(out, due);
            }
        }
    }
}

impl Part {
    fn undelivered(&self) -> Offset {
        let mut open = self.open.iter();
        let waiting = open.find(|(_, open)| open.attempts == 0);
        match waiting {
            Some((offset, _)) => *offset,
            None => self.scanned.offset.saturating_add(1),
        }
    }
}

fn put(out: &mut BytesMut, mut number: u64) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

fn take(value: &mut Bytes) -> Result<u64, Damaged> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(value)?;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return Err(Damaged);
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn take_u8(value: &mut Bytes) -> Result<u8, Damaged> {
    value.try_get_u8().map_err(|_| Damaged)
}
