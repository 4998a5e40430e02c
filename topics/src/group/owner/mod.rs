//! The task that owns a process' slots of a group: it reads the topics for them, hands records to
//! members, takes their answers, and writes the registers.
//!
//! One write is under way at a time, with all slots that have changed since the last one. A record
//! is delivered, and an answer is confirmed, when the register that says so is written.

mod hand_out;
mod park;
mod reading;
mod sharing;
mod taking;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use self::hand_out::Outgoing;
use self::park::Parked;
use self::reading::Input;
use self::sharing::{Seat, View};
use self::writing::Written;
use super::context::{Answering, Context, Dropped, Fetch, Request, Verdict};
use super::feed::Fed;
use super::ids::{MemberId, Millis};
use super::slot::{Answered, Failed, Now, Return, Slot};
use crate::clock::{millis, now};
use crate::{TopicError, Version};

/// Requests that are taken in before the next step.
const AT_ONCE: usize = 1024;

/// After how long floors are written that have risen without anything else.
const FLOORS_AFTER: Millis = 800;

type Future<T> = Option<Pin<Box<dyn std::future::Future<Output = T> + Send>>>;

type Reply = oneshot::Sender<Result<(), TopicError>>;

/// The task.
pub(crate) struct Owner {
    context: Arc<Context>,
    began: Instant,
    requests: mpsc::Receiver<Request>,
    /// Set when nobody can ask any more, or the topics are being closed.
    is_closing: bool,
    /// By number; `None` for those that this process does not own.
    slots: Vec<Option<Owned>>,
    members: HashMap<MemberId, Arc<str>>,
    /// Filled by members, at most one entry for each; drained as records are found for them.
    fetches: VecDeque<Fetch>,
    /// What was begun since the last write began.
    outgoing: Vec<Outgoing>,
    /// What is delivered when the write under way is done.
    written_next: Vec<Outgoing>,
    /// Members that leave, until the slots say so.
    leaving: Vec<(MemberId, oneshot::Sender<()>)>,
    inputs: Vec<Input>,
    pages: mpsc::Receiver<Fed>,
    /// Grows with each fetch that does not wait, and when slots are taken, so that what was read
    /// before is known from what was read after.
    check: u64,
    writing: Future<Vec<Written>>,
    looking: Future<Result<View, TopicError>>,
    /// When the slots of others are looked at next.
    next_look: Instant,
    /// How many slots this process is to have; `None` before it has looked.
    target: Option<usize>,
    seat: Seat,
    parking: Future<Parked>,
    /// Drained by `park`; bounded by what is open in the slots.
    to_park: VecDeque<(usize, Failed)>,
    /// How many slots stood still when that was last looked at.
    stalled: u64,
    is_paused: bool,
    is_deleted: bool,
    /// Where the search for something to hand out begins.
    next_slot: usize,
    next_input: usize,
}

/// A slot that this process owns.
struct Owned {
    slot: Slot,
    version: Version,
    /// Who waits for the next write of it.
    replies: Vec<Reply>,
    /// Who waits for the write under way.
    writing: Vec<Reply>,
    /// When its floors have risen.
    moved: Option<Millis>,
    /// The look at the topics that was the next one when it was taken: what was read before does not
    /// know of all that another process has handed out.
    since: u64,
    /// Whether nothing is handed out any more, so that another process can have it.
    is_leaving: bool,
}

impl Owner {
    pub(crate) fn new(context: Arc<Context>, requests: mpsc::Receiver<Request>) -> Self {
        let (inputs, pages) = Input::start_all(&context);
        let began = Instant::now();
        Self {
            began,
            requests,
            is_closing: false,
            slots: (0..context.options.slots()).map(|_| None).collect(),
            members: HashMap::new(),
            fetches: VecDeque::new(),
            outgoing: Vec::new(),
            written_next: Vec::new(),
            leaving: Vec::new(),
            inputs,
            pages,
            check: 0,
            writing: None,
            looking: None,
            next_look: began,
            target: None,
            seat: Seat::default(),
            parking: None,
            to_park: VecDeque::new(),
            stalled: 0,
            is_paused: false,
            is_deleted: false,
            next_slot: 0,
            next_input: 0,
            context,
        }
    }

    /// Runs until nobody can ask for anything any more, and the slots are given up.
    pub(crate) async fn run(mut self) {
        let mut watcher = self.context.wake_ups.watch(&self.context.name.wake_up());
        let mut changes = self.context.beats.changes();
        let closed = self.context.wake_ups.closed().clone();
        let context = Arc::clone(&self.context);
        loop {
            watcher.arm();
            self.step();
            if self.is_closing && self.owned() == 0 && self.writing.is_none() {
                if self.seat.is_empty() && self.looking.is_none() {
                    return;
                }
                self.next_look = Instant::now();
                self.look_if_due();
            }
            let timer = self.next_timer();
            tokio::select! {
                request = self.requests.recv(), if !self.is_closing => match request {
                    Some(request) => self.take_requests(request),
                    None => self.is_closing = true,
                },
                Some(fed) = self.pages.recv() => self.take_page(fed),
                written = done(&mut self.writing) => self.take_written(written),
                view = done(&mut self.looking) => self.take_view(view),
                parked = done(&mut self.parking) => self.take_parked(parked),
                () = context.dropped.added() => {}
                _ = changes.changed() => self.next_look = Instant::now(),
                () = watcher.woken() => self.next_look = Instant::now(),
                () = closed.cancelled(), if !self.is_closing => self.is_closing = true,
                () = sleep_until(timer) => {}
            }
        }
    }

    /// Does all that can be done now.
    fn step(&mut self) {
        let now = self.now();
        for dropped in self.context.dropped.take() {
            self.take_back(dropped, now);
        }
        if self.is_closing {
            self.close(now);
        }
        for (number, owned) in self.slots.iter_mut().enumerate() {
            let Some(owned) = owned else {
                continue;
            };
            owned.slot.expire(now);
            let failed = owned.slot.take_to_park();
            self.to_park
                .extend(failed.into_iter().map(|it| (number, it)));
            if owned.slot.has_moved() && owned.moved.is_none() {
                owned.moved = Some(now);
            }
        }
        self.look_if_due();
        self.shed();
        self.hand_out();
        self.read_on();
        self.park();
        self.write();
        self.confirm_leaving();
    }

    fn take_requests(&mut self, first: Request) {
        let now = self.now();
        self.take_request(first, now);
        for _ in 0..AT_ONCE {
            match self.requests.try_recv() {
                Ok(request) => self.take_request(request, now),
                Err(_) => return,
            }
        }
    }

    fn take_request(&mut self, request: Request, now: Millis) {
        match request {
            Request::Join(member, name) => {
                if self.members.is_empty() {
                    self.next_look = Instant::now();
                }
                self.members.insert(member, name);
            }
            Request::Fetch(fetch) if self.is_deleted => {
                let error = TopicError::UnknownGroup { nearest: None };
                drop(fetch.reply.send(Err(error)));
            }
            Request::Fetch(mut fetch) => {
                if !fetch.waits {
                    self.check = self.check.saturating_add(1);
                    fetch.check = self.check;
                }
                self.fetches.push_back(fetch);
            }
            Request::Answer(answering) => self.take_answer(answering, now),
            Request::Leave(member, reply) => {
                self.forget_member(member, now);
                self.leaving.push((member, reply));
            }
        }
    }

    fn take_answer(&mut self, answering: Answering, now: Millis) {
        let Answering {
            delivery,
            verdict,
            reply,
        } = answering;
        let owned = self.slots.get_mut(delivery.slot).and_then(Option::as_mut);
        let Some(owned) = owned else {
            drop(reply.send(Err(TopicError::Stale)));
            return;
        };
        let answered = match &verdict {
            Verdict::Ack => owned.slot.ack(delivery),
            Verdict::Extend => owned.slot.extend(delivery, now),
            Verdict::Return(why) => owned.slot.give_back(delivery, why.clone(), now),
        };
        if answered == Answered::Taken && !matches!(verdict, Verdict::Extend) {
            owned.replies.push(reply);
            return;
        }
        let outcome = match answered {
            Answered::Taken | Answered::Known => Ok(()),
            Answered::Stale => Err(TopicError::Stale),
            Answered::OutOfOrder => Err(TopicError::OutOfOrder),
        };
        drop(reply.send(outcome));
    }

    /// Another process has taken a slot, unless this one has written or taken it since.
    fn lose(&mut self, number: usize, version: Version) {
        let Some(place) = self.slots.get_mut(number) else {
            return;
        };
        if let Some(owned) = place.take_if(|owned| owned.version == version) {
            let group = &self.context.name;
            tracing::debug!(%group, number, "another process has taken a slot");
            owned.lose();
        }
    }

    fn take_back(&mut self, dropped: Dropped, now: Millis) {
        match dropped {
            Dropped::Member(member) => self.forget_member(member, now),
            Dropped::Delivery(delivery) => {
                let owned = self.slots.get_mut(delivery.slot).and_then(Option::as_mut);
                if let Some(owned) = owned {
                    owned.slot.give_back(delivery, Return::Uncounted, now);
                }
            }
        }
    }

    fn forget_member(&mut self, member: MemberId, now: Millis) {
        self.fetches.retain(|fetch| fetch.member != member);
        for owned in self.slots.iter_mut().flatten() {
            owned.slot.take_from(member, &Return::Uncounted, now);
        }
        if self.members.remove(&member).is_some() && self.members.is_empty() {
            self.target = None;
            self.next_look = Instant::now();
        }
    }

    /// Gives everything back.
    fn close(&mut self, now: Millis) {
        for fetch in self.fetches.drain(..) {
            drop(fetch.reply.send(Err(TopicError::ShuttingDown)));
        }
        let members: Vec<_> = self.members.keys().copied().collect();
        for member in members {
            self.forget_member(member, now);
        }
    }

    /// Tells members that have left, when no slot says otherwise.
    fn confirm_leaving(&mut self) {
        let is_written = self.writing.is_none()
            && self
                .slots
                .iter()
                .flatten()
                .all(|owned| !owned.slot.is_changed());
        // The last one can end with its process: nobody waits for that one's lease then.
        let takes_part = self.owned() > 0 || !self.seat.is_empty() || self.looking.is_some();
        if is_written && !(self.members.is_empty() && takes_part) {
            for (_, reply) in self.leaving.drain(..) {
                reply.send(()).ok();
            }
        }
    }

    fn owned(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    fn in_flight(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots.map(|owned| owned.slot.in_flight()).sum()
    }

    fn in_flight_of(&self, member: MemberId) -> usize {
        let slots = self.slots.iter().flatten();
        slots.map(|owned| owned.slot.in_flight_of(member)).sum()
    }

    fn now(&self) -> Millis {
        millis(self.began.elapsed())
    }

    fn both_now(&self) -> Now {
        Now {
            mono: self.now(),
            wall: now(),
        }
    }

    /// When something is due that nobody tells.
    fn next_timer(&self) -> Instant {
        let slots = self.slots.iter().flatten();
        let timers = slots.filter_map(|owned| {
            let floors = owned.moved.map(|moved| moved.saturating_add(FLOORS_AFTER));
            let floors = floors.filter(|_| self.writing.is_none());
            [owned.slot.next_timer(), floors]
                .into_iter()
                .flatten()
                .min()
        });
        let timer = timers.min().and_then(|at| {
            // What is due at a millisecond is due when it is over.
            self.began
                .checked_add(Duration::from_millis(at.saturating_add(1)))
        });
        let look = self
            .seat
            .next()
            .unwrap_or(self.next_look)
            .min(self.next_look);
        let look = self.looking.is_none().then_some(look);
        let look = look.filter(|_| self.takes_part() || !self.seat.is_empty());
        let far = Instant::now().checked_add(Duration::from_secs(3600));
        [timer, look, far]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.next_look)
    }

    fn takes_part(&self) -> bool {
        !self.members.is_empty() && !self.is_closing && !self.is_deleted
    }
}

impl Owned {
    /// Tells everybody that it is not this process' own any more.
    fn lose(mut self) {
        self.slot.end();
        for reply in self.replies.into_iter().chain(self.writing) {
            drop(reply.send(Err(TopicError::Stale)));
        }
    }
}

/// Waits for a future that there may not be, and forgets it when it is done.
async fn done<T>(future: &mut Future<T>) -> T {
    match future {
        Some(running) => {
            let output = running.as_mut().await;
            *future = None;
            output
        }
        None => std::future::pending().await,
    }
}
