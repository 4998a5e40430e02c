//! From topics to sessions: followers begin, get records as far as their windows allow, wait while
//! their clients are away, and end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use updraft_protocol::ejson;
use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::message::Frames;
use updraft_protocol::session::{Output, Run, Session};
use updraft_topics::{Lost, Position, TopicError};

use super::EventLoop;
use crate::base::error::Error;
use crate::feed::{Beginning, Ended, Feed, FeedId, FeedNews, Opening};
use crate::mail::{FollowTopic, Mail};
use crate::shard::client::follower;
use crate::shard::following::{Found, Handed, Of, TopicFollowerId};
use crate::shard::mapping_calls::MappingCalls;

/// Followers that are served before sockets and timers get their turn.
const SERVED_PER_TURN: usize = 1024;

impl EventLoop {
    /// A subscription follows a topic.
    pub(super) fn follow_topic(
        &mut self,
        index: usize,
        run: Run,
        follow: FollowTopic,
        out: &mut Output,
    ) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let ddp = client.session.ddp();
        let how = ddp.and_then(|ddp| Some((ddp.encoding(run)?, ddp.answers_pings())));
        let Some(how) = how else {
            return;
        };
        let Some(running) = client.running_mut(run) else {
            return;
        };
        let beginning = follow.beginning.clone();
        let of = Of {
            connection: index,
            run,
        };
        let subscription = running.subscription.clone();
        let id = self.following.add(of, how, subscription, follow);
        running.follower = Some(id);
        if let Some(change) = &mut client.change {
            change.continuations.retain(|(of, _)| *of != run);
        }
        self.open_follower(of, id, &beginning, true, out);
    }

    /// It is known where a follower goes on that has lost records.
    pub(super) fn go_on_after_loss(
        &mut self,
        index: usize,
        run: Run,
        beginning: Result<Beginning, TopicError>,
        out: &mut Output,
    ) {
        let client = self.clients.get(index);
        let Some(id) = client.and_then(|it| follower(&it.subscriptions, run)) else {
            return;
        };
        let of = Of {
            connection: index,
            run,
        };
        match beginning {
            Ok(beginning) => {
                self.following.restart(id, &beginning);
                self.open_follower(of, id, &beginning, false, out);
            }
            Err(error) => self.end_follower(of, error, out),
        }
    }

    /// Tells the client where a follower begins, and lets it begin.
    fn open_follower(
        &mut self,
        Of { connection, run }: Of,
        id: TopicFollowerId,
        beginning: &Beginning,
        is_first: bool,
        out: &mut Output,
    ) {
        let Some(feed) = self.following.feed(id) else {
            return;
        };
        let place = opening(&feed, beginning);
        self.following.tell(id, self.shard.now);
        self.following.told_beginning(id);
        if self.following.wants_receipt(id) {
            let after = self.shard.shared.host.cursors.settings.confirm_after;
            self.want_receipt(connection, after);
        }
        self.tell_session(connection, out, |session, out| {
            if is_first {
                session.follow(run, &place, out);
            } else {
                session.show_place(run, &place, out);
            }
        });
        if let Opening::Lost(lost) = &beginning.opening
            && let Some(tail) = self.following.event_of_loss(id, lost)
            && let Some(client) = self.clients.get_mut(connection)
            && let Some(session) = client.session.ddp_mut()
        {
            if session.is_parked() {
                session.gap_event(run, &tail, out);
            } else if let Some(head) = session.record(run) {
                client.outgoing.push_event(head, tail);
                self.unsent.add(connection, &mut client.outgoing);
            }
            self.carry_out(connection, out);
        }
        self.let_follow(connection, id);
    }

    /// Serves the followers that may be sent more, as far as that may run ahead of the writes.
    pub(super) fn serve_followers(&mut self, out: &mut Output) {
        while let Some(feed) = self.following.next_grown() {
            if !self.deliver_news(feed, out) {
                return;
            }
        }
        for _ in 0..SERVED_PER_TURN {
            if self.unsent.is_far_ahead() {
                return;
            }
            let Some(id) = self.following.next_due() else {
                return;
            };
            let found = self.following.look(id);
            self.serve(id, found, out);
        }
    }

    pub(super) fn hear_of_feed(&mut self, news: FeedNews, out: &mut Output) {
        for (id, found) in self.following.hear(news) {
            self.serve(id, found, out);
        }
    }

    /// Hands the new records of a topic to those who wait for them. Returns `false` if some are
    /// left that must wait for writes.
    fn deliver_news(&mut self, feed: FeedId, out: &mut Output) -> bool {
        loop {
            if self.unsent.is_far_ahead() {
                return false;
            }
            let Some(records) = self.following.news(feed) else {
                return true;
            };
            let ids = self.following.followers(feed);
            for record in &records {
                let mut noted = Vec::new();
                let mut calls = MappingCalls::default();
                for id in &ids {
                    let handed = self.following.hand_live(*id, record, &mut calls);
                    if handed.is_some_and(|handed| self.hand(handed)) {
                        noted.push(*id);
                    }
                }
                drop(calls);
                for id in noted {
                    self.note(id, out);
                }
            }
        }
    }

    /// Goes on with a follower after it has looked behind its place.
    fn serve(&mut self, id: TopicFollowerId, found: Found, out: &mut Output) {
        match found {
            Found::Records(records, next) => {
                let mut calls = MappingCalls::default();
                for record in &records {
                    if let Some(handed) = self.following.hand(id, record, &mut calls) {
                        let (index, is_urgent) = (handed.connection, handed.is_urgent());
                        self.hand(handed);
                        if is_urgent {
                            // Behind this record, not behind all of them: a client that is lost
                            // sooner has confirmed some.
                            self.ask_for_receipt(index, out);
                        }
                    }
                }
                drop(calls);
                self.following.moved(id, next);
                self.note(id, out);
            }
            Found::Nothing => self.note(id, out),
            Found::Lost(lost) => self.lose(id, lost, out),
            Found::Ended(ended) => {
                self.note(id, out);
                let Some(of) = self.following.of(id) else {
                    return;
                };
                match ended {
                    Ended::Closed => self.tell_session(of.connection, out, |session, out| {
                        session.complete(of.run, out);
                    }),
                    Ended::Failed(error) => self.end_follower(of, error, out),
                }
            }
        }
    }

    /// Queues a record for a client. Returns whether there is more to do for it.
    fn hand(&mut self, handed: Handed) -> bool {
        let Handed {
            connection,
            run,
            before,
            tail,
            bytes,
            receipt,
            is_notable,
        } = handed;
        let Some(tail) = tail else {
            return true;
        };
        let Some(client) = self.clients.get_mut(connection) else {
            return false;
        };
        let Some(session) = client.session.ddp_mut() else {
            return false;
        };
        let Some(head) = session.record(run) else {
            return false;
        };
        let outgoing = &mut client.outgoing;
        outgoing.push_event(head, tail);
        let ledgers = &mut self.following.ledgers;
        ledgers.push(connection, outgoing.queued_messages(), run, bytes, before);
        self.unsent.add_event(connection, outgoing);
        let is_notable =
            is_notable || outgoing.bytes() > self.shard.limits.flow && !client.waiting.is_full;
        if let Some(after) = receipt {
            self.want_receipt(connection, after);
        }
        is_notable
    }

    /// Tells a client where it is in its topic, if it is to learn that, and applies the limit on
    /// its output.
    fn note(&mut self, id: TopicFollowerId, out: &mut Output) {
        let Some(Of { connection, run }) = self.following.of(id) else {
            return;
        };
        let now = self.shard.now;
        if self.following.has_caught_up(id) {
            if let Some(position) = self.following.tell(id, now) {
                let place = fields(ejson!({ "state": "live", "position": position.to_string() }));
                self.tell_session(connection, out, |session, out| {
                    session.caught_up(run, &place, out);
                });
            }
        } else if let Some(position) = self.following.untold(id, now) {
            let place = fields(ejson!({ "position": position.to_string() }));
            self.tell_session(connection, out, |session, out| {
                session.show_place(run, &place, out);
            });
        }
        self.look_after_cursor(connection, id, out);
        let flow = self.shard.limits.flow;
        let client = self.clients.get(connection);
        if client.is_some_and(|it| it.outgoing.bytes() > flow && !it.waiting.is_full) {
            self.make_room(connection, out);
        }
    }

    /// A follower has lost records: it ends, or finds out where to go on.
    fn lose(&mut self, id: TopicFollowerId, lost: Lost, out: &mut Output) {
        let (Some(of), Some(feed)) = (self.following.of(id), self.following.feed(id)) else {
            return;
        };
        let host = &self.shard.shared.host;
        host.gauges.gaps.fetch_add(1, Ordering::Relaxed);
        let Some((policies, subscription)) = self.following.recover(id) else {
            return;
        };
        if policies.start(lost).is_none() {
            return self.end_follower(of, lost.into(), out);
        }
        host.spawn(async move {
            let beginning = feed.go_on(lost, policies).await;
            let mail = Mail::GoOn(of.run, Box::new(beginning));
            subscription.connection().send(mail);
        });
    }

    /// Ends the subscription of a follower, with an error.
    fn end_follower(&mut self, of: Of, error: TopicError, out: &mut Output) {
        let error = Error::from(error).into_wire();
        self.tell_session(of.connection, out, |session, out| {
            session.stop(of.run, Some(&error), out);
        });
    }

    /// The followers of a client that is away get nothing until it is back. Records in its queue
    /// count as sent.
    pub(super) fn pause_followers(&mut self, index: usize) {
        let Some(client) = self.clients.get(index) else {
            return;
        };
        self.following.ledgers.forget(index);
        let followers = client.subscriptions.iter().filter_map(|it| it.follower);
        followers.for_each(|id| self.following.pause(id));
    }

    /// A client is gone, and these messages were not written. Takes the records of followers out of
    /// them: the followers go back to the last record that was written, and wait.
    pub(super) fn rewind(&mut self, index: usize, unwritten: Frames) -> Frames {
        let Some(client) = self.clients.get(index) else {
            return unwritten;
        };
        let Some(ledger) = self.following.ledgers.of(index) else {
            self.pause_followers(index);
            return unwritten;
        };
        let mut places = HashMap::new();
        let mut dropped = HashSet::new();
        for (message, run, before) in ledger.take() {
            // What a run that is over has sent stays.
            if let Some(id) = follower(&client.subscriptions, run) {
                dropped.insert(message);
                places.entry(id).or_insert(before);
            }
        }
        for (id, place) in places {
            self.following.rewind(id, place);
        }
        self.pause_followers(index);
        let frames = unwritten.iter().enumerate();
        let kept = frames.filter(|(message, _)| !dropped.contains(message));
        let mut frames = Frames::default();
        kept.for_each(|(_, frame)| frames.push_ref(frame));
        frames
    }

    /// The client is back, or its user has changed: its followers go on.
    pub(super) fn go_on_following(&mut self, index: usize) {
        let Some(client) = self.clients.get(index) else {
            return;
        };
        let followers = client.subscriptions.iter().filter_map(|it| it.follower);
        for id in followers.collect::<Vec<_>>() {
            self.let_follow(index, id);
            if self.following.wants_receipt(id) {
                // It has received the last ones over a connection that is gone.
                self.want_receipt(index, Duration::ZERO);
            }
        }
    }

    fn let_follow(&mut self, index: usize, id: TopicFollowerId) {
        let client = self.clients.get(index);
        if client.is_some_and(|it| !it.session.is_parked() && it.change.is_none()) {
            self.following.go_on(id);
        }
    }

    fn tell_session(
        &mut self,
        index: usize,
        out: &mut Output,
        tell: impl FnOnce(&mut Session, &mut Output),
    ) {
        let client = self.clients.get_mut(index);
        if let Some(session) = client.and_then(|client| client.session.ddp_mut()) {
            tell(session, out);
            self.carry_out(index, out);
        }
    }
}

/// What a client is told of the beginning of a follower.
fn opening(feed: &Arc<Feed>, beginning: &Beginning) -> Object {
    let position = Position::at(feed.topic().name(), beginning.place);
    let state = match beginning.opening {
        Opening::Live => "live",
        Opening::Resumed => "resumed",
        Opening::Lost(lost) => lost.code(),
    };
    let mut place = fields(ejson!({
        "state": state,
        "position": position.to_string(),
        "first": beginning.first as f64,
        "last": beginning.last(feed).to_string()
    }));
    match beginning.opening {
        Opening::Lost(Lost::Gap(gap)) => {
            place.insert("lost", Value::from(gap.lost as f64));
        }
        Opening::Lost(Lost::Reset(reset)) => {
            place.insert("reason", Value::from(reset.reason.as_str()));
        }
        _ => {}
    }
    place
}

fn fields(value: Value) -> Object {
    match value {
        Value::Object(fields) => fields,
        _ => Object::default(),
    }
}
