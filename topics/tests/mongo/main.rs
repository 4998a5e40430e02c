//! The store in MongoDB passes what every store must, over a real MongoDB or a server that speaks
//! its protocol. Without any, these tests are skipped. FerretDB, which continuous integration has,
//! knows neither transactions nor failovers.

mod world;

use std::pin::Pin;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use updraft_test_support::mongo::{MongoServer, Source};

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

fn main() {
    let arguments = Arguments::from_args();
    let source = Arc::new(MongoServer::source());
    let all = conformance().into_iter();
    let trials = all.map(|(name, test)| trial(name, test, &source));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn trial(name: &str, test: Test, source: &Arc<Result<Source, String>>) -> Trial {
    let source = Arc::clone(source);
    Trial::ignorable_test(name, move || {
        let source = match source.as_ref() {
            Ok(source) => source,
            Err(reason) => {
                return Ok(Completion::ignored_with(format!("no MongoDB: {reason}")));
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failed::from(error.to_string()))?;
        runtime.block_on(test(World::start(source)));
        runtime.shutdown_background();
        Ok(Completion::Completed)
    })
}
