//! From handlers to their sessions.

use std::sync::Arc;

use updraft_bus::{Lease, Message};
use updraft_protocol::message::Frame;
use updraft_protocol::session::{Action, Output, Run};

use super::EventLoop;
use super::ending::Ending;
use crate::mail::{Address, Mail, Place, UserChanged};
use crate::mapping::{Event, Mapper};

impl EventLoop {
    /// Mail for a client: read at once, or queued while much output waits for the client.
    pub(super) fn mail(&mut self, to: Place, address: &Address, mail: Mail, out: &mut Output) {
        let Some(client) = self.clients.find(to) else {
            return address.received(&mail);
        };
        if client.must_mail_wait() && mail.can_wait() {
            return client.put_aside(mail);
        }
        address.received(&mail);
        self.read_mail(to.index, mail, out);
    }

    pub(super) fn read_mail(&mut self, index: usize, mail: Mail, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match mail {
            Mail::Close => client.session.close(out),
            Mail::Text(text) if client.closing.is_none() => out.frames.push(Frame::Text(text)),
            Mail::CloseWith(code, reason) => {
                let reason = &reason;
                self.end(index, Ending::Closed { code, reason });
            }
            // There is room for more; it is read below.
            Mail::Read => {}
            mail => self.read_ddp_mail(index, mail, out),
        }
        self.carry_out(index, out);
        self.read_again(index, out);
    }

    /// Mail from a handler of a publication or a method to its session.
    fn read_ddp_mail(&mut self, index: usize, mail: Mail, out: &mut Output) {
        let now = self.shard.now;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        match mail {
            Mail::Published(run, outcome) => session.published(run, outcome, now, out),
            Mail::Returned(run, outcome) => session.returned(run, outcome, now, out),
            Mail::Unblock(run) => session.unblock(run, now, out),
            Mail::HoldReady(run) => session.hold_ready(run),
            Mail::Ready(run) => session.ready(run, out),
            Mail::Added(run, it) => session.added(run, &it.collection, &it.id, it.fields, out),
            Mail::Changed(run, it) => session.changed(run, &it.collection, &it.id, it.fields, out),
            Mail::Removed(run, it) => session.removed(run, &it.0, &it.1, out),
            Mail::Stop(run, error) => session.stop(run, error.as_deref(), out),
            Mail::SetUser(run, user, done) => self.set_user(index, run, user, done, out),
            Mail::BeginWrite(run) => session.begin_write(run),
            Mail::EndWrite(run) => session.end_write(run, out),
            Mail::On {
                run,
                leases,
                mapper,
            } => self.follow(index, run, leases, mapper),
            Mail::OnGap(run, on_gap) => {
                if let Some(running) = client.running_mut(run) {
                    running.add_on_gap(on_gap);
                }
            }
            Mail::Requested(run, answer) => {
                if let Some(request) = session.vent_request(run) {
                    // The handler may have been dropped.
                    answer.send(request).ok();
                }
            }
            Mail::Follow(run, follow) => self.follow_topic(index, run, *follow, out),
            Mail::GoOn(run, beginning) => self.go_on_after_loss(index, run, *beginning, out),
            Mail::Event {
                run,
                message,
                event,
            } => self.mapped(index, run, &message, event, out),
            Mail::OwnEvent(run, event, sent) => {
                if let Some(encoding) = session.encoding(run)
                    && let Some(tail) = event.into_tail_alone(encoding)
                {
                    if let Some(head) = session.bounded_event(run, &tail, out) {
                        let head = head.clone();
                        out.frames.push(Frame::Event { head, tail });
                    }
                    // The handler may have ended meanwhile.
                    sent.send(()).ok();
                }
            }
            Mail::Waits(run) => session.handler_waits(run),
            Mail::GoesOn(run) => session.handler_goes_on(run, now),
            Mail::Close | Mail::Text(_) | Mail::CloseWith(..) | Mail::Read => {}
        }
    }

    /// Calls a mapper for each message of these channels from now on.
    fn follow(&mut self, index: usize, run: Run, leases: Vec<Lease>, mapper: Mapper) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = (index, client.keeper());
        let encoding = client.session.ddp().and_then(|ddp| ddp.encoding(run));
        // If the subscription is over meanwhile, its leases are dropped here.
        if let Some(encoding) = encoding
            && let Some(running) = client.running_mut(run)
        {
            let subscription = running.subscription.clone();
            let id = self
                .fan_out
                .add(connection, run, encoding, subscription, leases, mapper);
            if running.followers.is_empty() {
                running.followers.reserve_exact(1);
            }
            running.followers.push(id);
        }
    }

    /// An asynchronous mapping function has returned this event for a message.
    fn mapped(
        &mut self,
        index: usize,
        run: Run,
        message: &Arc<Message>,
        event: Event,
        out: &mut Output,
    ) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let running = client.running(run);
        let functions = running.map_or(&[][..], |running| &running.followers);
        let is_before_gap = self.fan_out.mapped(functions, message);
        if client.must_drop_event(run, &self.shard.limits) {
            return;
        }
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        if let Some(encoding) = session.encoding(run)
            && let Some(tail) = event.into_tail(message, encoding)
            && let Some(head) = session.event(run, &tail, out)
        {
            let head = head.clone();
            out.frames.push(Frame::Event { head, tail });
        }
        if is_before_gap {
            out.actions.push(Action::Gap(run));
        }
    }

    fn set_user(
        &mut self,
        index: usize,
        run: Run,
        user: Option<Arc<str>>,
        done: UserChanged,
        out: &mut Output,
    ) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        match session.set_user(run, self.shard.now, out) {
            Ok(()) => {
                let former = std::mem::replace(&mut client.user, user);
                let (former, user) = (former.as_deref(), client.user.as_deref());
                let hooks = &self.shard.shared.hooks;
                hooks.user_changed(&client.context, former, user);
                client.change.get_or_insert_default().calls.push(done);
            }
            Err(unblocked) if session.is_connected() => {
                // The call may have ended without waiting.
                done.send(Err(unblocked)).ok();
            }
            // Dropping it tells the call that the client is gone.
            Err(_) => drop(done),
        }
    }
}
