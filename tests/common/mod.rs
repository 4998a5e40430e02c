//! A server in this process, for the tests that look at what it leaves behind. Its clients are
//! those of the test support; each test is a conversation, and ends with all gauges where they
//! were.

#![allow(dead_code, reason = "each test program uses a part of this")]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::panicking;
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use updraft::{Builder, Handle, IntoChannel, Redis, Stats};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::redis::RedisServer;

/// A server, and the runtime of its handlers.
///
/// When it is dropped, after its clients, nothing of them may be left: see
/// [`is_at_rest`](Self::is_at_rest).
pub(crate) struct Running {
    runtime: Runtime,
    serving: JoinHandle<updraft::Result<()>>,
    handle: Handle,
    address: SocketAddr,
    url: String,
    /// What lives while nobody is there.
    at_rest: Stats,
}

impl Running {
    /// Serves on a free port, with the bus inside the process. Sessions end with their connections.
    pub(crate) fn start(builder: Builder) -> Self {
        Self::start_resumable(
            builder.configure(|settings| settings.sessions.resumption.grace = Duration::ZERO),
        )
    }

    /// Serves on a free port, with the bus inside the process. Sessions may outlive their
    /// connections.
    pub(crate) fn start_resumable(builder: Builder) -> Self {
        Self::start_in(runtime(), builder)
    }

    /// Serves on a free port, with this Redis as the bus. Sessions end with their connections.
    pub(crate) fn over(redis: &RedisServer, builder: Builder) -> Self {
        Self::over_resumable(
            redis,
            builder.configure(|settings| settings.sessions.resumption.grace = Duration::ZERO),
        )
    }

    /// Serves on a free port, with this Redis as the bus. Sessions may outlive their connections.
    pub(crate) fn over_resumable(redis: &RedisServer, builder: Builder) -> Self {
        let runtime = runtime();
        let bus = runtime.block_on(Redis::connect(&redis.url())).unwrap();
        // On a busy machine Redis is slow to answer; it is away only where a test says so.
        let bus = bus.heartbeat(Duration::from_secs(2), PATIENCE);
        Self::start_in(runtime, builder.bus(bus))
    }

    fn start_in(runtime: Runtime, builder: Builder) -> Self {
        let bound = runtime.block_on(builder.bind("127.0.0.1:0")).unwrap();
        let handle = bound.handle();
        let address = bound.local_addr();
        Self {
            at_rest: handle.stats(),
            // Ctrl-C ends the test program.
            serving: runtime.handle().spawn(bound.serve_until(pending())),
            runtime,
            handle,
            url: format!("ws://{address}/websocket"),
            address,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// A client that has connected.
    pub(crate) fn client(&self) -> Client {
        Client::ddp_connect(&self.url).0
    }

    /// Publishes a value, as the program itself would.
    pub(crate) fn emit(&self, channel: impl IntoChannel, value: impl serde::Serialize) {
        self.wait(self.handle.emit(channel, value)).unwrap();
    }

    /// Runs a future to its end, with a time limit.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async {
            let ended = tokio::time::timeout(2 * PATIENCE, future).await;
            ended.expect("an end within the time limit")
        })
    }

    /// Whether the future of `serve` has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.serving.is_finished()
    }

    /// Lets a shutdown run beside the test.
    pub(crate) fn begin_shutdown(&self, deadline: Duration) -> JoinHandle<()> {
        let handle = self.handle.clone();
        let shutdown = async move { handle.shutdown(deadline).await };
        self.runtime.handle().spawn(shutdown)
    }

    /// Drops the future of `serve`.
    pub(crate) fn drop_serve(&self) {
        self.serving.abort();
    }

    /// Whether nothing of any client is left.
    pub(crate) fn is_at_rest(&self) -> bool {
        gauges(&self.stats()) == gauges(&self.at_rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if panicking() {
            return;
        }
        let rested = eventually_within(PATIENCE, || self.is_at_rest());
        assert!(
            rested,
            "clients have left something behind: {:?}",
            self.stats()
        );
    }
}

/// Serves as [`Running::start`] does, but on the runtime of a test whose body is asynchronous. What
/// is left afterwards the test has to look at itself.
pub(crate) async fn serve(builder: Builder) -> (SocketAddr, Handle) {
    let builder = builder.configure(|settings| settings.sessions.resumption.grace = Duration::ZERO);
    let bound = builder.bind("127.0.0.1:0").await.expect("a free port");
    let (address, handle) = (bound.local_addr(), bound.handle());
    tokio::runtime::Handle::current().spawn(bound.serve_until(pending()));
    (address, handle)
}

/// A Vent id such as redis-oplog's client makes; `VID` in conversations.
pub(crate) const VID: &str = "kpNzWxsDHYcxAHj5M";

/// A conversation: `->` is what the client sends, `<-` what comes back, `<- …` the beginning of
/// what comes back, and `-- silence` that nothing does. Nothing else may come in between.
#[track_caller]
pub(crate) fn talk(client: &mut Client, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let line = line.replace("VID", VID);
        match line.split_once(' ') {
            Some(("->", text)) => client.send_text(text),
            Some(("<-", text)) => match text.strip_suffix('…') {
                None => client.expect_text(text),
                Some(beginning) => {
                    let got = client.expect_any_text();
                    assert!(got.starts_with(beginning), "{line}\n     got {got}");
                }
            },
            Some(("--", "silence")) => assert_eq!(received(client), [""; 0]),
            _ => panic!("neither -> nor <-: {line}"),
        }
    }
}

/// Everything that was on its way to the client.
///
/// A shard that answers a ping looks at all else that waits for it in the same turn, so with the
/// second answer all is there that the first ping found.
#[track_caller]
pub(crate) fn received(client: &mut Client) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..2 {
        client.send_text(r#"{"msg":"ping"}"#);
        loop {
            match client.expect_any_text() {
                pong if pong == r#"{"msg":"pong"}"# => break,
                text => texts.push(text),
            }
        }
    }
    texts
}

/// Where a handler waits until the test lets it go on.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
        }
    }

    /// For the handler: says that it is here, and waits.
    pub(crate) async fn pass(&self) {
        self.arrived.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }

    /// For a mapping function, which holds its shard up with it: says that it is here, and waits.
    pub(crate) fn hold(&self) {
        self.arrive();
        let is_open = || {
            self.opened
                .try_acquire()
                .map(SemaphorePermit::forget)
                .is_ok()
        };
        assert!(eventually_within(2 * PATIENCE, is_open), "never let go on");
    }

    /// For the handler: says that it is here.
    pub(crate) fn arrive(&self) {
        self.arrived.add_permits(1);
    }

    /// For the test: waits until a handler is here.
    pub(crate) fn await_arrival(&self, server: &Running) {
        server.wait(self.arrived.acquire()).unwrap().forget();
    }

    /// For the test: whether a handler is here that has not been waited for.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived.available_permits() > 0
    }

    /// For the test: lets so many go on.
    pub(crate) fn open(&self, count: usize) {
        self.opened.add_permits(count);
    }
}

/// Counts from anywhere; a [`Counted`] counts when it is dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

#[derive(Debug)]
pub(crate) struct Counted(Count);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn on_drop(&self) -> Counted {
        Counted(self.clone())
    }

    /// Waits until it counts so many, and no more.
    #[track_caller]
    pub(crate) fn becomes(&self, count: usize) {
        let reached = eventually_within(PATIENCE, || self.get() >= count);
        assert!(reached, "{count} never came, but {self:?}");
        assert_eq!(self.get(), count);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Does something again and again, beside a conversation and until that is over.
pub(crate) fn meanwhile<T>(mut again: impl FnMut() + Send, conversation: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                again();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // Also when the conversation fails.
        let _over = Over(&is_over);
        conversation()
    })
}

/// Waits until something holds; `false` when it does not in time.
pub(crate) fn eventually_within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let step = Duration::from_millis(5);
    let mut left = limit;
    loop {
        if holds() {
            return true;
        }
        let Some(rest) = left.checked_sub(step) else {
            return false;
        };
        left = rest;
        std::thread::sleep(step);
    }
}

pub(crate) fn runtime() -> Runtime {
    let mut builder = RuntimeBuilder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn gauges(stats: &Stats) -> [usize; 10] {
    [
        stats.polling_sessions,
        stats.connections,
        stats.sessions,
        stats.parked_sessions,
        stats.subscriptions,
        stats.logins,
        stats.slow_methods,
        stats.tasks,
        stats.channels,
        stats.parameter_bytes,
    ]
}
