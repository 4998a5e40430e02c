//! Which slots this process has: it takes those that nobody has, up to its share, and gives up what
//! it has beyond that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::taking::take;
use super::{Owned, Owner};
use crate::clock::now;
use crate::group::context::Context;
use crate::group::ids::ProcessId;
use crate::group::keys::SEATS;
use crate::group::meta::Meta;
use crate::group::seat::{MemberInfo, SeatInfo};
use crate::group::slot::{Now, Slot, owner_of};
use crate::{Register, Swap, Swapped, TopicError, Version};

/// How often the slots are looked at when nobody says that something has changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// How often what a seat says is written anew.
const SEAT_EVERY: Duration = Duration::from_secs(1);

/// Processes of one group that are looked at.
const PROCESSES: usize = 1000;

/// That this process takes part, as the register says.
#[derive(Clone, Default)]
pub(super) struct Seat {
    version: Option<Version>,
    value: String,
    looked: Option<Instant>,
    /// Whether something else may be to be said.
    pub(super) is_stale: bool,
}

/// What a process has seen and done.
pub(super) struct View {
    seat: Seat,
    /// `None` if the group is gone.
    meta: Option<Meta>,
    /// `None` if it has looked without taking part.
    target: Option<usize>,
    taken: Vec<(usize, Slot, Version)>,
    /// Slots that were this process' own with these versions, and are not any more.
    lost: Vec<(usize, Version)>,
    /// Whether some slots are still to be taken, by this process or by another one.
    is_unsettled: bool,
}

impl Seat {
    pub(super) fn is_empty(&self) -> bool {
        self.version.is_none()
    }

    /// When what it says is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        let looked = self.looked.filter(|_| self.is_stale)?;
        looked.checked_add(SEAT_EVERY)
    }
}

impl Owner {
    pub(super) fn look_if_due(&mut self) {
        if self.looking.is_some() {
            return;
        }
        let takes_part = self.takes_part();
        if !takes_part && self.seat.is_empty() {
            return;
        }
        let now = Instant::now();
        let is_due = now >= self.next_look;
        if !is_due && self.seat.next().is_none_or(|at| now < at) {
            return;
        }
        self.seat.is_stale = false;
        let info = takes_part.then(|| self.seat_info());
        self.tell_stalled(info.as_ref().map_or(0, |info| info.stalled));
        let value = info.map(|info| info.encode());
        if !is_due && value.as_deref() == Some(&*self.seat.value) {
            return;
        }
        if takes_part {
            let (tasks, closed) = (
                self.context.wake_ups.tasks(),
                self.context.wake_ups.closed(),
            );
            self.context.beats.start(tasks, closed);
        }
        let owned = self.slots.iter();
        let owned = owned.map(|owned| owned.as_ref().map(|owned| owned.version));
        let owned = owned.collect();
        let context = Arc::clone(&self.context);
        let (seat, now) = (self.seat.clone(), self.both_now());
        self.looking = Some(Box::pin(look(context, owned, value, seat, now)));
        // Often enough to say that the group is active.
        let inactive_after = Duration::from_millis(self.context.options.inactive_after);
        let most = LOOK_EVERY.min(inactive_after / 4).max(SHORTEST_LOOK);
        self.next_look = self.context.wake_ups.moment_after(most);
    }

    fn seat_info(&self) -> SeatInfo {
        let mut members: BTreeMap<&str, u64> = BTreeMap::new();
        for (id, name) in &self.members {
            let count = u64::try_from(self.in_flight_of(*id)).unwrap_or(u64::MAX);
            let sum = members.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
        let members = members.into_iter().map(|(name, in_flight)| MemberInfo {
            name: name.to_owned(),
            in_flight,
        });
        let slots = self.slots.iter().flatten();
        let stalled = slots.filter(|owned| owned.slot.is_stalled()).count();
        SeatInfo {
            members: members.collect(),
            stalled: u64::try_from(stalled).unwrap_or(u64::MAX),
        }
    }

    /// Says when slots begin to stand still.
    fn tell_stalled(&mut self, stalled: u64) {
        if stalled > 0 && self.stalled == 0 {
            let group = &self.context.name;
            tracing::warn!(
                %group,
                stalled,
                "lane-stalled: too many records wait behind some that are not finished, and no more \
                 are read of their slots"
            );
        }
        self.stalled = stalled;
    }

    pub(super) fn take_view(&mut self, view: Result<View, TopicError>) {
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                let group = &self.context.name;
                tracing::debug!(%group, %error, "the slots of a group cannot be looked at");
                self.next_look = later(self.context.beats.lease().mul_f64(0.05));
                return;
            }
        };
        let View {
            seat,
            meta,
            target,
            taken,
            lost,
            is_unsettled,
        } = view;
        let is_stale = self.seat.is_stale;
        self.seat = Seat { is_stale, ..seat };
        if !taken.is_empty() {
            self.check = self.check.saturating_add(1);
        }
        let since = self.check;
        if self.writing.is_none() {
            // What is being written finds out by itself.
            for (number, version) in lost {
                self.lose(number, version);
            }
        }
        for (number, slot, version) in taken {
            if let Some(place) = self.slots.get_mut(number) {
                *place = Some(Owned {
                    slot,
                    version,
                    replies: Vec::new(),
                    writing: Vec::new(),
                    moved: None,
                    since,
                    is_leaving: false,
                });
            }
        }
        let Some(meta) = meta else {
            self.give_up();
            return;
        };
        self.is_paused = meta.paused;
        if self.takes_part() {
            self.target = target;
        }
        if is_unsettled {
            let soon = later(self.context.beats.lease().mul_f64(0.2));
            self.next_look = self.next_look.min(soon);
        }
    }

    /// The group is gone.
    fn give_up(&mut self) {
        self.is_deleted = true;
        self.context.set_deleted();
        self.next_look = Instant::now();
        for place in &mut self.slots {
            if let Some(owned) = place.take() {
                owned.lose();
            }
        }
    }

    /// Gives up slots beyond the share, those first of which the least is in flight.
    pub(super) fn shed(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let target = match self.target {
            _ if self.members.is_empty() => 0,
            Some(target) => target,
            None => return,
        };
        let owned = self.slots.iter().flatten();
        if owned.filter(|owned| !owned.is_leaving).count() == target {
            return;
        }
        let mut owned: Vec<_> = self.slots.iter_mut().flatten().collect();
        owned.sort_by_key(|owned| (owned.is_leaving, std::cmp::Reverse(owned.slot.in_flight())));
        for (place, owned) in owned.into_iter().enumerate() {
            owned.is_leaving = place >= target;
        }
    }
}

fn later(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

/// Looks at all slots, and takes some. `owned` are the versions of those that this process has, and
/// `value` is what is to be said of it; `None` if it does not take part any more.
async fn look(
    context: Arc<Context>,
    owned: Vec<Option<Version>>,
    value: Option<String>,
    seat: Seat,
    clocks: Now,
) -> Result<View, TopicError> {
    let me = context.beats.id;
    let takes_part = value.is_some();
    if takes_part {
        let closed = context.wake_ups.closed();
        let valid = closed
            .run_until_cancelled(context.beats.until_valid())
            .await;
        valid.ok_or(TopicError::ShuttingDown)?;
    }
    let mut seat = sit(&context, value.clone(), seat).await?;
    let (processes, has_seat) = processes(&context, takes_part).await?;
    if takes_part && !has_seat {
        // Others took this process for one that has stopped.
        seat = sit(&context, value, Seat::default()).await?;
    }
    let mut keys = vec![context.name.meta()];
    // Who has all slots knows them.
    let knows_all = has_seat && owned.iter().all(Option::is_some);
    if !knows_all {
        keys.extend((0..owned.len()).map(|number| context.name.slot(number)));
    }
    let mut registers = context.registers.get(&keys).await?.into_iter();
    let meta = registers.next().flatten();
    let meta = meta.and_then(|it| Some((it.version, Meta::decode(&it)?)));
    let meta = meta.filter(|(_, meta)| context.is_of(meta));
    let Some((version, meta)) = meta else {
        return Ok(View {
            seat,
            meta: None,
            target: None,
            taken: Vec::new(),
            lost: Vec::new(),
            is_unsettled: false,
        });
    };
    if takes_part {
        say_active(&context, version, &meta).await;
    }
    let mut registers: Vec<_> = registers.collect();
    let lost = if knows_all {
        Vec::new()
    } else {
        not_owned(me, &registers, &owned)
    };
    registers.resize(owned.len(), None);
    let is_lost = |number: &usize| lost.iter().any(|(lost, _)| lost == number);
    let owned = (0..).zip(&owned);
    let owned: Vec<_> = owned
        .map(|(number, version)| version.is_some() && !is_lost(&number))
        .collect();
    let (mut free, counts) = sort_out(&context, &registers, &owned);
    // They are given up first.
    free.retain(|number| !is_lost(number));
    let target = fair_share(owned.len(), &processes, &counts, me);
    let has = owned.iter().filter(|is_owned| **is_owned).count();
    let wanted = target.saturating_sub(has);
    // Processes that look at the same time begin at different slots.
    let start = processes
        .iter()
        .position(|id| *id == me)
        .unwrap_or_default();
    let start = start.saturating_mul(free.len()) / processes.len().max(1);
    let order = free.iter().skip(start).chain(free.iter().take(start));
    let numbers: Vec<_> = order.copied().take(wanted).collect();
    let taken = take(&context, &registers, numbers, clocks).await?;
    Ok(View {
        seat,
        meta: Some(meta),
        // Without a member, a process has no share: one that has joined meanwhile must look again.
        target: takes_part.then_some(target),
        is_unsettled: taken.len() < free.len() || taken.len() < wanted || !lost.is_empty(),
        taken,
        lost,
    })
}

/// Says that this process takes part, or that it does not any more.
async fn sit(context: &Context, value: Option<String>, seat: Seat) -> Result<Seat, TopicError> {
    let key = context.name.seat(context.beats.id);
    let mut expected = seat.version;
    let looked = Some(Instant::now());
    let is_known = value.as_deref() == Some(&*seat.value) && expected.is_some();
    if is_known || (value.is_none() && expected.is_none()) {
        return Ok(Seat { looked, ..seat });
    }
    loop {
        let swap = match &value {
            Some(value) => Swap::write(key.clone(), expected, value.clone())?,
            None => Swap::remove(key.clone(), expected),
        };
        let swapped = context.registers.swap(vec![swap]).await?;
        let version = match swapped.first() {
            Some(Swapped::Written(version)) => Some(*version),
            Some(Swapped::Conflict { actual }) => {
                expected = *actual;
                continue;
            }
            _ => None,
        };
        if version.is_some() != seat.version.is_some() {
            context.wake();
        }
        return Ok(Seat {
            version,
            value: value.unwrap_or_default(),
            looked,
            is_stale: false,
        });
    }
}

/// Notes from time to time that the group has members.
async fn say_active(context: &Context, version: Version, meta: &Meta) {
    let now = now();
    if now.saturating_sub(meta.active) < context.options.inactive_after / 20 {
        return;
    }
    let mut meta = meta.clone();
    meta.active = now;
    // Another process may say so, or pause the group.
    drop(
        meta.swap(&*context.registers, &context.name, Some(version))
            .await,
    );
}

/// The processes that take part and live, and whether this one has a seat among them.
async fn processes(
    context: &Context,
    takes_part: bool,
) -> Result<(Vec<ProcessId>, bool), TopicError> {
    let namespace = context.name.namespace();
    let seats = context.registers.scan(&namespace, SEATS, None, PROCESSES);
    let seats = seats.await?;
    let me = context.beats.id;
    let mut live = Vec::new();
    // It may be behind the others.
    let mut has_seat = seats.len() >= PROCESSES;
    for (key, register) in seats {
        let id = key.name().strip_prefix(SEATS).and_then(ProcessId::parse);
        match id {
            Some(id)
                if id != me && context.beats.is_dead(id) && context.beats.is_silent(id).await? =>
            {
                // It has stopped without a word.
                let remove = Swap::remove(key, Some(register.version));
                context.registers.swap(vec![remove]).await?;
            }
            Some(id) if id != me => live.push(id),
            Some(_) => has_seat = true,
            None => {}
        }
    }
    if takes_part {
        live.push(me);
    }
    live.sort_unstable();
    Ok((live, has_seat))
}

/// The slots that this process had with these versions, and that others have taken from it.
fn not_owned(
    me: ProcessId,
    registers: &[Option<Register>],
    owned: &[Option<Version>],
) -> Vec<(usize, Version)> {
    let slots = registers.iter().zip(owned).enumerate();
    let lost = slots.filter_map(|(number, (register, version))| {
        let owner = register.as_ref().and_then(|it| owner_of(&it.value));
        version.filter(|_| owner != Some(me)).map(|it| (number, it))
    });
    lost.collect()
}

/// The slots that can be taken, and how many each process has.
fn sort_out(
    context: &Context,
    registers: &[Option<Register>],
    owned: &[bool],
) -> (Vec<usize>, BTreeMap<ProcessId, usize>) {
    let me = context.beats.id;
    let mut free = Vec::new();
    let mut counts: BTreeMap<ProcessId, usize> = BTreeMap::new();
    for (number, (register, is_owned)) in registers.iter().zip(owned).enumerate() {
        let owner = register.as_ref().and_then(|it| owner_of(&it.value));
        match owner {
            _ if *is_owned => {
                let count = counts.entry(me).or_default();
                *count = count.saturating_add(1);
            }
            // It was taken, and that was not heard of.
            Some(owner) if owner == me => free.push(number),
            Some(owner) if !context.beats.is_dead(owner) => {
                let count = counts.entry(owner).or_default();
                *count = count.saturating_add(1);
            }
            _ => free.push(number),
        }
    }
    (free, counts)
}

/// How many slots a process is to have. Where they cannot be shared evenly, those get one more that
/// have the most now, so that as few as possible move.
fn fair_share(
    slots: usize,
    processes: &[ProcessId],
    counts: &BTreeMap<ProcessId, usize>,
    me: ProcessId,
) -> usize {
    let Some(share) = slots.checked_div(processes.len()) else {
        return 0;
    };
    if !processes.contains(&me) {
        return 0;
    }
    let more = slots % processes.len();
    let count = |id: &ProcessId| counts.get(id).copied().unwrap_or_default();
    let mine = (std::cmp::Reverse(count(&me)), me);
    let before = processes
        .iter()
        .filter(|id| (std::cmp::Reverse(count(id)), **id) < mine);
    share.saturating_add(usize::from(before.count() < more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_shared_evenly_and_stay_where_they_are() {
        let mut processes: Vec<_> = (0..3).map(|_| ProcessId::draw()).collect();
        processes.sort_unstable();
        let shares = |counts: &[usize], processes: &[ProcessId]| -> Vec<usize> {
            let counts = processes
                .iter()
                .copied()
                .zip(counts.iter().copied())
                .collect();
            let share = |me: &ProcessId| fair_share(64, processes, &counts, *me);
            processes.iter().map(share).collect()
        };
        assert_eq!(shares(&[0], &processes[..1]), [64]);
        assert_eq!(shares(&[64, 0], &processes[..2]), [32, 32]);
        assert_eq!(shares(&[0, 0, 0], &processes), [22, 21, 21]);
        assert_eq!(shares(&[21, 21, 22], &processes), [21, 21, 22]);
        let stranger = ProcessId::draw();
        assert_eq!(fair_share(64, &processes, &BTreeMap::new(), stranger), 0);
        assert_eq!(fair_share(1, &[], &BTreeMap::new(), stranger), 0);
        let one = |me: ProcessId, has: ProcessId| fair_share(1, &processes, &[(has, 1)].into(), me);
        assert_eq!(
            (
                one(processes[2], processes[2]),
                one(processes[0], processes[2])
            ),
            (1, 0)
        );
    }
}
