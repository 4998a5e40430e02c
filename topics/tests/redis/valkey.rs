//! The store in Valkey passes what every store must, where there is a Valkey.

mod durable;

use std::pin::Pin;

use durable::DurableRedis;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Builder;
use updraft_test_support::redis::valkey;

type Test = fn(DurableRedis) -> Pin<Box<dyn Future<Output = ()>>>;

/// Tests by their names.
macro_rules! tests {
    ($($test:ident)*) => {
        vec![$((
            stringify!($test),
            (|server| Box::pin(async move { $test(&server).await })) as Test,
        )),*]
    };
}

fn conformance() -> Vec<(&'static str, Test)> {
    use updraft_topics::conformance::*;

    updraft_topics::each_conformance_test! { tests [] }
}

fn main() {
    let arguments = Arguments::from_args();
    let program = valkey();
    let trials = conformance().into_iter().map(|(name, test)| {
        let program = program.clone();
        Trial::ignorable_test(format!("valkey::{name}"), move || {
            let program = match program {
                Ok(program) => program,
                Err(reason) => return Ok(Completion::ignored_with(reason)),
            };
            let mut runtime = Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(Failed::from)?;
            runtime.block_on(async { test(DurableRedis::start(&program)).await });
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
