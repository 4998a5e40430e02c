//! Which ids of the client are Meteor's: subscriptions that live there, and calls that lack an
//! answer.

use std::collections::HashMap;

/// Subscriptions that were passed on. Filled as `sub` is passed on, drained as `nosub` comes back;
/// bounded by Meteor, and by the memory of the process, which counts them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_id: HashMap<Box<str>, Passed>,
    bytes: usize,
}

#[derive(Debug)]
struct Passed {
    name: Box<str>,
    /// Whether it lives: there was no `unsub` behind its `sub`.
    is_live: bool,
    /// Whether Meteor has said `ready`, so that it surely lives.
    is_ready: bool,
    /// How many `unsub` were passed on that are not answered.
    unsubs: u32,
    /// How many further `sub` with its id and another name were passed on.
    repeats: u32,
}

/// What is known of the id of a `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No subscription there has it.
    Free,
    /// A subscription of the same name, to which Meteor has not said `ready`.
    Asked,
    /// A subscription of the same name, which is ready.
    Ready,
    /// A subscription of another name.
    OtherName,
}

impl Subscriptions {
    /// What is known of an id that is to be used for this publication.
    pub(super) fn find(&self, id: &str, name: &str) -> Found {
        match self.by_id.get(id).filter(|passed| passed.is_live) {
            None => Found::Free,
            Some(passed) if *passed.name != *name => Found::OtherName,
            Some(passed) if passed.is_ready => Found::Ready,
            Some(_) => Found::Asked,
        }
    }

    /// Meteor has said `ready`.
    pub(super) fn ready(&mut self, id: &str) {
        if let Some(passed) = self.by_id.get_mut(id) {
            passed.is_ready = passed.is_live;
        }
    }

    /// A `sub` is passed on.
    pub(super) fn begin(&mut self, id: &str, name: &str) {
        if let Some(passed) = self.by_id.get_mut(id) {
            let former = std::mem::replace(&mut passed.name, name.into());
            self.bytes = self.bytes.saturating_sub(former.len());
            self.bytes = self.bytes.saturating_add(name.len());
            (passed.is_live, passed.is_ready) = (true, false);
            return;
        }
        let passed = Passed {
            name: name.into(),
            is_live: true,
            is_ready: false,
            unsubs: 0,
            repeats: 0,
        };
        self.bytes = self.bytes.saturating_add(size(id, &passed));
        self.by_id.insert(id.into(), passed);
    }

    /// A `sub` with the id of a living subscription and another name is passed on. Meteor answers
    /// it only if there is no such publication.
    pub(super) fn asked_again(&mut self, id: &str) {
        if let Some(passed) = self.by_id.get_mut(id) {
            passed.repeats = passed.repeats.saturating_add(1);
        }
    }

    /// An `unsub` has come. Returns whether it is to be passed on, because Meteor has not answered
    /// all that concerns this id.
    pub(super) fn unsubscribe(&mut self, id: &str) -> bool {
        let passed = self.by_id.get_mut(id);
        passed.is_some_and(|passed| {
            passed.is_live = false;
            passed.unsubs = passed.unsubs.saturating_add(1);
            true
        })
    }

    /// A `nosub` has come back.
    pub(super) fn ended(&mut self, id: &str, is_not_found: bool) {
        let Some(passed) = self.by_id.get_mut(id) else {
            return;
        };
        if passed.unsubs > 0 {
            passed.unsubs = passed.unsubs.saturating_sub(1);
        } else if is_not_found && passed.repeats > 0 {
            // That of a later `sub`, whose name does not exist.
            passed.repeats = passed.repeats.saturating_sub(1);
        } else {
            passed.is_live = false;
        }
        if !passed.is_live
            && passed.unsubs == 0
            && let Some(passed) = self.by_id.remove(id)
        {
            self.bytes = self.bytes.saturating_sub(size(id, &passed));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(id: &str, passed: &Passed) -> usize {
    let texts = id.len().saturating_add(passed.name.len());
    texts.saturating_add(size_of::<(Box<str>, Passed)>())
}

/// Calls that were passed on. Filled as `method` is passed on, drained as `result` and `updated`
/// come back; bounded as the subscriptions are.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// How many answers each lacks.
    by_id: HashMap<Box<str>, u32>,
    bytes: usize,
}

/// Each call gets `result` and `updated`.
const ANSWERS: u32 = 2;

impl Calls {
    pub(super) fn begin(&mut self, id: &str) {
        let answers = self.by_id.entry(id.into()).or_insert(0);
        if *answers == 0 {
            self.bytes = self.bytes.saturating_add(call_size(id));
        }
        *answers = answers.saturating_add(ANSWERS);
    }

    /// Whether a call with this id lacks an answer.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// One of its answers has come back.
    pub(super) fn answered(&mut self, id: &str) {
        let Some(answers) = self.by_id.get_mut(id) else {
            return;
        };
        *answers = answers.saturating_sub(1);
        if *answers == 0 {
            self.by_id.remove(id);
            self.bytes = self.bytes.saturating_sub(call_size(id));
        }
    }

    /// The client's ids of those that lack an answer.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(|id| &**id)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn call_size(id: &str) -> usize {
    id.len().saturating_add(size_of::<(Box<str>, u32)>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_free_when_meteor_has_answered_all_that_concerns_it() {
        let mut table = Subscriptions::default();
        assert!(!table.unsubscribe("s"), "unknown");
        table.begin("s", "two");
        assert_eq!(table.find("s", "two"), Found::Asked);
        table.ready("s");
        assert_eq!(table.find("s", "two"), Found::Ready);
        assert_eq!(table.find("s", "three"), Found::OtherName);
        assert!(table.unsubscribe("s") && table.unsubscribe("s"));
        assert_eq!(table.find("s", "two"), Found::Free);
        table.begin("s", "three");
        assert_eq!(table.find("s", "three"), Found::Asked);
        table.ended("s", false);
        table.ended("s", false);
        assert_eq!(
            table.find("s", "three"),
            Found::Asked,
            "it began behind both"
        );
        table.ended("s", false);
        assert_eq!((table.find("s", "two"), table.bytes()), (Found::Free, 0));
        assert!(!table.unsubscribe("s"));
    }

    #[test]
    fn a_name_that_does_not_exist_ends_no_other_subscription() {
        let mut table = Subscriptions::default();
        table.begin("s", "two");
        table.asked_again("s");
        table.ended("s", true);
        assert_eq!(table.find("s", "two"), Found::Asked);
        table.ended("s", true);
        assert_eq!((table.find("s", "two"), table.bytes()), (Found::Free, 0));
    }

    #[test]
    fn a_call_is_open_until_both_answers_have_come() {
        let mut calls = Calls::default();
        calls.begin("1");
        calls.begin("1");
        for _ in 0..3 {
            calls.answered("1");
            assert_eq!(calls.open().collect::<Vec<_>>(), ["1"]);
        }
        calls.answered("1");
        calls.answered("1");
        assert_eq!((calls.open().count(), calls.bytes()), (0, 0));
    }
}
