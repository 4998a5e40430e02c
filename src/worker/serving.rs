//! The task that fetches records for a client, and gives back what it leaves.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use updraft_topics::TopicError;
use updraft_topics::group::{Delivery, Member};
use uuid::Uuid;

use super::Worker;
use super::delivery::event;
use super::seat::{ClientState, Seat, SeatEnd};
use crate::publication::Vent;

/// How long the end of a seat may take. If the store is away for longer, what the client had comes
/// back after its ack wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct Serving {
    worker: Arc<Worker>,
    seat: Arc<Seat>,
    connection: Uuid,
    states: watch::Receiver<ClientState>,
    member: Member,
    credit: usize,
    /// What the client has and did not answer, in the order of delivery; bounded by the credit.
    unanswered: BTreeMap<u64, Delivery>,
    next: u64,
}

impl Serving {
    pub(super) fn new(
        worker: Arc<Worker>,
        seat: Arc<Seat>,
        connection: Uuid,
        member: Member,
        credit: usize,
    ) -> Self {
        Self {
            states: seat.states(),
            worker,
            seat,
            connection,
            member,
            credit,
            unanswered: BTreeMap::new(),
            next: 0,
        }
    }

    /// Runs until the seat is given up.
    pub(super) async fn run(mut self) {
        let ending = match self.serve().await {
            Ok(ending) => ending,
            Err(error) => {
                let vent = self.states.borrow().vent.clone();
                if let Some(vent) = vent {
                    vent.error(error);
                }
                SeatEnd::Left
            }
        };
        self.worker.seats.remove(self.connection, &self.seat);
        // What is not given back now comes back by itself.
        timeout(PATIENCE, self.leave(ending)).await.ok();
    }

    async fn serve(&mut self) -> Result<SeatEnd, TopicError> {
        let mut closed = FuturesUnordered::new();
        loop {
            let state = self.states.borrow_and_update().clone();
            if let Some(ending) = state.ending {
                return Ok(ending);
            }
            let room = self.credit.saturating_sub(self.unanswered.len());
            let is_there = state.is_there();
            let vent = state.vent.filter(|_| is_there && room > 0);
            let fetched = {
                let mut fetch = pin!(fetch(&mut self.member, vent.as_ref(), room));
                loop {
                    tokio::select! {
                        biased;
                        _ = self.states.changed() => break None,
                        Some(number) = closed.next(), if !closed.is_empty() => {
                            self.unanswered.remove(&number);
                            if room == 0 {
                                break None;
                            }
                        }
                        fetched = &mut fetch => break Some(fetched?),
                    }
                }
            };
            let Some((vent, deliveries)) = vent.zip(fetched) else {
                continue;
            };
            for delivery in deliveries {
                if let Some((number, is_sent)) = self.deliver(&vent, &delivery).await {
                    closed.push(async move {
                        tokio::select! {
                            () = delivery.until_closed() => {}
                            // The run was over first.
                            Err(_) = is_sent => drop(delivery.give_back().await),
                        }
                        number
                    });
                }
            }
        }
    }

    /// Sends a delivery to the client, if it is still there. Returns its number, and what resolves
    /// when its session has it.
    async fn deliver(
        &mut self,
        vent: &Vent,
        delivery: &Delivery,
    ) -> Option<(u64, oneshot::Receiver<()>)> {
        let is_there = tokio::select! {
            biased;
            _ = self.states.wait_for(|state| !state.is_there()) => false,
            () = vent.flowing() => !vent.is_stopped(),
        };
        if !is_there {
            delivery.give_back().await.ok();
        }
        if !delivery.is_open() {
            return None;
        }
        let event = match event(delivery, self.worker.group.ack_wait()) {
            Ok(event) => event,
            Err(error) => {
                delivery.reject(&error.to_string()).await.ok();
                return None;
            }
        };
        self.seat.remember(delivery.token());
        let number = self.next;
        self.next = number.saturating_add(1);
        self.unanswered.insert(number, delivery.clone());
        Some((number, vent.send_event(event)))
    }

    /// Gives back what the client has.
    async fn leave(self, ending: SeatEnd) {
        if ending == SeatEnd::Lost {
            // The last of a key first, so that each of them counts.
            let unanswered = self.unanswered.values().rev();
            let failed = unanswered.map(|delivery| delivery.fail(None, "its client was lost"));
            join_all(failed).await;
        }
        self.member.leave().await.ok();
    }
}

/// Fetches records, if the client can have some.
async fn fetch(
    member: &mut Member,
    vent: Option<&Vent>,
    room: usize,
) -> Result<Vec<Delivery>, TopicError> {
    match vent {
        Some(vent) => {
            vent.flowing().await;
            member.fetch(room).await
        }
        None => pending().await,
    }
}
