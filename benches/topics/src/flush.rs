//! The flusher of the event broker, on Redis. Bare is the same events published by the broker one
//! after the other.

use tokio::runtime::Builder;
use updraft_test_support::redis::RedisServer;
use updraft_topics::EventBroker;
use updraft_topics::registry::Registry;

use crate::Failure;
use crate::options::Options;
use crate::rounds::{Good, compare, per_second};
use crate::table::Table;

/// Events of one flush, and flushes of a round.
const LOADS: [(usize, usize); 2] = [(100, 50), (10, 200)];
/// Streams, to which events are published in turns.
const STREAMS: [&str; 2] = ["stream-a", "stream-b"];
/// Bytes of a body.
const SIZE: usize = 200;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let registry = Registry::new()
        .pool("default", server.url())
        .stream(STREAMS[0], "default", ["read-group-ab"])
        .stream(STREAMS[1], "default", ["read-group-ab"])
        .validate()?;
    let engine = runtime.block_on(registry.open())?;
    let broker = engine.event_broker();
    let empty = || {
        runtime.block_on(async {
            for stream in STREAMS {
                engine.topic(stream)?.trim(u64::MAX).await?;
            }
            Ok::<_, Failure>(())
        })
    };
    let body = "x".repeat(SIZE);
    let mut table = Table::of_ratios();
    for (size, flushes) in LOADS {
        let flushes = options.records(flushes);
        let outcome = compare(
            options,
            Good::High,
            || {
                let flushing = flush(&broker, &body, size, flushes);
                let figure = per_second(size * flushes, || runtime.block_on(flushing));
                empty()?;
                figure
            },
            || {
                let publishing = publish(&broker, &body, size * flushes);
                let figure = per_second(size * flushes, || runtime.block_on(publishing));
                empty()?;
                figure
            },
        )?;
        let goal = if size == 100 { "≥ 10" } else { "" };
        let what = format!("`flush` of {size}, events/s");
        table.compared(&what, goal, &outcome);
    }
    Ok(table)
}

async fn flush(
    broker: &EventBroker,
    body: &str,
    size: usize,
    flushes: usize,
) -> Result<(), Failure> {
    let mut flusher = broker.new_flusher();
    for _ in 0..flushes {
        for stream in STREAMS.iter().cycle().take(size) {
            flusher.publish(stream, body, &[])?;
        }
        for result in flusher.flush().await {
            result?;
        }
    }
    Ok(())
}

async fn publish(broker: &EventBroker, body: &str, count: usize) -> Result<(), Failure> {
    for stream in STREAMS.iter().cycle().take(count) {
        broker.publish(stream, body, &[]).await?;
    }
    Ok(())
}
