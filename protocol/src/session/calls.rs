//! Method calls: `result` is sent when the body ends, `updated` when its writes are visible. Each
//! call gets one of each.

use std::time::Duration;

use super::{Action, Output, Requested, Run, Session};
use crate::ejson::Value;
use crate::message::{self, MethodCall, ServerMessage, WireError};

/// A call that lacks `result` or `updated`.
#[derive(Debug)]
pub(super) struct CallState {
    run: Run,
    id: Box<str>,
    /// Bytes of its parameters, while its body runs.
    bytes: usize,
    /// Writes that have begun and are not visible yet.
    writes: u32,
    /// Set when the body ends with open writes: until when `updated` waits for them.
    deadline: Option<Duration>,
}

impl CallState {
    /// Bytes of the parameters of its body, if the body runs.
    pub(super) fn running_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn belongs_to(&self, run: Run) -> bool {
        self.run == run
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }
}

impl Session {
    /// Calls that have begun and lack `result` or `updated`.
    pub fn calls_running(&self) -> usize {
        self.calls().len()
    }

    pub(super) fn calls(&self) -> &[CallState] {
        self.work.as_ref().map_or(&[], |work| &work.calls)
    }

    fn find_call(&mut self, run: Run) -> Option<(usize, &mut CallState)> {
        let mut calls = self.work.as_mut()?.calls.iter_mut().enumerate();
        calls.find(|(_, call)| call.run == run)
    }

    /// Sends `updated`: the call's writes are visible, and the call is forgotten.
    fn updated(&mut self, index: usize, out: &mut Output) {
        if let Some(work) = &mut self.work {
            let call = work.calls.remove(index);
            self.free_idle_work();
            self.send(&ServerMessage::Updated(&call.id), out);
        }
    }

    /// The client's ids of the open calls.
    pub(super) fn open_call_ids(&self) -> impl Iterator<Item = Box<str>> {
        self.calls().iter().map(|call| call.id.clone())
    }

    /// A method begins a write. `updated` waits until its effects have been sent to this client.
    pub fn begin_write(&mut self, run: Run) {
        if let Some((_, call)) = self.find_call(run) {
            call.writes = call.writes.saturating_add(1);
        }
    }

    /// The effects of a write have been sent.
    pub fn end_write(&mut self, run: Run, out: &mut Output) {
        let Some((index, call)) = self.find_call(run) else {
            return;
        };
        call.writes = call.writes.saturating_sub(1);
        if call.writes == 0 && call.deadline.is_some() {
            self.updated(index, out);
        }
    }

    /// A method's body has ended. An undefined result is sent without a `result` member.
    pub fn returned(
        &mut self,
        run: Run,
        outcome: Result<Value, WireError>,
        now: Duration,
        out: &mut Output,
    ) {
        let until = now.saturating_add(self.config.settings.fence_timeout);
        if let Some((index, call)) = self.find_call(run) {
            let (id, writes) = (call.id.clone(), call.writes);
            call.bytes = 0;
            if writes == 0 {
                self.updated(index, out);
            } else if let Some((_, call)) = self.find_call(run) {
                call.deadline = Some(until);
            }
            match &outcome {
                Ok(result) => self.send(&ServerMessage::Result(&id, result), out),
                Err(error) => self.send(&ServerMessage::Failure(&id, error), out),
            }
        }
        self.unblock(run, now, out);
    }

    pub(super) fn call(&mut self, call: MethodCall, out: &mut Output) {
        let MethodCall {
            id,
            method: name,
            params,
            seed,
        } = call;
        let Some(method) = self.config.names.find_method(&name) else {
            let error = WireError::method_not_found(&name);
            self.send(&ServerMessage::Failure(&id, &error), out);
            self.send(&ServerMessage::Updated(&id), out);
            return out.actions.push(Action::Refused {
                what: Requested::Method,
                name,
                code: error.error,
            });
        };
        let run = self.new_run();
        let bytes = message::memory(&params);
        self.work().calls.push(CallState {
            run,
            id,
            bytes,
            writes: 0,
            deadline: None,
        });
        self.running = Some(run);
        out.actions.push(Action::Call {
            run,
            method,
            params,
            seed,
        });
    }

    /// Stops waiting for writes that take too long, because the client would wait for `updated` for
    /// ever.
    pub(super) fn expire_fences(&mut self, now: Duration, out: &mut Output) {
        let is_due = |call: &CallState| call.deadline.is_some_and(|until| until <= now);
        while let Some(index) = self.calls().iter().position(is_due) {
            self.updated(index, out);
        }
    }
}
