//! The tests that every store must pass, those of other crates too.
//!
//! A store brings a [`Harness`], and [`conformance_tests!`](crate::conformance_tests) makes a test
//! of each function here. What a store cannot do, by its [`Features`](crate::Features), is not
//! tested.
//!
//! ```
//! use updraft_topics::Memory;
//! use updraft_topics::conformance::{Handles, Harness};
//!
//! struct InMemory(Memory);
//!
//! impl Harness for InMemory {
//!     async fn open(&self) -> Handles {
//!         Handles::new(&self.0)
//!     }
//! }
//!
//! updraft_topics::conformance_tests!(InMemory(Memory::new()));
//! ```

mod append;
mod broker;
mod cancel;
mod emitter;
mod group;
mod read;
mod registers;
mod remove;
mod topics;
mod way;

pub use self::append::*;
pub use self::broker::*;
pub use self::cancel::*;
pub use self::emitter::*;
pub use self::group::*;
pub use self::read::*;
pub use self::registers::*;
pub use self::remove::*;
pub use self::topics::*;

use std::sync::Arc;
use std::time::Duration;

use updraft_bus::{Bus, ChannelSettings, Channels};

use crate::{
    Append, AppendedBatch, Bounds, Content, Create, Limit, Log, NewRecord, Page, Place, Read,
    Record, Registers, Store, TopicError, TopicName,
};

/// How long something is waited for that must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// What opens a store for the tests. Each test makes one, and expects its store to be empty.
pub trait Harness: Send + Sync {
    /// Opens the store. With [`Features::shared`](crate::Features::shared) it is called again while
    /// the store is open, and answers another handle, as another process has it.
    fn open(&self) -> impl Future<Output = Handles> + Send;

    /// Ends everything that has the store open, as hard as a crash. It is called only with
    /// [`Features::durable`](crate::Features::durable); the store is opened again afterwards. What
    /// was opened before is not used any more, but may not have been dropped.
    fn kill(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A store that was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handles {
    /// Its logs.
    pub log: Arc<dyn Log>,
    /// Its registers.
    pub registers: Arc<dyn Registers>,
}

impl Handles {
    /// A store that is both.
    pub fn new<S: Log + Registers + Clone>(store: &S) -> Self {
        Self {
            log: Arc::new(store.clone()),
            registers: Arc::new(store.clone()),
        }
    }

    /// The store with what wakes its readers.
    fn with(&self, channels: &Arc<Channels>) -> Store {
        let (log, registers) = (Arc::clone(&self.log), Arc::clone(&self.registers));
        Store::new(log, registers, Arc::clone(channels))
    }
}

/// Makes a test of each function in [`conformance`](crate::conformance). The argument is an
/// expression that makes a [`Harness`](crate::conformance::Harness), which may await. The crate
/// `tokio`, with its macros and several threads, must be a dependency.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::each_conformance_test! { $crate::conformance_tests [@each $harness;] }
    };
    (@each $harness:expr; $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::conformance::$test(&$harness).await;
            }
        )*
    };
}

/// Calls a macro with the names of all functions in [`conformance`](crate::conformance), behind
/// what stands in the brackets: for tests that are run by something else than `#[test]`.
#[macro_export]
macro_rules! each_conformance_test {
    ($($macro:ident)::+ [$($before:tt)*]) => {
        $($macro)::+! {
            $($before)*
            topic_001_002_offsets_have_no_holes_and_are_seen_in_order
            topic_003_batches_are_not_mixed
            topic_005_an_id_is_stored_once
            topic_006_an_id_counts_for_its_time
            topic_008_two_that_expect_the_same_offset_race
            topic_010_a_topic_is_created_or_is_unknown
            topic_012_a_closed_topic_is_read_only
            topic_014_times_never_decrease
            appends_are_checked_for_duplicates_then_for_the_end_then_for_the_offset
            topic_019_a_page_keeps_to_its_limits
            topic_021_022_contents_come_back
            topic_024_the_end_has_nothing_behind_it
            topic_026_027_028_places_that_are_not_of_this_topic
            an_offset_without_a_mark_is_not_compared
            topic_025_a_trim_raises_the_first_offset
            topic_026_a_topic_that_is_created_again_has_another_epoch
            topic_031_single_records_are_removed
            topic_084_a_reader_sees_records_or_the_trim
            topic_112_hostile_names_do_not_touch_other_topics
            topics_are_listed_by_name
            topic_086_a_killed_process_loses_nothing_acknowledged
            topic_098_an_append_that_is_dropped_is_done_or_not
            topic_098_other_calls_may_be_dropped
            registers_are_written_by_who_knows_the_version
            registers_64_with_two_owners
            registers_tell_what_became_of_a_lost_answer
            registers_are_scanned_by_name
            registers_expire
            registers_survive_a_kill
            topic_015_017_each_start_is_where_it_should_be
            topic_012_023_034_a_reader_gets_each_record_once_up_to_the_end
            topic_023_a_reader_goes_on_after_a_kill
            topic_025_084_a_reader_that_is_overtaken_by_a_trim_is_told
            topic_073_074_count_and_bytes_bound_a_topic
            topic_031_078_079_080_the_newest_of_each_id_and_all_without_one_survive
            topic_081_082_a_compaction_may_stop_anywhere
            topic_047_067_075_members_share_records_and_keep_the_order_of_keys
            topic_049_050_a_process_that_is_cut_off_is_replaced
            topic_055_057_records_that_fail_become_dead_letters
            topic_099_seed_045_046_047_054_056_events_cross_processes_and_never_are_states
            topic_099_seed_044_events_that_are_not_kept_are_removed_when_all_have_them
            topic_100_seed_053_an_emitter_goes_on_where_it_was
            topic_100_emitters_that_are_restarted_fire_all_events_in_order
            topic_101_seed_048_049_050_051_one_reader_is_left_after_twenty_reconnects
            topic_048_061_066_106_a_group_begins_where_it_says_and_counts_what_is_left
            topic_051_052_054_071_answers_count_once_and_in_order
            topic_056_a_crash_between_the_letter_and_the_slot_loses_nothing
            topic_058_064_065_functions_handle_what_there_is
            topic_059_060_two_topics_are_read_in_turns
            topic_060_072_records_without_a_key_go_to_whoever_is_free
            topic_063_with_total_order_one_batch_is_out_at_a_time
            topic_068_a_stuck_key_holds_no_other_until_there_is_no_more_room
            topic_069_070_what_comes_again_comes_first_however_often
            topic_076_a_group_that_is_long_away_does_not_hold_the_topic
            topic_077_a_hard_limit_of_bytes_removes_what_a_group_has_not_finished
            topic_079_what_a_group_has_not_finished_survives_compaction
            topic_105_a_flusher_keeps_order_and_what_one_pool_cannot_take
            topic_059_065_075_a_group_consumes_its_streams_one_process_at_a_time
        }
    };
}

/// What wakes the readers of one process, and of no other.
fn channels() -> Arc<Channels> {
    Arc::new(Channels::new(Bus::default(), ChannelSettings::default()))
}

/// The topic that most tests use.
async fn orders(log: &dyn Log) -> (TopicName, Bounds) {
    let topic = TopicName::new("orders").unwrap();
    let bounds = log.open(&topic, Create::IfMissing).await.unwrap();
    (topic, bounds)
}

fn text(payload: impl Into<String>) -> NewRecord {
    NewRecord::new(7, Content::new(payload.into()))
}

async fn append(
    log: &dyn Log,
    topic: &TopicName,
    records: impl IntoIterator<Item = NewRecord>,
) -> Result<AppendedBatch, TopicError> {
    let records = records.into_iter().collect();
    log.append(topic, Append::new(records)).await
}

/// Appends so many records, whose payloads are their offsets if they are the first.
async fn fill(log: &dyn Log, topic: &TopicName, count: usize) {
    let records = (1..=count).map(|n| text(n.to_string()));
    append(log, topic, records).await.unwrap();
}

async fn page(log: &dyn Log, topic: &TopicName, after: Place, limit: Limit) -> Page {
    match log.read(topic, after, limit).await.unwrap() {
        Read::Page(page) => page,
        other => panic!("not a page: {other:?}"),
    }
}

/// All records of the topic, page by page.
async fn all(log: &dyn Log, topic: &TopicName) -> Vec<Record> {
    let bounds = log.open(topic, Create::Never).await.unwrap();
    let mut place = Place::start(bounds.epoch);
    let mut records = Vec::new();
    loop {
        let page = page(log, topic, place, Limit::default()).await;
        if page.records.is_empty() {
            return records;
        }
        records.extend(page.records);
        place = page.next;
    }
}

fn payload(record: &Record) -> &str {
    let payload = record.content.payload.as_ref().unwrap();
    std::str::from_utf8(payload).unwrap()
}

fn payloads(records: &[Record]) -> Vec<&str> {
    records.iter().map(payload).collect()
}

fn offsets(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.offset).collect()
}

/// As another process has the store, where several can have it.
async fn second(harness: &impl Harness, first: &Handles) -> Handles {
    if first.log.features().shared {
        harness.open().await
    } else {
        first.clone()
    }
}
