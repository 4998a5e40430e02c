//! A change of the user. All subscriptions start again, and when their handlers have ended the
//! client is sent the difference, once. The handlers of universal publications are awaited too, so
//! that their documents are part of that difference.
//!
//! The difference may be as large as all documents of the client, so it is sent in slices. No
//! document changes before all of it is sent: whatever would change one sends the rest first.

use std::fmt;
use std::time::Duration;

use super::subscription::{Events, Ready};
use super::{Action, Output, Run, Session};
use crate::message::Frame;

/// A change of the user, from the call that asked for it to the `ready` message at its end.
#[derive(Debug)]
pub(super) struct UserChange {
    /// Runs whose handlers have not ended. Filled when the subscriptions start again, drained as
    /// their handlers end, are stopped or take too long.
    awaited: Vec<Run>,
    /// Runs that are told of a gap at the end; bounded by the subscriptions.
    gaps: Vec<Run>,
    /// Whether all handlers have ended, and the difference is being sent.
    is_telling: bool,
}

/// The error for a call that changes the user after it has let the next message start: it would be
/// unclear as which user that message runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "that it is so is all there is to say"
)]
pub struct Unblocked;

impl Session {
    /// The user changes, on behalf of a running call: every subscription starts again.
    ///
    /// The host knows the new user, and passes it to the handlers that start from here on. The
    /// change is complete with [`Action::UserChanged`]. Another change before that starts
    /// everything once more; still the client is sent one difference, and the host one
    /// [`Action::UserChanged`].
    ///
    /// # Errors
    ///
    /// The call does not block the client's queue: it has ended, or has let the next message start.
    /// Nothing has changed.
    pub fn set_user(
        &mut self,
        call: Run,
        now: Duration,
        out: &mut Output,
    ) -> Result<(), Unblocked> {
        if self.running != Some(call) || !self.calls().iter().any(|found| found.belongs_to(call)) {
            return Err(Unblocked);
        }
        self.change_user(now, out);
        Ok(())
    }

    /// Starts every subscription again, because the user changes.
    pub(super) fn change_user(&mut self, now: Duration, out: &mut Output) {
        self.send_remaining_difference(out);
        self.view.begin_again();
        let mut old = std::mem::take(&mut self.subscriptions);
        // As in Meteor the universal ones come last, and so do their documents.
        old.sort_by_key(|subscription| subscription.id.is_none());
        let awaited: Vec<Run> = old.iter().map(|_| self.new_run()).collect();
        for (subscription, next) in old.iter().zip(&awaited) {
            let (run, next) = (subscription.run, *next);
            out.actions.push(Action::Deactivate { run, next });
        }
        let former = self.work().change.take();
        let untold = former.map(|change| change.gaps).unwrap_or_default();
        let mut gaps = Vec::new();
        for (old, next) in old.into_iter().zip(&awaited) {
            // The client has been told of the Vent document, so this state carries over.
            let mut events = old.events;
            // Held events were mapped for the previous user, and cannot be sent.
            let has_lost = events.as_deref_mut().is_some_and(Events::forget_held);
            if has_lost || untold.contains(&old.run) {
                gaps.push(*next);
            }
            // The new run says what it follows.
            events.iter_mut().for_each(|it| it.is_catching_up = false);
            let params = old.request.params();
            self.begin(*next, old.id, (old.request, params), events, now, out);
        }
        self.work().change = Some(UserChange {
            awaited,
            gaps,
            is_telling: false,
        });
        self.complete_change(out);
    }

    /// Whether the user is changing: then no document is sent, and no `ready`.
    pub(super) fn is_changing_user(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.change.is_some())
    }

    /// The change no longer waits for this run.
    pub(super) fn stop_awaiting(&mut self, run: Run, out: &mut Output) {
        let change = self.work.as_mut().and_then(|work| work.change.as_mut());
        if let Some(change) = change {
            change.awaited.retain(|awaited| *awaited != run);
            self.complete_change(out);
        }
    }

    /// Begins to send the difference, if all handlers have ended.
    fn complete_change(&mut self, out: &mut Output) {
        let change = self.work.as_mut().and_then(|work| work.change.as_mut());
        if let Some(change) = change
            && change.awaited.is_empty()
            && !std::mem::replace(&mut change.is_telling, true)
        {
            self.tell_more(out);
        }
    }

    /// Whether only a part of the difference has been sent. The host calls
    /// [`tell_more`](Self::tell_more) when the client has received that part; until then it passes
    /// no handler's calls to the session.
    pub fn is_telling(&self) -> bool {
        let change = self.work.as_ref().and_then(|work| work.change.as_ref());
        change.is_some_and(|change| change.is_telling)
    }

    /// Sends the next slice of the difference. The last slice completes the change.
    pub fn tell_more(&mut self, out: &mut Output) {
        self.send_difference(self.config.settings.difference_slice, out);
    }

    /// Sends all that is left of the difference, before a document changes.
    pub(super) fn send_remaining_difference(&mut self, out: &mut Output) {
        self.send_difference(usize::MAX, out);
    }

    fn send_difference(&mut self, room: usize, out: &mut Output) {
        if !self.is_telling() {
            return;
        }
        let mut view = std::mem::take(&mut self.view);
        let is_whole = view.difference(room, |collection, id, effect| {
            let told = out.frames.len();
            self.send_effect(collection, id, effect, out);
            out.frames.iter().skip(told).map(Frame::len).sum()
        });
        self.view = view;
        let change = self
            .work
            .as_mut()
            .and_then(|work| work.change.take_if(|_| is_whole));
        let Some(change) = change else {
            return;
        };
        self.free_idle_work();
        let ready: Vec<Run> = self
            .subscriptions
            .iter()
            .filter(|found| found.ready == Ready::Declared && !found.is_catching_up())
            .map(|found| found.run)
            .collect();
        self.send_ready(&ready, out);
        out.actions.extend(change.gaps.into_iter().map(Action::Gap));
        out.actions.push(Action::UserChanged);
    }
}

impl fmt::Display for Unblocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the user cannot change after `unblock`, or once the call has ended: another call may run")
    }
}

impl std::error::Error for Unblocked {}
