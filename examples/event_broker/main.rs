//! What BeeORM's page about its event broker shows, with the streams of that page, which
//! `streams.yaml` declares. Each step prints what it has found.
//!
//! ```text
//! STREAMS=streams.yaml cargo run --release --features registry-files --example event_broker
//! ```

use std::env;
use std::time::Duration;

use tokio::sync::mpsc;
use updraft::prelude::*;
use updraft::topics::registry::Registry;
use updraft::topics::{Delivery, EventBroker, HandlerError, TopicError};

/// Beside this program.
const STREAMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/event_broker/streams.yaml"
);

#[derive(Debug, Serialize, Deserialize)]
struct Sold {
    color: String,
    price: f64,
}

/// What came later has a discount.
#[derive(Debug, Serialize, Deserialize)]
struct SoldWithDiscount {
    color: String,
    price: f64,
    discount: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let streams = env::var("STREAMS").unwrap_or_else(|_| STREAMS.into());
    // All that is wrong with the file is told at once.
    let engine = Registry::new().file(streams)?.validate()?.open().await?;
    let broker = engine.event_broker();

    publish(&broker).await?;
    consume(&broker).await?;
    one_at_a_time(&broker).await?;
    versions(&broker).await?;
    metadata_alone(&broker).await?;
    statistics(&broker).await?;
    Ok(())
}

/// One by one, or many at once, which costs a tenth.
async fn publish(broker: &EventBroker) -> Result<(), TopicError> {
    broker.publish("stream-a", "hello", &[]).await?;

    let sold = Sold {
        color: "red".into(),
        price: 12.34,
    };
    let mut flusher = broker.new_flusher();
    flusher.publish("stream-b", &sold, &[])?;
    flusher.publish("stream-a", "a", &[])?;
    let flushed = flusher.flush().await;
    println!("FLUSHED {}", flushed.len());
    // What failed waits in the flusher for the next flush.
    for result in flushed {
        result?;
    }
    Ok(())
}

/// All that there is, at most five events at a time.
async fn consume(broker: &EventBroker) -> Result<(), TopicError> {
    let consumer = broker.consumer("read-group-ab")?.non_blocking();
    let consumed = consumer.consume(5, async |events| print(&events)).await?;
    println!("FINISHED: {consumed:?}");
    Ok(())
}

fn print(events: &[Delivery]) -> Result<(), HandlerError> {
    for event in events {
        let body: Value = event.parse()?;
        let (id, stream) = (event.message().offset(), event.topic());
        println!(
            "EVENT {} WITH ID {id} FROM STREAM {stream}",
            ejson::to_ejson(&body)
        );
    }
    Ok(())
}

/// A consumer has a number, and one process at a time is that consumer: the second is told so.
async fn one_at_a_time(broker: &EventBroker) -> Result<(), TopicError> {
    let consumer = broker.consumer("read-group-a")?;
    let (began, mut has_begun) = mpsc::channel(1);
    // Blocking: it waits for more, until it is dropped.
    let first = consumer.consume(5, async |_| {
        began.try_send(()).ok();
        Ok(())
    });
    let second = async {
        has_begun.recv().await;
        consumer.consume(5, async |_| Ok(())).await
    };
    tokio::select! {
        ended = first => println!("THE FIRST HAS ENDED: {:?}", ended?),
        second = second => println!("THE SECOND IS {:?}", second?),
    }
    Ok(())
}

/// Metadata says of which version a body is.
async fn versions(broker: &EventBroker) -> Result<(), TopicError> {
    let first = Sold {
        color: "red".into(),
        price: 12.23,
    };
    let second = SoldWithDiscount {
        color: "blue".into(),
        price: 120.5,
        discount: 10,
    };
    broker
        .publish("stream-a", &first, &[("version", "1")])
        .await?;
    broker
        .publish("stream-a", &second, &[("version", "2")])
        .await?;
    // The first consumer of the step before may have to end yet.
    let consumer = broker
        .consumer("read-group-a")?
        .wait(Duration::from_secs(30));
    let handler = async |events: Vec<Delivery>| {
        for event in events {
            match event.message().meta().get("version").map(String::as_str) {
                Some("1") => println!("VERSION 1: {:?}", event.parse::<Sold>()?),
                Some("2") => println!("VERSION 2: {:?}", event.parse::<SoldWithDiscount>()?),
                _ => {}
            }
            event.ack().await?; // it would be, when this returns
        }
        Ok(())
    };
    let consumed = consumer.non_blocking().consume(5, handler).await?;
    println!("FINISHED: {consumed:?}");
    Ok(())
}

async fn metadata_alone(broker: &EventBroker) -> Result<(), TopicError> {
    let meta = [("url", "/about-us/"), ("ip", "232.12.24.11")];
    broker.publish("stream-c", (), &meta).await?;
    let consumer = broker.consumer("read-group-c")?.non_blocking();
    let handler = async |events: Vec<Delivery>| {
        for event in events {
            println!("META {:?}", event.message().meta());
        }
        Ok(())
    };
    // With another number, others may consume at the same time.
    let consumed = consumer.consume_many(2, 100, handler).await?;
    println!("FINISHED: {consumed:?}");
    Ok(())
}

async fn statistics(broker: &EventBroker) -> Result<(), TopicError> {
    for stream in broker.streams_stats().await? {
        println!("STREAM {} IN {}", stream.stream, stream.pool);
        for group in stream.groups {
            println!(
                "GROUP {} HAS {} TO DO",
                group.group,
                group.lag + group.pending
            );
        }
    }
    Ok(())
}
