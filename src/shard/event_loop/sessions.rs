//! Between sessions and handlers: what a session asks for is done, what handlers send reaches it.

use std::sync::atomic::Ordering;

use updraft_protocol::message::Frame;
use updraft_protocol::session::Action;

use super::EventLoop;
use super::resuming::{Wanted, find};
use crate::mail::{Address, Mail, Place};
use crate::publication::Turn;
use crate::shard::client::Running;

/// Most clients have fewer subscriptions, and there are many clients: room for more is not made ahead.
const FEW: usize = 4;

impl EventLoop {
    /// Carries out what the session has asked for: its frames, its actions, its next timer.
    pub(super) fn settle(&mut self, index: usize) {
        let mut out = std::mem::take(&mut self.out);
        // What a rule refuses has its answer at once, and the message behind it its turn: so there may be more to do.
        while !(out.frames.is_empty() && out.actions.is_empty()) {
            if let Some(client) = self.clients.get_mut(index)
                && !out.frames.is_empty()
            {
                out.frames
                    .drain(..)
                    .for_each(|frame| client.outgoing.push(frame));
                self.list(index);
            }
            out.frames.clear();
            for action in out.actions.drain(..) {
                self.act(index, action);
            }
            std::mem::swap(&mut out, &mut self.out);
        }
        self.begun = None;
        self.out = out;
        self.check_pressure(index);
        self.set_timer(index);
    }

    pub(super) fn act(&mut self, index: usize, action: Action) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let gauges = &self.shared.host.gauges;
        if matches!(action, Action::Connected | Action::Resume { .. })
            && let Some(polling) = client.link.polling_mut()
        {
            polling.connected();
        }
        match action {
            Action::Connected => {
                client.is_counted = true;
                gauges.sessions.fetch_add(1, Ordering::Relaxed);
                if client.session.is_resumable() {
                    let id = client.context.shared_id();
                    let address = client.context.address().clone();
                    self.shared.resumable.insert(id, address);
                }
                self.watch(index);
            }
            Action::Resume { session, received } => {
                self.wanted.push(Wanted {
                    by: client.place(index),
                    session,
                    received,
                });
            }
            Action::Lost { code, reason } => self.part(index, code, reason),
            // What was kept for a client that is away has become too much, before this.
            Action::Publish { .. } | Action::Call { .. } if !client.session.is_connected() => {}
            Action::Publish {
                run,
                publication,
                params,
            } => {
                let now = self.started + self.now;
                let caller = || client.context.caller(client.user.as_deref());
                // While the user changes, subscriptions begin again for which nobody has asked anew.
                if client.change.is_none()
                    && let Some(wait) = self.shared.host.limiter.subscribe(publication, caller, now)
                {
                    let error = client.context.limited(wait, now);
                    if let Some(session) = client.session.ddp_mut() {
                        session.published(run, Err(error), self.now, &mut self.out);
                    }
                    return;
                }
                let Some(publication) = self.shared.publications.get(publication) else {
                    return;
                };
                gauges.subscriptions.fetch_add(1, Ordering::Relaxed);
                let session = client.session.ddp();
                if let Some(encoding) = session.and_then(|session| session.encoding(run)) {
                    publication.log_encoding(encoding);
                }
                let (turn, begun) = Turn::after(self.begun.take());
                self.begun = Some(begun);
                let (context, user) = (client.context.clone(), client.user.clone());
                let (subscription, start) = publication.prepare(context, user, run, params, turn);
                self.starts.push(start);
                if client.subscriptions.len() < FEW {
                    client.subscriptions.reserve_exact(1);
                }
                client.subscriptions.push(Running {
                    run,
                    subscription,
                    followers: Vec::new(),
                    on_gap: Vec::new(),
                });
            }
            Action::Call {
                run,
                method,
                params,
                seed,
            } => {
                let now = self.started + self.now;
                let caller = || client.context.caller(client.user.as_deref());
                if let Some(wait) = self.shared.host.limiter.call(method, caller, now) {
                    let error = client.context.limited(wait, now);
                    if let Some(session) = client.session.ddp_mut() {
                        session.returned(run, Err(error), self.now, &mut self.out);
                    }
                    return;
                }
                let (context, user) = (client.context.clone(), client.user.clone());
                let methods = &self.shared.methods;
                if let Some(call) = methods.prepare(method, context, user, run, params, seed) {
                    self.starts.push(call);
                }
            }
            Action::Stop(run) => {
                if let Some(running) = client.take_running(run) {
                    self.let_go(running);
                }
            }
            Action::Deactivate { run, next } => self.deactivate(index, run, next),
            Action::UserChanged => self.user_changed(index),
            Action::Expired(run) => {
                gauges.expired_publications.fetch_add(1, Ordering::Relaxed);
                if let Some(running) = client.running_mut(run) {
                    let publication = running.subscription.publication();
                    tracing::warn!(
                        publication,
                        "A publication's handler took too long; it is dropped."
                    );
                }
            }
            Action::NotPublished(_) => {
                gauges.unpublished_changes.fetch_add(1, Ordering::Relaxed);
            }
            Action::Gap(run) => self.missed(index, run),
            Action::Close { code, reason } => self.close(index, code, reason),
            _ => {}
        }
    }

    /// Mail for a client: read at once, or put aside while the client has much to take.
    pub(super) fn mail(&mut self, to: Place, address: &Address, mail: Mail) {
        let Some(client) = find(&mut self.clients, to) else {
            return address.received(&mail);
        };
        if client.must_mail_wait() && mail.can_wait() {
            return client.put_aside(mail);
        }
        address.received(&mail);
        self.read_mail(to.index, mail);
    }

    pub(super) fn read_mail(&mut self, index: usize, mail: Mail) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match mail {
            Mail::Close => client.session.close(&mut self.out),
            Mail::Text(text) if client.closing.is_none() => self.out.frames.push(Frame::Text(text)),
            Mail::CloseWith(code, reason) => self.close(index, code, &reason),
            // There is room for more.
            Mail::Read => {}
            mail => self.session_mail(index, mail),
        }
        self.settle(index);
        self.read_again(index);
    }

    /// From a handler of a publication or a method to its session.
    fn session_mail(&mut self, index: usize, mail: Mail) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        let out = &mut self.out;
        match mail {
            Mail::Published(run, outcome) => session.published(run, outcome, self.now, out),
            Mail::Returned(run, outcome) => session.returned(run, outcome, self.now, out),
            Mail::Unblock(run) => session.unblock(run, self.now, out),
            Mail::HoldReady(run) => session.hold_ready(run),
            Mail::Ready(run) => session.ready(run, out),
            Mail::Added(run, it) => session.added(run, &it.collection, &it.id, it.fields, out),
            Mail::Changed(run, it) => session.changed(run, &it.collection, &it.id, it.fields, out),
            Mail::Removed(run, it) => session.removed(run, &it.0, &it.1, out),
            Mail::Stop(run, error) => session.stop(run, error.as_deref(), out),
            Mail::SetUser(run, user, done) => match session.set_user(run, self.now, out) {
                Ok(()) => {
                    client.user = user;
                    client.change.get_or_insert_default().calls.push(done);
                }
                Err(unblocked) if session.is_connected() => {
                    // The call may have ended without waiting.
                    done.send(Err(unblocked)).ok();
                }
                // Dropped, it says that the client is gone.
                Err(_) => drop(done),
            },
            Mail::BeginWrite(run) => session.begin_write(run),
            Mail::EndWrite(run) => session.end_write(run, out),
            Mail::On {
                run,
                leases,
                mapper,
            } => {
                let encoding = session.encoding(run);
                let keeper = client.keeper();
                // A subscription that is over meanwhile drops its leases here.
                if let Some(encoding) = encoding
                    && let Some(running) = client.running_mut(run)
                {
                    let subscription = running.subscription.clone();
                    let connection = (index, keeper);
                    let id =
                        self.fan_out
                            .add(connection, run, encoding, subscription, leases, mapper);
                    if running.followers.is_empty() {
                        running.followers.reserve_exact(1);
                    }
                    running.followers.push(id);
                }
            }
            Mail::OnGap(run, on_gap) => {
                if let Some(running) = client.running_mut(run) {
                    running.on_gap.push(on_gap);
                }
            }
            Mail::Event {
                run,
                message,
                event,
            } => {
                let running = client.running(run);
                let functions = running.map_or(&[][..], |running| &running.followers);
                let is_before_gap = self.fan_out.mapped(functions, &message);
                if client.misses(run, &self.limits) {
                    return;
                }
                let Some(session) = client.session.ddp_mut() else {
                    return;
                };
                if let Some(encoding) = session.encoding(run)
                    && let Some(tail) = event.into_tail(&message, encoding)
                    && let Some(head) = session.event(run, &tail, out)
                {
                    let head = head.clone();
                    out.frames.push(Frame::Event { head, tail });
                }
                if is_before_gap {
                    out.actions.push(Action::Gap(run));
                }
            }
            Mail::Waits(run) => session.handler_waits(run),
            Mail::GoesOn(run) => session.handler_goes_on(run, self.now),
            Mail::Close | Mail::Text(_) | Mail::CloseWith(..) | Mail::Read => {}
        }
    }
}
