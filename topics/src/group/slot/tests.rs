//! Slots, in virtual time and without a store: single steps, and a great many at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::group::options::OnPoison;
use crate::{Content, Epoch, TopicName};

const MEMBERS: u64 = 3;

fn options() -> Options {
    Options::new(&[TopicName::new("orders").unwrap()])
}

fn record(offset: Offset, key: &str) -> Arc<Record> {
    let content = Content {
        key: (!key.is_empty()).then(|| key.into()),
        ..Content::new("x")
    };
    Arc::new(Record::new(offset, 7, offset, content))
}

fn at(mono: Millis) -> Now {
    Now {
        mono,
        wall: 1_000_000 + mono,
    }
}

/// A log with a key for each record, and a slot that has all of them.
struct Model {
    options: Arc<Options>,
    epoch: Epoch,
    log: Vec<(Lane, Arc<Record>)>,
    slot: Slot,
    now: Millis,
    /// What is with a member, by record.
    out: BTreeMap<Offset, (MemberId, DeliveryId)>,
    /// What is finished, in the order in which that happened.
    finished: Vec<Offset>,
    /// How often each record was delivered, uncounted ones included.
    delivered: BTreeMap<Offset, u32>,
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Read(u8),
    Begin(u8),
    Ack(u8),
    Nack(u8, u16),
    Reject(u8),
    Release(u8),
    Extend(u8),
    Leave(u8),
    Wait(u16),
    /// Another process takes over, with what was written.
    TakeOver,
}

impl Model {
    fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let epoch = Epoch::draw();
        Self {
            slot: Slot::new(Arc::clone(&options), 0, &[Place::start(epoch)]),
            options,
            epoch,
            log: Vec::new(),
            now: 0,
            out: BTreeMap::new(),
            finished: Vec::new(),
            delivered: BTreeMap::new(),
        }
    }

    fn publish(&mut self, key: &str) {
        let offset = u64::try_from(self.log.len()).unwrap() + 1;
        let record = record(offset, key);
        let id = RecordId { input: 0, offset };
        let (lane, _) = Lane::of(self.options.order, id, &record);
        self.log.push((lane, record));
    }

    fn read(&mut self, most: usize) {
        let from = self.slot.scanned(0).unwrap().offset;
        let from = usize::try_from(from).unwrap();
        let to = from.saturating_add(most).min(self.log.len());
        let next = Place::new(self.epoch, u64::try_from(to).unwrap(), 7);
        if to > from {
            self.slot.feed(0, &self.log[from..to], next, at(self.now));
        }
    }

    fn begin(&mut self, member: MemberId, most: usize) -> Vec<DeliveryId> {
        let name = Arc::from("m");
        let Some((begun, lane)) = self.slot.begin(0, member, &name) else {
            return Vec::new();
        };
        let mut all = vec![begun.id];
        while all.len() < most
            && let Some(begun) = self.slot.begin_next(&lane, member, &name)
        {
            all.push(begun.id);
        }
        for id in &all {
            let offset = id.record.offset;
            assert!(self.slot.deliver(*id, self.now));
            assert!(!self.finished.contains(&offset), "{offset} was finished");
            self.out.insert(offset, (member, *id));
            *self.delivered.entry(offset).or_default() += 1;
        }
        self.check_lanes();
        all
    }

    /// Of each lane one member has the first records that are not finished.
    fn check_lanes(&mut self) {
        self.out
            .retain(|_, (_, id)| self.slot.flight(*id).is_some());
        assert_eq!(self.out.len(), self.slot.in_flight());
        let mut lanes: BTreeMap<String, (MemberId, Offset)> = BTreeMap::new();
        for (offset, (member, _)) in &self.out {
            let lane = self.lane(*offset);
            let had = lanes.insert(lane.clone(), (*member, *offset));
            assert!(had.is_none_or(|(other, _)| other == *member), "two members");
            let earlier = (1..*offset).filter(|it| self.lane(*it) == lane);
            for earlier in earlier {
                let is_known = self.finished.contains(&earlier) || self.out.contains_key(&earlier);
                assert!(is_known, "{offset} is out before {earlier}");
            }
        }
    }

    fn lane(&self, offset: Offset) -> String {
        format!("{:?}", self.log[usize::try_from(offset).unwrap() - 1].0)
    }

    fn pick(&self, choice: u8) -> Option<DeliveryId> {
        let index = usize::from(choice).checked_rem(self.out.len())?;
        self.out.values().nth(index).map(|(_, id)| *id)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(key) => {
                self.publish(["", "a", "b", "c"][usize::from(key % 4)]);
            }
            Step::Read(most) => self.read(usize::from(most)),
            Step::Begin(choice) => {
                let member = MemberId(u64::from(choice) % MEMBERS);
                self.begin(member, usize::from(choice / 16) + 1);
            }
            Step::Ack(choice) => {
                if let Some(id) = self.pick(choice)
                    && self.slot.ack(id) == Answered::Taken
                {
                    self.finished.push(id.record.offset);
                    self.out.remove(&id.record.offset);
                    assert_eq!(self.slot.ack(id), Answered::Known);
                }
            }
            Step::Nack(choice, delay) => {
                let delay = Some(Millis::from(delay) % 5000);
                let reason = "nack".into();
                self.give_back(choice, Return::Failed { delay, reason });
            }
            Step::Reject(choice) => {
                let reason = "no".into();
                self.give_back(choice, Return::Rejected { reason });
            }
            Step::Release(choice) => self.give_back(choice, Return::Uncounted),
            Step::Extend(choice) => {
                if let Some(id) = self.pick(choice) {
                    assert_eq!(self.slot.extend(id, self.now), Answered::Taken);
                }
            }
            Step::Leave(member) => {
                let member = MemberId(u64::from(member) % MEMBERS);
                self.slot.take_from(member, &Return::Uncounted, self.now);
                assert_eq!(self.slot.in_flight_of(member), 0);
            }
            Step::Wait(millis) => {
                self.now += Millis::from(millis);
                self.slot.expire(self.now);
                assert!(self.slot.next_timer().is_none_or(|at| at > self.now));
            }
            Step::TakeOver => self.take_over(),
        }
        for failed in self.slot.take_to_park() {
            self.slot.parked(failed.id);
            self.finished.push(failed.id.offset);
        }
        self.check_lanes();
        let floor = self.slot.parts[0].floor().offset;
        let all_below = (1..=floor).all(|offset| self.finished.contains(&offset));
        assert!(all_below, "floor {floor}, finished {:?}", self.finished);
    }

    fn give_back(&mut self, choice: u8, why: Return) {
        if let Some(id) = self.pick(choice) {
            assert_eq!(self.slot.give_back(id, why, self.now), Answered::Taken);
            assert_eq!(self.slot.extend(id, self.now), Answered::Stale);
        }
    }

    fn take_over(&mut self) {
        let value = self.slot.encode(ProcessId::from_u128(5), at(self.now));
        let old = std::mem::take(&mut self.out);
        let attempts = |slot: &Slot| -> BTreeMap<Offset, u32> {
            let open = &slot.parts[0].open;
            let begun = open.range(..=slot.parts[0].begun);
            begun
                .map(|(offset, open)| (*offset, open.attempts))
                .collect()
        };
        let before = attempts(&self.slot);
        let begun = self.slot.parts[0].begun;
        let generation = self.slot.generation;
        assert_eq!(owner_of(&value), ProcessId::from_u128(5));
        let options = Arc::clone(&self.options);
        self.slot.end();
        self.slot = Slot::decode(options, 0, value.clone()).unwrap();
        // What was not read yet is written again as it was.
        let again = self.slot.encode(ProcessId::from_u128(5), at(self.now));
        let [one, two] = [value, again].map(|value| Stored::decode(value).unwrap());
        assert_eq!(one.parts[0].unfinished, two.parts[0].unfinished);
        assert_eq!(one.parts[0].floor.offset, two.parts[0].floor.offset);
        self.slot.next_owner();
        assert!(self.slot.generation > generation);
        self.read(self.log.len());
        if self.slot.scanned(0).unwrap().offset >= begun {
            assert_eq!(attempts(&self.slot), before);
        }
        for (_, id) in old.values() {
            assert_eq!(self.slot.extend(*id, self.now), Answered::Stale);
        }
    }

    /// Handles everything that is left.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            self.step(&Step::Wait(60_000));
            self.read(self.log.len());
            while !self.begin(MemberId(9), 100).is_empty() {}
            let mut ids: Vec<_> = self.out.values().map(|(_, id)| *id).collect();
            ids.sort_by_key(|id| id.record.offset);
            for id in ids {
                assert_eq!(self.slot.ack(id), Answered::Taken);
                self.finished.push(id.record.offset);
            }
            self.out.clear();
            if self.finished.len() == self.log.len() {
                break;
            }
        }
        let once: BTreeSet<_> = self.finished.iter().copied().collect();
        assert_eq!(once.len(), self.finished.len(), "finished twice");
        assert_eq!(once.len(), self.log.len(), "not finished");
        let last = u64::try_from(self.log.len()).unwrap();
        assert_eq!(self.slot.parts[0].finished, last);
        assert!(self.slot.lanes.is_empty() && self.slot.timers.is_empty());
        assert!(self.slot.members.is_empty() && self.slot.open == 0 && self.slot.bytes == 0);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Publish),
        3 => any::<u8>().prop_map(Step::Read),
        5 => any::<u8>().prop_map(Step::Begin),
        5 => any::<u8>().prop_map(Step::Ack),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(choice, delay)| Step::Nack(choice, delay)),
        1 => any::<u8>().prop_map(Step::Reject),
        1 => any::<u8>().prop_map(Step::Release),
        1 => any::<u8>().prop_map(Step::Extend),
        1 => any::<u8>().prop_map(Step::Leave),
        2 => any::<u16>().prop_map(Step::Wait),
        1 => Just(Step::TakeOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn topic_067_a_slot_keeps_its_promises_whatever_happens(
        steps in prop::collection::vec(step(), 1..200),
        order in prop_oneof![Just(Order::None), Just(Order::Key), Just(Order::Total)],
        max_deliveries in 1_u32..4,
        max_open in prop_oneof![Just(3_u32), Just(1000)],
        parks in any::<bool>(),
    ) {
        let mut options = options();
        options.order = order;
        options.max_deliveries = max_deliveries;
        options.max_open = max_open;
        options.on_poison = if parks { OnPoison::Park } else { OnPoison::Block };
        options.back_off = vec![10, 1000];
        let mut model = Model::new(options);
        for step in &steps {
            model.step(step);
        }
        model.finish();
    }

    #[test]
    fn a_register_of_any_bytes_is_no_slot_or_a_slot(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<u8>(),
    ) {
        drop(Slot::decode(Arc::new(options()), 0, bytes.into()));
        let mut model = Model::new(options());
        for key in ["a", "b", "a", ""] {
            model.publish(key);
        }
        model.read(9);
        model.begin(MemberId(1), 9);
        let value = model.slot.encode(ProcessId::from_u128(1), at(0));
        let cut = usize::from(cut) % value.len();
        prop_assert!(Slot::decode(Arc::new(options()), 0, value.slice(..cut)).is_err());
    }
}

#[test]
fn topic_055_a_record_that_stops_its_process_is_counted() {
    let mut model = Model::new(options());
    model.publish("a");
    for attempt in 1..=5 {
        model.read(9);
        let id = model.begin(MemberId(1), 1)[0];
        assert_eq!(id.record.offset, 1);
        assert_eq!(model.slot.parts[0].open[&1].attempts, attempt);
        model.take_over();
    }
    assert!(model.begin(MemberId(1), 1).is_empty());
    let failed = model.slot.take_to_park();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].attempts, 5);
    assert!(failed[0].reason.contains("process"));
    // The letter was written, and that was not noted: it is written again.
    model.take_over();
    assert_eq!(model.slot.take_to_park().len(), 1);
    model.slot.parked(failed[0].id);
    assert_eq!(model.slot.parts[0].floor().offset, 1);
}

#[test]
fn what_is_trimmed_before_it_was_read_is_lost_and_counted() {
    let mut model = Model::new(options());
    for _ in 0..10 {
        model.publish("a");
    }
    model.read(2);
    assert!(model.slot.skip_to(0, 6) && !model.slot.skip_to(0, 6));
    assert_eq!(model.slot.parts[0].lost, 3);
    assert_eq!(model.slot.scanned(0).unwrap().offset, 5);
    model.read(9);
    model.finished.extend(3..=5);
    // What was read can still be handed out.
    let ids = model.begin(MemberId(1), 9);
    let offsets: Vec<_> = ids.iter().map(|id| id.record.offset).collect();
    assert_eq!(offsets, [1, 2, 6, 7, 8, 9, 10]);
    assert_eq!(own_offsets(3, 0, 128), 2);
    assert_eq!(own_offsets(0, 0, 128), 2);
    assert_eq!(own_offsets(3, 3, 66), 0);
    assert_eq!(own_offsets(3, 2, 67), 2);
}
