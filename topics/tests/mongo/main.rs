//! The store in MongoDB passes what every store must, over a real MongoDB or a server that speaks
//! its protocol. Without any, these tests are skipped. FerretDB, which continuous integration has,
//! knows neither transactions nor failovers.

mod outbox;
mod store;
mod world;

use std::pin::Pin;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Runtime;
use updraft_test_support::mongo::{MongoServer, Source};
use updraft_topics::Log;

use self::world::World;

type Test = fn(World) -> Pin<Box<dyn Future<Output = ()>>>;

/// Tests by their names.
macro_rules! tests {
    ($($test:ident)*) => {
        vec![$((
            stringify!($test),
            (|world| Box::pin(async move { $test(&world).await })) as Test,
        )),*]
    };
}

/// Those that every store must pass.
fn conformance() -> Vec<(&'static str, Test)> {
    use updraft_topics::conformance::*;

    updraft_topics::each_conformance_test! { tests [] }
}

/// Those of this store.
fn own() -> Vec<(&'static str, Test)> {
    use self::outbox::*;
    use self::store::*;

    tests! {
        topic_094_delayed_inserts_of_two_producers_lose_nothing
        topic_096_035_a_reader_that_nobody_wakes_polls
        topic_020_redis_wakes_readers_in_another_process
        topic_096_036_wake_ups_may_come_too_often_and_for_nothing
        topic_096_037_a_wake_up_during_a_read_is_not_lost
        topic_086_a_writer_is_killed
        topic_026_a_topic_of_which_something_is_gone_begins_again
        topic_087_a_damaged_record_is_an_error_with_its_offset
        topic_013_a_mongodb_that_is_away_is_an_error_within_the_deadline
        topic_097_a_clock_that_is_set_back_changes_nothing
        topic_112_no_foreign_collection_is_touched
        a_mongodb_that_is_no_use_is_said_in_a_line
        a_document_becomes_a_record_with_all_its_members_and_wakes_readers
        documents_that_are_no_events_are_moved_with_the_reason
        the_order_is_that_of_at_and_then_of_the_id
        copies_that_are_there_are_not_made_again
        documents_of_three_producers_are_copied_once_and_in_order
        the_examples_of_the_guide_work
    }
}

/// Those for a replica set.
fn with_replica_set() -> Vec<(&'static str, Test)> {
    use self::store::*;

    tests! { topic_095_another_primary_loses_and_doubles_nothing }
}

fn main() {
    if let Ok(url) = std::env::var(store::WRITER) {
        runtime().block_on(store::write(&url));
        return;
    }
    if let Ok(url) = std::env::var(outbox::COPIER) {
        runtime().block_on(outbox::copy(&url));
        return;
    }
    let arguments = Arguments::from_args();
    let source = Arc::new(MongoServer::source());
    let trial = |(name, test), needs| trial(name, test, needs, &source);
    let all = conformance().into_iter().chain(own());
    let all = all.map(|test| trial(test, Needs::Any));
    let more = with_replica_set().into_iter();
    let more = more.map(|test| trial(test, Needs::ReplicaSet));
    libtest_mimic::run(&arguments, all.chain(more).collect()).exit();
}

/// Which server a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Any,
    ReplicaSet,
}

fn trial(name: &str, test: Test, needs: Needs, source: &Arc<Result<Source, String>>) -> Trial {
    let source = Arc::clone(source);
    Trial::ignorable_test(name, move || {
        let skip = |reason: String| Ok(Completion::ignored_with(reason));
        let source = match source.as_ref() {
            Ok(source) => source,
            Err(reason) => return skip(format!("no MongoDB: {reason}")),
        };
        let runtime = runtime();
        let world = World::start(source);
        if needs == Needs::ReplicaSet && !runtime.block_on(world.store()).features().atomic_batch {
            return skip("this server is no replica set: there is no other primary".into());
        }
        runtime.block_on(test(world));
        runtime.shutdown_background();
        Ok(Completion::Completed)
    })
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}
