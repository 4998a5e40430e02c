//! The bounds of an inbox, and what becomes of mail that nobody reads any more.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::Bytes;
use updraft_bus::{Message, PayloadLimits};
use updraft_protocol::session::Run;
use updraft_protocol::view::Fields;

use super::*;
use crate::handler::Headers;
use crate::limit::Network;
use crate::mail::{Backlog, Document};
use crate::mapping::Event;
use crate::shard::Peer;
use crate::stream::{Service, SockJs, Speaks};

const RUN_LIMIT: usize = 10_000;
const MEMORY: usize = 1 << 20;

fn inbox(bus_bytes: usize, arrivals: usize) -> (Arc<Inbox>, Arc<Memory>, mio::Poll) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    let memory = Arc::new(Memory::new(MEMORY, 1));
    let limits = InboxLimits {
        bus_bytes,
        arrivals,
        ..InboxLimits::default()
    };
    let inbox = Inbox::new(0, waker, limits, memory.clone());
    (Arc::new(inbox), memory, poll)
}

fn address(inbox: &Arc<Inbox>) -> Arc<Address> {
    let place = Place {
        index: 0,
        generation: 1,
    };
    Arc::new(Address::new(inbox.clone(), place, RUN_LIMIT))
}

/// A run, which only a session can make.
fn run() -> Run {
    use std::time::Duration;
    use updraft_protocol::session::{Action, Output, Session, SessionConfig};

    let mut config = SessionConfig::default();
    config.names.universal(0);
    let mut out = Output::default();
    let mut session = Session::new("x", Arc::new(config), Duration::ZERO);
    let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
    session.receive(connect, Duration::ZERO, &mut out);
    let run = out.actions.iter().find_map(|action| match action {
        Action::Publish { run, .. } => Some(*run),
        _ => None,
    });
    run.unwrap()
}

fn added(bytes: usize) -> Mail {
    let document = Document {
        collection: "x".repeat(bytes),
        id: String::new(),
        fields: Fields::default(),
    };
    Mail::Added(run(), Box::new(document))
}

fn taken(inbox: &Inbox) -> Delivery {
    let mut delivery = Delivery::default();
    inbox.take(&mut delivery);
    for letter in &delivery.letters {
        if let Letter::Mail { address, mail, .. } = letter {
            address.received(mail);
        }
    }
    delivery
}

fn batch(channel: &str, bytes: usize) -> Batch {
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(bytes)));
    let message = Message::check(channel.into(), payload, &PayloadLimits::default()).unwrap();
    Arc::from([Arc::new(message)])
}

fn gap(generation: u64, channels: &[&str]) -> Gap {
    let channels = channels.iter().map(|name| Arc::from(*name));
    Gap::new(generation, channels.collect::<Arc<[_]>>())
}

#[tokio::test]
async fn found_101_mail_is_never_refused_and_its_senders_wait_where_they_await() {
    let (inbox, memory, _poll) = inbox(0, 0);
    let address = address(&inbox);
    for _ in 0..100 {
        address.send(added(1000));
    }
    assert!(address.queued() > 100_000 && !address.is_flowing());
    assert_eq!(memory.queued(), address.queued());
    let mut flowing = pin!(address.flowing());
    assert!(is_pending(&mut flowing));
    // The shard has read it, and has made output of it.
    address.set_output(RUN_LIMIT + 1);
    assert_eq!(taken(&inbox).letters.len(), 100);
    assert_eq!((address.queued(), memory.queued()), (0, 0));
    assert!(is_pending(&mut flowing));
    address.set_output(RUN_LIMIT);
    flowing.await;
}

#[tokio::test]
async fn found_101_who_waits_for_a_client_that_is_gone_does_not_wait() {
    let (inbox, _memory, _poll) = inbox(0, 0);
    let address = address(&inbox);
    address.set_output(RUN_LIMIT + 1);
    let mut flowing = pin!(address.flowing());
    assert!(is_pending(&mut flowing));
    address.close();
    flowing.await;
}

#[tokio::test]
async fn found_101_when_memory_is_short_those_wait_who_have_something_on_its_way() {
    let (inbox, memory, _poll) = inbox(0, 0);
    let (some, none) = (address(&inbox), address(&inbox));
    some.set_output(1);
    let mut flowing = pin!(some.flowing());
    flowing.as_mut().await;
    memory.report(0, MEMORY + 1, 0);
    flowing.set(some.flowing());
    assert!(is_pending(&mut flowing));
    none.flowing().await;
    // Room for others is room for this one, and so is an empty output.
    memory.report(0, MEMORY, 0);
    flowing.as_mut().await;
    memory.report(0, MEMORY + 1, 0);
    flowing.set(some.flowing());
    assert!(is_pending(&mut flowing));
    some.set_output(0);
    flowing.await;
}

#[test]
fn found_101_mail_that_is_read_later_counts_until_then() {
    let (inbox, memory, _poll) = inbox(0, 0);
    let address = address(&inbox);
    let mut backlog = Backlog::new(address.clone());
    address.send(added(1000));
    address.send(added(500));
    let mut delivery = Delivery::default();
    inbox.take(&mut delivery);
    for letter in delivery.letters {
        let Letter::Mail { mail, .. } = letter else {
            panic!("only mail was sent");
        };
        backlog.push(mail);
    }
    let queued = address.queued();
    assert!(queued > 1500 && memory.queued() == queued);
    assert!(backlog.pop().is_some());
    assert!(address.queued() < queued - 1000);
    drop(backlog);
    assert_eq!((address.queued(), memory.queued()), (0, 0));
}

/// Whether a future is not at its end yet.
fn is_pending(future: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    future.as_mut().poll(&mut context).is_pending()
}

#[test]
fn what_the_bus_delivers_is_bounded_and_what_is_dropped_is_told() {
    let (inbox, _memory, _poll) = inbox(1000, 0);
    inbox.deliver(&batch("kept", 800));
    inbox.deliver(&batch("large", 800));
    // It would fit, but would come before the word of what was lost.
    inbox.deliver(&batch("small", 1));
    inbox.deliver(&batch("large", 1));
    let delivery = taken(&inbox);
    assert_eq!(delivery.letters.len(), 1);
    let mut dropped: Vec<_> = delivery.dropped.iter().map(|name| &**name).collect();
    dropped.sort_unstable();
    assert_eq!(dropped, ["large", "small"]);
    // A batch that is larger than the limit comes alone.
    inbox.deliver(&batch("large", 5000));
    let delivery = taken(&inbox);
    assert_eq!((delivery.letters.len(), delivery.dropped.len()), (1, 0));
}

#[test]
fn gaps_behind_each_other_are_one() {
    let (inbox, _memory, _poll) = inbox(1000, 0);
    inbox.gap(gap(1, &["a", "b"]));
    inbox.gap(gap(2, &["b", "c"]));
    inbox.deliver(&batch("a", 1));
    inbox.gap(gap(3, &["a"]));
    let delivery = taken(&inbox);
    let told: Vec<_> = delivery
        .letters
        .iter()
        .filter_map(|letter| match letter {
            Letter::Gap(gap) => Some((gap.generation, gap.channels.len())),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(2, 3), (3, 1)]);
}

#[test]
fn arrivals_are_bounded() {
    let (inbox, _memory, _poll) = inbox(0, 2);
    let service = Arc::new(Service {
        options: SockJs::meteor(),
        speaks: Speaks::Ddp,
    });
    let registry = polling::PollingSessions::new(polling::PollingLimits::default());
    let arrive = || {
        let counted = registry.enter(Network::of(None)).expect("room");
        let share = polling::SessionShare::new(counted, None);
        let session = polling::PollingSession::new((0, "it".into()), share, inbox.clone(), 1);
        inbox.arrive(Box::new(Arrival {
            peer: Peer::Polling(session),
            service: service.clone(),
            client_address: None,
            for_meteor: None,
            seat: None,
            room: None,
            headers: Headers::default(),
        }))
    };
    assert!(arrive() && arrive());
    assert!(!arrive());
    assert_eq!(taken(&inbox).letters.len(), 2);
    assert!(arrive());
    inbox.close();
    assert!(!arrive());
}

#[test]
fn mail_to_a_shard_that_has_ended_is_let_go_of() {
    let (inbox, memory, _poll) = inbox(1000, 0);
    let address = address(&inbox);
    let held = Arc::new(());
    let on_gap = |held: &Arc<()>| {
        let held = held.clone();
        let on_gap = move || {
            drop(held.clone());
            Ok(Event::none())
        };
        Mail::OnGap(run(), Box::new(on_gap))
    };
    address.send(on_gap(&held));
    inbox.deliver(&batch("a", 1));
    assert_eq!(Arc::strong_count(&held), 2);
    inbox.close();
    address.send(on_gap(&held));
    inbox.deliver(&batch("a", 1));
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!((address.queued(), memory.queued()), (0, 0));
    let delivery = taken(&inbox);
    assert!(delivery.letters.is_empty() && delivery.dropped.is_empty());
}

#[test]
fn a_burst_leaves_no_room_behind() {
    let (inbox, _memory, _poll) = inbox(0, 0);
    let mut delivery = Delivery::default();
    for _ in 0..10 * KEPT_LETTERS {
        inbox.put(Letter::Stop);
    }
    inbox.take(&mut delivery);
    delivery.letters.clear();
    inbox.take(&mut delivery);
    inbox.take(&mut delivery);
    assert!(delivery.letters.capacity() <= 2 * KEPT_LETTERS);
    assert!(inbox.lock().letters.capacity() <= 2 * KEPT_LETTERS);
}
