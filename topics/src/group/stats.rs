//! How a group is doing, as its registers say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::beats::heard_of;
use super::context::{Context, Handle};
use super::dead::DeadLetters;
use super::feed::time_of;
use super::ids::ProcessId;
use super::keys::SEATS;
use super::meta::{Meta, unknown};
use super::options::Order;
use super::seat::SeatInfo;
use super::slot::{Stored, StoredPart};
use crate::clock::now;
use crate::{Create, Offset, TopicError, TopicName};

/// Processes that are looked at.
const PROCESSES: usize = 1000;

/// How a group is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStats {
    /// Its topics.
    pub topics: Vec<TopicStats>,
    /// Records that members have.
    pub pending: u64,
    /// How old the oldest of these is, in milliseconds since it was published.
    pub oldest_pending: Option<u64>,
    /// How often records were delivered that had been delivered before.
    pub redeliveries: u64,
    /// Dead letters.
    pub parked: u64,
    /// The members that there are, by name. Those of a process that has crashed are among them until
    /// its lease is over and others have seen that, or for a minute more where no process is left.
    pub members: Vec<MemberStats>,
    /// Processes that have members.
    pub processes: usize,
    /// Slots that can read no further, because too many of their records are not finished.
    pub stalled_slots: u64,
    /// Whether it hands out nothing.
    pub is_paused: bool,
    /// When it was last known to have members, in milliseconds since 1970: now, if it has some. It is
    /// noted when a twentieth of the time is over after which the group no longer holds the log.
    pub active: u64,
    /// Whether the group holds topics that are kept for groups, since it was active lately.
    pub holds_log: bool,
}

/// How far a group is in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// The topic.
    pub topic: TopicName,
    /// Records that are neither finished nor with a member. After records were removed before all
    /// slots have read them, this is an estimate, as [`lost`](Self::lost) is.
    pub lag: u64,
    /// Up to here all records are finished.
    pub floor: Offset,
    /// The last record of the topic.
    pub last: Offset,
    /// Records that were removed before the group has finished them.
    pub lost: u64,
    /// How old the oldest record is that was never delivered, in milliseconds since it was published.
    pub oldest_undelivered: Option<u64>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// Its name. Members of the same name are counted together.
    pub name: String,
    /// Records that it has.
    pub pending: u64,
}

/// The sums of all slots for a topic.
#[derive(Default)]
struct Sum {
    finished: u64,
    lost: u64,
    pending: u64,
    oldest_pending: Option<Offset>,
    /// The lowest offset that may have a record which was never handed out.
    undelivered: Option<Offset>,
    floor: Option<Offset>,
}

pub(crate) async fn stats(handle: &Arc<Handle>) -> Result<GroupStats, TopicError> {
    let context = &handle.context;
    let slots = context.options.slots();
    let mut keys = vec![context.name.meta()];
    keys.extend((0..slots).map(|number| context.name.slot(number)));
    let registers = context.call(context.registers.get(&keys)).await?;
    let mut registers = registers.into_iter();
    let meta = registers.next().flatten();
    let Some(meta) = meta.as_ref().and_then(Meta::decode) else {
        return Err(unknown(&*context.registers, &context.name).await);
    };
    let mut sums: Vec<Sum> = context.inputs.iter().map(|_| Sum::default()).collect();
    let mut redeliveries: u64 = 0;
    for register in registers {
        let stored = register.and_then(|register| Stored::decode(register.value).ok());
        if let Some(stored) = &stored {
            redeliveries = redeliveries.saturating_add(stored.redeliveries);
        }
        for (input, sum) in sums.iter_mut().enumerate() {
            let part = stored.as_ref().and_then(|stored| stored.parts.get(input));
            let start = context.starts.get(input).map_or(0, |place| place.offset);
            sum.add(part, start);
        }
    }
    let mut topics = Vec::new();
    for (input, sum) in sums.iter().enumerate().take(context.topics()) {
        topics.push(topic_stats(context, input, sum).await?);
    }
    let mut oldest_pending = None;
    for (sum, core) in sums.iter().zip(&context.inputs) {
        if let Some(offset) = sum.oldest_pending
            && let Some(time) = time_of(core, offset).await?
        {
            let age = now().saturating_sub(time);
            oldest_pending = oldest_pending.max(Some(age));
        }
    }
    let seats = seats(context).await?;
    let mut members: BTreeMap<String, u64> = BTreeMap::new();
    let mut stalled_slots: u64 = 0;
    let processes = seats.len();
    for info in seats {
        stalled_slots = stalled_slots.saturating_add(info.stalled);
        for member in info.members {
            let pending = members.entry(member.name).or_default();
            *pending = pending.saturating_add(member.in_flight);
        }
    }
    let members = members.into_iter();
    let active = if processes > 0 { now() } else { meta.active };
    Ok(GroupStats {
        topics,
        pending: sums
            .iter()
            .fold(0, |sum: u64, it| sum.saturating_add(it.pending)),
        oldest_pending,
        redeliveries,
        parked: DeadLetters::new(Arc::clone(handle)).count().await?,
        members: members
            .map(|(name, pending)| MemberStats { name, pending })
            .collect(),
        processes,
        stalled_slots,
        is_paused: meta.paused,
        active,
        holds_log: now().saturating_sub(active) <= meta.options.inactive_after,
    })
}

/// What processes say of themselves. One that has crashed is left out, also when no other process is
/// left to find that out.
async fn seats(context: &Context) -> Result<Vec<SeatInfo>, TopicError> {
    let namespace = context.name.namespace();
    let found = context.registers.scan(&namespace, SEATS, None, PROCESSES);
    let found = context.call(found).await?;
    let seats: Vec<_> = found
        .iter()
        .filter_map(|(key, register)| {
            let id = ProcessId::parse(key.name().strip_prefix(SEATS)?)?;
            Some((id, register))
        })
        .collect();
    let ids: Vec<_> = seats.iter().map(|(id, _)| *id).collect();
    let are_there = context.call(Box::pin(heard_of(&*context.registers, &ids)));
    let seats = seats.into_iter().zip(are_there.await?);
    let seats = seats.filter(|(_, is_there)| *is_there);
    Ok(seats
        .map(|((_, register), _)| SeatInfo::decode(&register.value).unwrap_or_default())
        .collect())
}

async fn topic_stats(context: &Context, input: usize, sum: &Sum) -> Result<TopicStats, TopicError> {
    let start = context.starts.get(input).map_or(0, |place| place.offset);
    let holes = context.holes.get(input).copied().unwrap_or_default();
    let core = context.inputs.get(input).ok_or(TopicError::UnknownTopic)?;
    let bounds = match core.call(core.log.open(&core.name, Create::Never)).await {
        // It is created again when somebody publishes, or a member fetches.
        Err(TopicError::UnknownTopic) => return Ok(TopicStats::of_nothing(&core.name)),
        bounds => bounds?,
    };
    // Where it is not known which records were removed, each slot counts all of them.
    let lost = match context.options.order {
        Order::Key => sum.lost.div_ceil(64),
        Order::None | Order::Total => sum.lost,
    };
    let lag = bounds
        .last
        .saturating_sub(start)
        .saturating_sub(holes)
        .saturating_sub(lost)
        .saturating_sub(sum.finished)
        .saturating_sub(sum.pending);
    let undelivered = sum
        .undelivered
        .filter(|offset| *offset <= bounds.last && lag > 0);
    let oldest_undelivered = match undelivered {
        Some(offset) => {
            let time = time_of(core, offset.max(bounds.first)).await?;
            time.map(|time| now().saturating_sub(time))
        }
        None => None,
    };
    Ok(TopicStats {
        topic: core.name.clone(),
        lag,
        floor: sum.floor.unwrap_or(start),
        last: bounds.last,
        lost,
        oldest_undelivered,
    })
}

impl TopicStats {
    fn of_nothing(topic: &TopicName) -> Self {
        Self {
            topic: topic.clone(),
            lag: 0,
            floor: 0,
            last: 0,
            lost: 0,
            oldest_undelivered: None,
        }
    }
}

impl Sum {
    fn add(&mut self, part: Option<&StoredPart>, start: Offset) {
        let Some(part) = part else {
            self.floor = Some(self.floor.unwrap_or(start).min(start));
            let next = start.saturating_add(1);
            self.undelivered = Some(self.undelivered.unwrap_or(next).min(next));
            return;
        };
        self.finished = self.finished.saturating_add(part.finished);
        self.lost = self.lost.saturating_add(part.lost);
        let floor = part.floor.offset;
        self.floor = Some(self.floor.unwrap_or(floor).min(floor));
        for (offset, record) in &part.unfinished {
            if record.was_in_flight {
                self.pending = self.pending.saturating_add(1);
                self.oldest_pending = Some(self.oldest_pending.unwrap_or(*offset).min(*offset));
            }
        }
        let next = part.undelivered;
        self.undelivered = Some(self.undelivered.unwrap_or(next).min(next));
    }
}
