//! Compares a conversation with its transcript, turn by turn. What comes out is the transcript
//! again, with `-` before what did not come and `+` before what came instead.

use std::fmt;

use super::placeholders::Placeholders;
use super::{Case, Step};

/// What a client got from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text frame.
    Text(String),
    /// A close frame.
    Close {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: String,
    },
    /// Something that no transcript asks for, such as a connection that broke.
    Other(String),
}

/// What a case expects, and how far reality agreed with it.
///
/// ```
/// use updraft_test_support::transcript::{self, Expectations, Received, Step};
///
/// let case = &transcript::parse("=== ping\n -> {\"msg\":\"ping\"}\n <- {\"msg\":\"pong\"}")?[0];
/// let mut expectations = Expectations::new(case);
/// for turn in case.turns() {
///     for step in turn {
///         if let Step::Send(text) = step {
///             assert_eq!(expectations.fill(text), r#"{"msg":"ping"}"#);
///         }
///     }
///     expectations.compare(turn, &[Received::Text(r#"{"msg":"pong"}"#.into())]);
/// }
/// expectations.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Expectations {
    case: String,
    placeholders: Placeholders,
    lines: Vec<String>,
    differs: bool,
}

/// How a conversation differs from its transcript: the transcript, with `-` before each line that
/// did not come and `+` before each that came instead.
#[derive(Debug)]
pub struct Difference {
    case: String,
    lines: Vec<String>,
}

impl Expectations {
    /// Those of a case that has not begun.
    pub fn new(case: &Case) -> Self {
        Self {
            case: case.name.clone(),
            placeholders: Placeholders::default(),
            lines: Vec::new(),
            differs: false,
        }
    }

    /// What `HOST` stands for.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        self.placeholders.host = Some(host.to_owned());
        self
    }

    /// A text to send, with all placeholders filled in that are known by now.
    pub fn fill(&self, text: &str) -> String {
        self.placeholders.fill(text)
    }

    /// Compares one of the case's turns with what was received during it.
    pub fn compare(&mut self, turn: &[Step], received: &[Received]) {
        for step in turn.iter().filter(|step| !step.is_expected()) {
            let step = self.fill(&step.to_string());
            self.line(' ', &step);
        }
        let mut expected: Vec<&Step> = turn.iter().filter(|step| step.is_expected()).collect();
        let mut received: Vec<&Received> = received.iter().collect();
        while let (Some(step), Some(got)) = (expected.first(), received.first()) {
            if let Some(learnt) = self.learn(step, got) {
                self.placeholders = learnt;
                self.line(' ', &got.to_string());
                expected.remove(0);
                received.remove(0);
                continue;
            }
            // The shorter way back to agreement: leave out what did not come, or what came too
            // much.
            let missing = expected.iter().position(|step| self.agree(step, got));
            let surplus = received.iter().position(|got| self.agree(step, got));
            match (missing, surplus) {
                (Some(missing), surplus) if surplus.is_none_or(|surplus| missing <= surplus) => {
                    self.missing(expected.remove(0));
                }
                (_, Some(_)) => self.surplus(received.remove(0)),
                _ => {
                    self.missing(expected.remove(0));
                    self.surplus(received.remove(0));
                }
            }
        }
        for step in expected {
            self.missing(step);
        }
        for got in received {
            self.surplus(got);
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// The difference, when a turn did not go as the transcript says.
    pub fn finish(self) -> Result<(), Difference> {
        let Self { case, lines, .. } = self;
        if self.differs {
            return Err(Difference { case, lines });
        }
        Ok(())
    }

    fn learn(&self, step: &Step, got: &Received) -> Option<Placeholders> {
        match (step, got) {
            (Step::Expect(expected), Received::Text(actual)) => {
                self.placeholders.learn(expected, actual)
            }
            (Step::Close { .. }, Received::Close { .. }) => {
                (step.to_string() == got.to_string()).then(|| self.placeholders.clone())
            }
            _ => None,
        }
    }

    fn agree(&self, step: &Step, got: &Received) -> bool {
        self.learn(step, got).is_some()
    }

    fn missing(&mut self, step: &Step) {
        self.differs = true;
        let step = self.fill(&step.to_string());
        self.line('-', &step);
    }

    fn surplus(&mut self, got: &Received) {
        self.differs = true;
        self.line('+', &got.to_string());
    }

    fn line(&mut self, mark: char, text: &str) {
        self.lines.push(format!("{mark} {text}"));
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "<- {text}"),
            Self::Close { code, reason } => write!(f, "-- close {code} {reason}"),
            Self::Other(what) => write!(f, "!! {what}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: - expected, + got", self.case)?;
        for line in &self.lines {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// What comes of a case whose turns are answered with these frames, given one line a turn,
    /// separated by spaces.
    fn compared(case: &str, answers: &[&str]) -> String {
        let case = parse(case).unwrap().remove(0);
        let mut expectations = Expectations::new(&case).with_host("h:1");
        for (turn, answer) in case.turns().zip(answers) {
            let received: Vec<Received> = answer
                .split_whitespace()
                .map(|frame| match frame.strip_prefix("close:") {
                    Some(reason) => Received::Close {
                        code: 1000,
                        reason: reason.into(),
                    },
                    None => Received::Text(frame.into()),
                })
                .collect();
            expectations.compare(turn, &received);
        }
        match expectations.finish() {
            Ok(()) => "as expected".into(),
            Err(difference) => difference.to_string(),
        }
    }

    const CASE: &str = "=== c\n -> 1\n <- a\n <- b\n <- c\n -> 2\n <- d\n -- close 1000 bye";

    #[test]
    fn agreement_has_no_difference() {
        assert_eq!(compared(CASE, &["a b c", "d close:bye"]), "as expected");
        let ids = "=== c\n -> 1\n <- <SID>\n -> 2\n <- <SID>@HOST";
        let answers = ["kpNzWxsDHYcxAHj5M", "kpNzWxsDHYcxAHj5M@h:1"];
        assert_eq!(compared(ids, &answers), "as expected");
    }

    #[test]
    fn the_difference_is_the_transcript_with_marks() {
        let head = "c: - expected, + got\n  -> 1\n";
        let tail = "  -> 2\n  <- d\n  -- close 1000 bye";
        for (answers, body) in [
            ("a c", "  <- a\n- <- b\n  <- c\n"),
            ("a x b c", "  <- a\n+ <- x\n  <- b\n  <- c\n"),
            ("a b c c", "  <- a\n  <- b\n  <- c\n+ <- c\n"),
            ("a x c", "  <- a\n- <- b\n+ <- x\n  <- c\n"),
            ("", "- <- a\n- <- b\n- <- c\n"),
        ] {
            let expected = format!("{head}{body}{tail}");
            assert_eq!(compared(CASE, &[answers, "d close:bye"]), expected);
        }
    }

    #[test]
    fn another_close_or_another_id_is_a_difference() {
        let difference = compared(CASE, &["a b c", "d close:no"]);
        assert!(difference.ends_with("- -- close 1000 bye\n+ -- close 1000 no"));
        let ids = "=== c\n -> 1\n <- <SID>\n -> 2\n <- <SID>";
        let difference = compared(ids, &["kpNzWxsDHYcxAHj5M", "MkpNzWxsDHYcxAHj5"]);
        assert!(difference.ends_with("- <- kpNzWxsDHYcxAHj5M\n+ <- MkpNzWxsDHYcxAHj5"));
    }
}
