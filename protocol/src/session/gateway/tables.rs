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
    /// How many `unsub` were passed on that are not answered.
    unsubs: u32,
    /// How many further `sub` with its id and another name were passed on.
    repeats: u32,
}

impl Subscriptions {
    /// The publication of the living subscription with this id.
    pub(super) fn name_of(&self, id: &str) -> Option<&str> {
        let passed = self.by_id.get(id).filter(|passed| passed.is_live)?;
        Some(&passed.name)
    }

    /// A `sub` is passed on.
    pub(super) fn begin(&mut self, id: &str, name: &str) {
        if let Some(passed) = self.by_id.get_mut(id) {
            let former = std::mem::replace(&mut passed.name, name.into());
            self.bytes = self.bytes.saturating_sub(former.len());
            self.bytes = self.bytes.saturating_add(name.len());
            passed.is_live = true;
            return;
        }
        let passed = Passed {
            name: name.into(),
            is_live: true,
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
        assert_eq!(table.name_of("s"), Some("two"));
        assert!(table.unsubscribe("s") && table.unsubscribe("s"));
        assert_eq!(table.name_of("s"), None);
        table.begin("s", "three");
        assert_eq!(table.name_of("s"), Some("three"));
        table.ended("s", false);
        table.ended("s", false);
        assert_eq!(table.name_of("s"), Some("three"), "it began behind both");
        table.ended("s", false);
        assert_eq!((table.name_of("s"), table.bytes()), (None, 0));
        assert!(!table.unsubscribe("s"));
    }

    #[test]
    fn a_name_that_does_not_exist_ends_no_other_subscription() {
        let mut table = Subscriptions::default();
        table.begin("s", "two");
        table.asked_again("s");
        table.ended("s", true);
        assert_eq!(table.name_of("s"), Some("two"));
        table.ended("s", true);
        assert_eq!((table.name_of("s"), table.bytes()), (None, 0));
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
