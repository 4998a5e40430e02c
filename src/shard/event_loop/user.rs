//! A change of the user, on the shard's side: messages that arrive meanwhile are kept for the
//! functions of the new user, and calls that wait for the change are told of its end.

use std::sync::Arc;

use updraft_protocol::session::{Output, Run};

use super::EventLoop;
use crate::shard::client::Change;
use crate::shard::fan_out::{FollowerId, Outcome};

impl EventLoop {
    /// A subscription starts again under another run.
    pub(super) fn deactivate(&mut self, index: usize, run: Run, next: Run) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(running) = client.take_running(run) else {
            return;
        };
        client.replace_run(run, next);
        let mut keeper = client.keeper();
        let room = (self.shard.limits.user_change, self.clients.input());
        self.fan_out
            .keep(&mut keeper, room, (run, next), running.followers);
        let observer = running.subscription.take_observer();
        running.subscription.end();
        let left = running.follower.and_then(|it| self.following.remove(it));
        if let Some(client) = self.clients.get_mut(index) {
            let change = client.change.get_or_insert_default();
            change.keeper = keeper;
            match observer {
                Some(observer) => change.observers.push((next, observer)),
                // Its handler may not have begun since the change before.
                None => {
                    let of_run = change.observers.iter_mut().filter(|(of, _)| *of == run);
                    of_run.for_each(|(of, _)| *of = next);
                }
            }
            match left {
                Some(left) => change.continuations.push((next, left)),
                // It may not have come to follow again since the change before.
                None => {
                    let of_run = change.continuations.iter_mut().filter(|(of, _)| *of == run);
                    of_run.for_each(|(of, _)| *of = next);
                }
            }
        }
    }

    /// The client has been sent the difference and `ready`. The kept messages follow.
    pub(super) fn user_changed(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let change = client.change.take().map(|change| *change);
        let Change { calls, keeper, .. } = change.unwrap_or_default();
        if let Some(keeper) = keeper {
            let functions: Vec<FollowerId> = client
                .subscriptions
                .iter()
                .flat_map(|running| running.followers.iter().copied())
                .collect();
            let mut outcomes = Vec::new();
            self.fan_out.release(keeper, &functions, |run, outcome| {
                if !matches!(outcome, Outcome::Nothing) {
                    outcomes.push((run, outcome));
                }
            });
            self.send_kept(index, outcomes, out);
        }
        self.go_on_following(index);
        for done in calls {
            // The call may have ended without waiting.
            done.send(Ok(())).ok();
        }
        if let Some(client) = self.clients.get_mut(index)
            && let Some(session) = client.session.ddp_mut()
            && session.holds_upstream()
        {
            session.release_upstream(self.shard.now, out);
            self.carry_out(index, out);
            self.read_upstream_again(index, out);
        }
    }

    /// Meteor has logged this user in, or has logged the user out.
    pub(super) fn meteor_says_user(&mut self, index: usize, user: Option<Arc<str>>) {
        if let Some(client) = self.clients.get_mut(index) {
            client.change.get_or_insert_default();
            let former = std::mem::replace(&mut client.user, user);
            let (former, user) = (former.as_deref(), client.user.as_deref());
            let hooks = &self.shard.shared.hooks;
            hooks.user_changed(&client.context, former, user);
        }
    }

    fn send_kept(&mut self, index: usize, outcomes: Vec<(Run, Outcome)>, out: &mut Output) {
        for (run, outcome) in outcomes {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            match outcome {
                Outcome::Event(tail) => {
                    if let Some(head) = client.session.event(run, &tail, out) {
                        client.outgoing.push_event(head, tail);
                    }
                }
                Outcome::Nothing => {}
                Outcome::Lost => self.missed(index, run, out),
            }
        }
        self.list_output(index);
    }
}
