//! The proof of one subscription: its numbered messages came once each, in order, and without a
//! hole that was not told. It does no I/O; a session hands it what was received.

/// What one subscription has received.
#[derive(Debug)]
pub(crate) struct Proof {
    /// The first number that had not been used when `ready` came: from here on everything is owed.
    owed: Option<u64>,
    /// The number after the latest event.
    next: Option<u64>,
    /// The runs of numbers that were missing.
    holes: Vec<std::ops::Range<u64>>,
    /// How often the server said that events may have been missed.
    told: usize,
    ended: bool,
}

impl Proof {
    pub(crate) fn new() -> Self {
        Self {
            owed: None,
            next: None,
            holes: Vec::new(),
            told: 0,
            ended: false,
        }
    }

    /// `ready` has come; `unused` is the first number that no message had when it did.
    pub(crate) fn ready(&mut self, unused: u64) -> Result<(), String> {
        if self.owed.replace(unused).is_some() {
            return Err("ready came twice".into());
        }
        Ok(())
    }

    /// An event has come.
    pub(crate) fn event(&mut self, number: u64) -> Result<(), String> {
        if self.ended {
            return Err(format!("{number} came after nosub"));
        }
        if self.owed.is_none() {
            return Err(format!("{number} came before ready"));
        }
        // What was published before `ready` may come or not.
        let expected = self.next.or(self.owed).unwrap_or(number);
        if number < expected && self.next.is_some() {
            return Err(format!("{number} came after {}", expected - 1));
        }
        if number > expected {
            self.holes.push(expected..number);
        }
        self.next = Some(number + 1);
        Ok(())
    }

    /// The server has said that events may have been missed.
    pub(crate) fn told(&mut self) {
        self.told += 1;
    }

    /// `nosub` has come.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether everything up to `end`, the first number that was never used, has come or been told
    /// missing.
    pub(crate) fn is_complete(&self, end: u64) -> bool {
        let seen = self.next.or(self.owed);
        seen.is_some_and(|next| next >= end) && self.holes.len() <= self.told
    }

    /// How often the server told of a gap.
    pub(crate) fn gaps(&self) -> usize {
        self.told
    }
}

#[test]
fn what_is_missing_twice_or_late_is_seen() {
    let proof = |events: &[u64]| {
        let mut proof = Proof::new();
        proof.ready(3).expect("the first");
        events
            .iter()
            .try_for_each(|number| proof.event(*number))
            .map(|()| proof.is_complete(6))
    };
    assert_eq!(proof(&[3, 4, 5]), Ok(true));
    assert_eq!(proof(&[1, 2, 3, 4, 5]), Ok(true));
    assert_eq!(proof(&[3, 4]), Ok(false));
    assert_eq!(proof(&[4, 5]), Ok(false));
    assert_eq!(proof(&[3, 5]), Ok(false));
    assert_eq!(proof(&[1, 3, 4, 5]), Ok(false));
    assert!(proof(&[3, 3]).is_err());
    assert!(proof(&[4, 3]).is_err());

    let mut told = Proof::new();
    told.ready(0).expect("the first");
    told.event(2).expect("a hole, so far");
    assert!(!told.is_complete(3));
    told.told();
    assert!(told.is_complete(3));
    told.end();
    assert!(told.event(3).is_err());
}
