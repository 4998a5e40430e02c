//! Every case of every transcript, replayed over each transport against the example `fixture`. Each
//! runs against a server that no other case uses at that time, because a case may poke all
//! subscriptions there are. Cases that last too long for that are not among them: they run in
//! virtual time, with all others, in `protocol/tests`.
//!
//! All of it is replayed once more through a server in front of the fixture, to which nothing is
//! registered: the same bytes must come.

use std::future::pending;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use updraft::{Meteor, Server};
use updraft_test_support::example::Example;
use updraft_test_support::replay::replay_over;
use updraft_test_support::transcript::{self, Case, Step};
use updraft_test_support::transport::Way;

/// Cases wait more than they compute.
const THREADS: usize = 8;

/// Servers that no case uses. Filled by cases that ended, drained by those that begin; never more
/// than threads.
type Idle<S> = Arc<Mutex<Vec<S>>>;

/// What is measured against the transcripts.
trait Measured: Send + Sized + 'static {
    fn start() -> Self;
    fn url(&self) -> String;
    fn output(&mut self) -> String;
}

/// The fixture, and a server in front of it.
struct Behind {
    app: Example,
    url: String,
    /// Runs the server, until it is dropped.
    _runtime: Runtime,
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let (idle, idle_behind) = (Idle::<Example>::default(), Idle::<Behind>::default());
    let files = transcript::read_all().unwrap_or_else(|error| panic!("{error}"));
    let cases = files
        .into_iter()
        .flat_map(|(file, cases)| cases.into_iter().map(move |case| (file.clone(), case)))
        .filter(|(_, case)| !case.needs_virtual_time());
    let mut trials = Vec::new();
    for (file, case) in cases {
        for way in Way::ALL {
            trials.push(trial("", way, &file, case.clone(), &idle));
            if !shows_headers(&case) {
                trials.push(trial(
                    "gateway_002_045::",
                    way,
                    &file,
                    case.clone(),
                    &idle_behind,
                ));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Exiting would leave them running.
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    let mut behind = idle_behind.lock().unwrap_or_else(PoisonError::into_inner);
    drop((mem::take(&mut *idle), mem::take(&mut *behind)));
    conclusion.exit();
}

/// Whether the case shows the headers of its connection, to which a server in between adds some.
fn shows_headers(case: &Case) -> bool {
    let mut steps = case.steps.iter();
    steps.any(|step| matches!(step, Step::Expect(text) if text.contains("\"headers\"")))
}

fn trial<S: Measured>(prefix: &str, way: Way, file: &str, case: Case, idle: &Idle<S>) -> Trial {
    let name = format!("{prefix}{}::{file}::{}", way.name(), case.name);
    let idle = Arc::clone(idle);
    Trial::test(name, move || {
        let server = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut server = server.unwrap_or_else(S::start);
        if let Err(difference) = replay_over(way, &server.url(), &case) {
            // It may be the server's state, so nobody else gets this one.
            let output = server.output();
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

impl Measured for Example {
    fn start() -> Self {
        Self::start("fixture", &[])
    }

    fn url(&self) -> String {
        Self::url(self)
    }

    fn output(&mut self) -> String {
        self.process().output()
    }
}

impl Measured for Behind {
    fn start() -> Self {
        let app = Example::start("fixture", &[]);
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let server = Server::builder()
            .meteor(Meteor::at(app.http_url()))
            .configure(|settings| settings.origins.allow_any = true);
        let bound = runtime.block_on(server.bind("127.0.0.1:0"));
        let bound = bound.expect("a free port");
        let url = format!("ws://{}/websocket", bound.local_addr());
        runtime.spawn(bound.serve_until(pending()));
        Self {
            app,
            url,
            _runtime: runtime,
        }
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn output(&mut self) -> String {
        self.app.process().output()
    }
}
