//! Every case of every transcript, replayed over each transport against the example `fixture`. Each
//! runs against a server that no other case uses at that time, because a case may poke all
//! subscriptions there are. Cases that last too long for that are not among them: they run in
//! virtual time, with all others, in `protocol/tests`.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use updraft_test_support::example::Example;
use updraft_test_support::replay::replay_over;
use updraft_test_support::transcript::{self, Case};
use updraft_test_support::transport::Way;

/// Cases wait more than they compute.
const THREADS: usize = 8;

/// Servers that no case uses. Filled by cases that ended, drained by those that begin; never more
/// than threads.
type Idle = Arc<Mutex<Vec<Example>>>;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let idle = Idle::default();
    let files = transcript::read_all().unwrap_or_else(|error| panic!("{error}"));
    let trials = files
        .into_iter()
        .flat_map(|(file, cases)| cases.into_iter().map(move |case| (file.clone(), case)))
        .filter(|(_, case)| !case.needs_virtual_time())
        .flat_map(|(file, case)| {
            let idle = &idle;
            Way::ALL.map(|way| trial(way, &file, case.clone(), idle))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Exiting would leave them running.
    drop(mem::take(
        &mut *idle.lock().unwrap_or_else(PoisonError::into_inner),
    ));
    conclusion.exit();
}

fn trial(way: Way, file: &str, case: Case, idle: &Idle) -> Trial {
    let name = format!("{}::{file}::{}", way.name(), case.name);
    let idle = Arc::clone(idle);
    Trial::test(name, move || {
        let server = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut server = server.unwrap_or_else(|| Example::start("fixture", &[]));
        if let Err(difference) = replay_over(way, &server.url(), &case) {
            // It may be the server's state, so nobody else gets this one.
            let output = server.process().output();
            return Err(Failed::from(format!(
                "{difference}\nThe server printed:\n{output}"
            )));
        }
        if !case.reconnects() {
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(server);
        }
        Ok(())
    })
}
