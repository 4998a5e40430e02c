//! A change of the user: all subscriptions begin again, and the client hears of the difference once, when their handlers
//! have ended. Universal publications are waited for too, so that what they publish is part of that difference.
//!
//! The difference may be as large as all that the client has. So it is told in slices, and nothing else happens to the
//! documents before all of it is told: what would, has the rest told first.

use std::fmt;
use std::time::Duration;

use super::subscription::{Events, Ready};
use super::{Action, Output, Run, Session};
use crate::message::Frame;

/// A user who changes, from the call that asked for it to the `ready` message at its end.
#[derive(Debug)]
pub(super) struct UserChange {
    /// Runs whose handlers have not ended. Filled when the subscriptions begin again, drained as their handlers end, are
    /// stopped or take too long.
    awaited: Vec<Run>,
    /// Runs that are to be told of a gap at the end; bounded by the subscriptions.
    gaps: Vec<Run>,
    /// Whether all handlers have ended, and the client is being told of the difference.
    is_telling: bool,
}

/// A call cannot change the user after it has let the next message start: that one would run as nobody knows who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "that it is so is all there is to say"
)]
pub struct Unblocked;

impl Session {
    /// The user changes, on behalf of a call that runs: every subscription begins again.
    ///
    /// The host knows who the user is, and hands it to the handlers that are started from here on. The change is complete
    /// with [`Action::UserChanged`]. Another one in between begins everything once more; the client is still told of one
    /// difference, and the host of one end.
    ///
    /// # Errors
    ///
    /// The call does not hold the client's queue: it has ended, or has let the next message start. Nothing has changed.
    pub fn set_user(
        &mut self,
        call: Run,
        now: Duration,
        out: &mut Output,
    ) -> Result<(), Unblocked> {
        if self.running != Some(call) || !self.calls().iter().any(|found| found.is(call)) {
            return Err(Unblocked);
        }
        self.tell_rest(out);
        self.view.begin_again();
        let mut old = std::mem::take(&mut self.subscriptions);
        // As in Meteor the universal ones come last, and so does what they publish.
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
            // What the client has been told of the events stands.
            let mut events = old.events;
            // Those that are held were mapped for the user who was, and cannot be sent.
            let has_lost = events.as_deref_mut().is_some_and(Events::forget_held);
            if has_lost || untold.contains(&old.run) {
                gaps.push(*next);
            }
            let params = old.request.params();
            self.begin(*next, old.id, (old.request, params), events, now, out);
        }
        self.work().change = Some(UserChange {
            awaited,
            gaps,
            is_telling: false,
        });
        self.complete_change(out);
        Ok(())
    }

    /// Whether the user changes at the moment: documents are not shown, `ready` is not sent.
    pub(super) fn is_changing_user(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.change.is_some())
    }

    /// A run need not be waited for any more.
    pub(super) fn settled(&mut self, run: Run, out: &mut Output) {
        let change = self.work.as_mut().and_then(|work| work.change.as_mut());
        if let Some(change) = change {
            change.awaited.retain(|awaited| *awaited != run);
            self.complete_change(out);
        }
    }

    /// Begins to tell the client what is different for its new user, if all handlers have ended.
    fn complete_change(&mut self, out: &mut Output) {
        let change = self.work.as_mut().and_then(|work| work.change.as_mut());
        if let Some(change) = change
            && change.awaited.is_empty()
            && !std::mem::replace(&mut change.is_telling, true)
        {
            self.tell_more(out);
        }
    }

    /// Whether the client has been told of a part of the difference only: the host calls
    /// [`tell_more`](Self::tell_more) when it has taken that, and hands on nothing from handlers before.
    pub fn is_telling(&self) -> bool {
        let change = self.work.as_ref().and_then(|work| work.change.as_ref());
        change.is_some_and(|change| change.is_telling)
    }

    /// Tells the client of the next slice of the difference; with the last one the change is complete.
    pub fn tell_more(&mut self, out: &mut Output) {
        self.tell(self.config.settings.difference_slice, out);
    }

    /// Something is about to happen to the documents: the client is told of all that is different first.
    pub(super) fn tell_rest(&mut self, out: &mut Output) {
        self.tell(usize::MAX, out);
    }

    fn tell(&mut self, room: usize, out: &mut Output) {
        if !self.is_telling() {
            return;
        }
        let mut view = std::mem::take(&mut self.view);
        let is_whole = view.difference(room, |collection, id, effect| {
            let told = out.frames.len();
            self.show(collection, id, effect, out);
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
        self.rest();
        let ready: Vec<Run> = self
            .subscriptions
            .iter()
            .filter(|found| found.ready == Ready::Said)
            .map(|found| found.run)
            .collect();
        self.send_ready(&ready, out);
        out.actions.extend(change.gaps.into_iter().map(Action::Gap));
        out.actions.push(Action::UserChanged);
    }
}

impl fmt::Display for Unblocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call that does not hold its client's queue cannot change the user")
    }
}

impl std::error::Error for Unblocked {}
