//! Carries out what a session asks for: queues its messages, starts its handlers, ends its
//! connection.

use std::sync::atomic::Ordering;

use updraft_protocol::message::ErrorCode;
use updraft_protocol::session::{Action, Output, Requested, Run};

use super::EventLoop;
use super::ending::Ending;
use super::resuming::ResumeRequest;
use crate::base::redact::Redacted;
use crate::shard::client::Client;
use crate::telemetry::GaugeGuard;

impl EventLoop {
    /// Carries out what a session has asked for, which empties `out`, and sets its next timer.
    pub(super) fn carry_out(&mut self, index: usize, out: &mut Output) {
        let mut actions = Vec::new();
        // A request that a rate limit refuses is answered at once, and then the next message has
        // its turn. So there may be more to do.
        while !(out.frames.is_empty() && out.actions.is_empty() && out.upstream.is_empty()) {
            self.queue_frames(index, out);
            if !out.upstream.is_empty() {
                self.send_upstream(index, out);
            }
            std::mem::swap(&mut actions, &mut out.actions);
            for action in actions.drain(..) {
                self.act(index, action, out);
            }
        }
        if actions.capacity() > out.actions.capacity() {
            out.actions = actions;
        }
        self.starts.end_of_turn();
        self.check_pressure(index);
        self.set_timer(index);
    }

    fn queue_frames(&mut self, index: usize, out: &mut Output) {
        let frames = out.frames.drain(..);
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let only_follows =
            client.outgoing.is_blocked && client.follows() && !client.outgoing.has_own_messages();
        frames.for_each(|frame| client.outgoing.push(frame));
        if only_follows && client.outgoing.has_own_messages() {
            // Until now it was not slow, however little it had taken.
            client.outgoing.wait_anew(self.shard.now);
        }
        self.unsent.add(index, &mut client.outgoing);
    }

    /// An action about the connection gets the client's index, because the client may be gone
    /// afterwards. The other actions get the client.
    fn act(&mut self, index: usize, action: Action, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match action {
            Action::Connected => self.connected(index),
            Action::Resume { session, received } => {
                client.link.connected();
                let by = client.place();
                self.resume_requests.push(ResumeRequest {
                    by,
                    session,
                    received,
                });
            }
            Action::OpenUpstream => {
                client.link.connected();
                self.open_upstream(index);
            }
            Action::User(user) => self.meteor_says_user(index, user.map(Into::into)),
            Action::UpstreamLost => self.lose_upstream(index),
            Action::UnreadableUpstream => {
                let gauges = &self.shard.shared.host.gauges;
                gauges.unreadable_upstream.fetch_add(1, Ordering::Relaxed);
            }
            Action::NotMeteors(collection) => self.not_meteors(&collection),
            Action::NotOwned(run) => self.not_owned(index, run),
            // The session has ended just before, because too much was kept for a client that is
            // away.
            Action::Publish { .. } | Action::Call { .. } if !client.session.is_connected() => {}
            Action::Publish {
                run,
                publication,
                params,
            } => {
                let what = (run, publication, params);
                self.starts.publish(client, &self.shard, what, out);
            }
            Action::Call {
                run,
                method,
                params,
                seed,
            } => {
                let what = (run, method, params);
                self.starts.call(client, &self.shard, what, seed, out);
            }
            Action::Refused { what, name, code } => log_refused(client, what, &name, &code),
            Action::Stop(run) => {
                if let Some(running) = client.take_running(run) {
                    if client.session.was_lost() {
                        running.subscription.client_is_lost();
                    }
                    running.end(&mut self.fan_out, &mut self.following);
                }
            }
            Action::Deactivate { run, next } => self.deactivate(index, run, next),
            Action::UserChanged => self.user_changed(index, out),
            Action::Expired(run) => self.expired(index, run),
            Action::NotPublished(_) => {
                let gauges = &self.shard.shared.host.gauges;
                gauges.unpublished_changes.fetch_add(1, Ordering::Relaxed);
            }
            Action::Pinged => self.pinged(index),
            Action::Answered => self.answered(index),
            Action::Gap(run) => self.missed(index, run, out),
            Action::Lost { code, reason } => self.end(index, Ending::Parted { code, reason }),
            Action::Close { code, reason } => self.end(index, Ending::Closed { code, reason }),
            _ => {}
        }
    }

    /// The client has a session of its own from now on.
    fn connected(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.link.connected();
        let shared = &self.shard.shared;
        client.counted.session = Some(GaugeGuard::new(&shared.host.gauges));
        if client.session.is_resumable() {
            let id = client.context.shared_id();
            shared
                .resumable
                .insert(id, client.context.address().clone());
        }
        shared.hooks.connected(&client.context);
        self.watch(index);
    }

    /// Meteor has sent data of a collection that is this server's.
    fn not_meteors(&self, collection: &str) {
        let gauges = &self.shard.shared.host.gauges;
        let is_first = gauges.foreign_documents.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first {
            tracing::warn!(
                collection,
                "Meteor publishes into a collection that is this server's; that is dropped, and \
                 only counted from now on."
            );
        }
    }

    /// A handler has published into a collection that is Meteor's, and its subscription is ended.
    fn not_owned(&self, index: usize, run: Run) {
        let client = self.clients.get(index);
        if let Some(running) = client.and_then(|client| client.running(run)) {
            let publication = running.subscription.publication();
            tracing::error!(
                publication,
                "A publication adds a document to a collection that is not this server's; \
                 `Builder::owns` says which are."
            );
        }
    }

    /// A publication's handler took too long, and the session has ended its subscription.
    fn expired(&mut self, index: usize, run: Run) {
        let gauges = &self.shard.shared.host.gauges;
        gauges.expired_publications.fetch_add(1, Ordering::Relaxed);
        let client = self.clients.get(index);
        if let Some(running) = client.and_then(|client| client.running(run)) {
            let publication = running.subscription.publication();
            tracing::warn!(
                publication,
                "A publication's handler took too long; it is dropped. Work that goes on longer \
                 belongs in `run`."
            );
        }
    }
}

/// Logs a request that no handler gets, mostly because its name is unknown.
fn log_refused(client: &Client, what: Requested, name: &str, code: &ErrorCode) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let (what, answer) = match what {
            Requested::Publication => ("publication", "nosub"),
            _ => ("method", "error"),
        };
        let (connection, name) = (client.context.log_id(), Redacted(name));
        tracing::debug!(
            %connection, %what, %name, outcome = %format_args!("{answer} {code}"),
            "A request was refused."
        );
    }
}
