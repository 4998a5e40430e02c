//! Where Updraft does on purpose what a numbered check does not say, and why. A test with such a number holds what is said
//! here; a number without a test is one that has no counterpart in Rust.

/// Facts that are otherwise here.
pub(crate) struct Deviation {
    pub(crate) numbers: &'static [u16],
    /// Whether there is something to test. If not, the reason says why.
    pub(crate) is_tested: bool,
    pub(crate) reason: &'static str,
}

pub(super) const DDP: &[Deviation] = &[
    Deviation {
        numbers: &[40],
        is_tested: true,
        reason: "a client may send so many messages that cannot be read (Builder::unreadable_limit); one more closes",
    },
    Deviation {
        numbers: &[79, 82],
        is_tested: false,
        reason: "there is no database, so a publication returns no cursors: what it returns is checked when it is compiled",
    },
    Deviation {
        numbers: &[80, 81],
        is_tested: false,
        reason: "a handler's Ok(()) means ready, as [] does in Meteor; one that is not ready yet says hold_ready()",
    },
    Deviation {
        numbers: &[143, 163],
        is_tested: true,
        reason: "errors and users have types: what is no text does not compile, and any other error is Internal server error",
    },
    Deviation {
        numbers: &[164],
        is_tested: true,
        reason: "universal publications are awaited when the user changes and are part of the difference, as in Meteor 2",
    },
    Deviation {
        numbers: &[165],
        is_tested: true,
        reason: "no strategy leaves documents of the former user behind that it remembers",
    },
    Deviation {
        numbers: &[173],
        is_tested: true,
        reason: "beside the rule for each connection there is one for each public address; spans begin with the caller",
    },
    Deviation {
        numbers: &[220],
        is_tested: true,
        reason: "permessage-deflate is an offer, and is declined: it costs more memory and time than events are worth",
    },
    Deviation {
        numbers: &[221],
        is_tested: true,
        reason: "messages of clients end at 64 KiB before connect and 4 MiB after it, unless the program says otherwise",
    },
    Deviation {
        numbers: &[223],
        is_tested: true,
        reason: "as up to Meteor 3.2.1, entries are counted from the end: otherwise any client can do without an address",
    },
    Deviation {
        numbers: &[228, 234],
        is_tested: true,
        reason: "a bounded history stands in for equal counts: a client gets exactly what it missed, and a new session only \
                 for what is older than that (100 messages, 64 KiB) or cannot be",
    },
];

pub(super) const VENT: &[Deviation] = &[Deviation {
    numbers: &[
        9, 10, 12, 17, 18, 25, 26, 27, 33, 34, 35, 39, 44, 59, 60, 62, 64, 71, 73, 79,
    ],
    is_tested: true,
    reason: "open in redis-oplog, or answered as nobody would wish: docs/vent.md decides each",
}];

pub(super) const ROW: &[Deviation] = &[
    Deviation {
        numbers: &[4],
        is_tested: true,
        reason: "with a length and chunks hyper goes by the chunks, and ends the connection behind \
                 the answer; two lengths are 400",
    },
    Deviation {
        numbers: &[12],
        is_tested: true,
        reason: "no limit by default: a school or a carrier is one address",
    },
    Deviation {
        numbers: &[62],
        is_tested: true,
        reason: "1,000 logins within 10 s for one address, and none counted for private ones, which are most often a proxy's",
    },
    Deviation {
        numbers: &[105],
        is_tested: true,
        reason: "an address that guesses is told of its own sessions only, and nothing else is \
                 kept from it",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn the_page_about_vent_has_a_line_for_each() {
        let page = std::fs::read_to_string(root().join("docs/vent.md")).unwrap();
        let lines = page.lines().filter_map(|line| line.strip_prefix("| "));
        let numbers = lines
            .filter_map(|line| line.split_once(" |"))
            .map(|it| it.0);
        let decided: Vec<u16> = numbers
            .flat_map(|numbers| numbers.split(", "))
            .filter_map(|number| number.parse().ok())
            .collect();
        let mut decided_in_order = decided;
        decided_in_order.sort_unstable();
        assert_eq!(decided_in_order, VENT[0].numbers);
    }
}
