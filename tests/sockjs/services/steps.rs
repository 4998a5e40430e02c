//! A conversation with the services as steps, so that the cases of a suite can stand in a table.

use updraft_test_support::client::Client;
use updraft_test_support::http::{Answer, Http};

/// One step; in its texts `SESSION` is a name of the conversation's own, `PRELUDE` what a stream
/// begins with, and `LARGE` as much as ends a stream.
pub(crate) enum Step {
    /// A request, and what its answer must be.
    Ask(Request),
    /// The same; its body is read by the steps that follow.
    Stream(Request),
    /// The next piece of the stream's body.
    Piece(&'static str),
    /// The stream ends.
    End,
    /// Opens a WebSocket.
    Socket(&'static str),
    Say(&'static str),
    Hear(&'static str),
    /// The server closes it.
    Closed(u16, &'static str),
    /// What does not fit into a table, with the server's host and the conversation's session.
    Check(fn(&str, &str)),
}

pub(crate) struct Request {
    line: &'static str,
    sends: Vec<(&'static str, &'static str)>,
    body: &'static str,
    status: u16,
    has: Vec<(&'static str, &'static str)>,
    lacks: &'static [&'static str],
    told: Told,
}

enum Told {
    Anything,
    Exactly(&'static str),
    Among(&'static str),
}

/// A request such as `GET /echo`, which is to be answered with this status.
pub(crate) fn ask(line: &'static str, status: u16) -> Request {
    Request {
        line,
        sends: Vec::new(),
        body: "",
        status,
        has: Vec::new(),
        lacks: &[],
        told: Told::Anything,
    }
}

impl Request {
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.sends.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    /// A header that the answer must have.
    pub(crate) fn has(mut self, name: &'static str, value: &'static str) -> Self {
        self.has.push((name, value));
        self
    }

    /// Headers that it must not have.
    pub(crate) fn lacks(mut self, names: &'static [&'static str]) -> Self {
        self.lacks = names;
        self
    }

    /// Its body.
    pub(crate) fn says(mut self, text: &'static str) -> Self {
        self.told = Told::Exactly(text);
        self
    }

    /// A part of its body.
    pub(crate) fn names(mut self, text: &'static str) -> Self {
        self.told = Told::Among(text);
        self
    }

    fn send<'a>(&self, http: &'a mut Http, session: &str) -> Answer<'a> {
        let (line, body) = (expand(self.line, session), expand(self.body, session));
        let answer = http.ask(&line, &self.sends, &body);
        assert_eq!(answer.status, self.status, "{line}");
        for (name, value) in &self.has {
            assert_eq!(answer.header(name), Some(*value), "{line}: {name}");
        }
        for name in self.lacks {
            assert_eq!(answer.header(name), None, "{line}: {name}");
        }
        answer
    }
}

/// Runs a conversation with the server at `host`.
pub(crate) fn run(steps: &[Step], host: &str, session: &str) {
    Conversation { host, session }.go_on(steps, None, None);
}

struct Conversation<'a> {
    host: &'a str,
    session: &'a str,
}

impl Conversation<'_> {
    fn go_on(
        &self,
        steps: &[Step],
        mut stream: Option<&mut Answer<'_>>,
        mut socket: Option<&mut Client>,
    ) {
        let (host, session) = (self.host, self.session);
        let text = |text: &str| expand(text, session);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Ask(request) => {
                    let mut http = Http::connect(host);
                    let got = request.send(&mut http, session).text();
                    let line = request.line;
                    match request.told {
                        Told::Anything => {}
                        Told::Exactly(told) => assert_eq!(got, text(told), "{line}"),
                        Told::Among(told) => assert!(got.contains(told), "{line}: {got}"),
                    }
                }
                Step::Stream(request) => {
                    let mut http = Http::connect(host);
                    let mut answer = request.send(&mut http, session);
                    return self.go_on(&steps[at + 1..], Some(&mut answer), socket);
                }
                Step::Piece(piece) => {
                    let got = stream.as_mut().expect("a stream").piece();
                    assert_eq!(got, Some(text(piece)));
                }
                Step::End => assert_eq!(stream.as_mut().expect("a stream").piece(), None),
                Step::Socket(path) => {
                    let mut client = Client::connect(&format!("ws://{host}{}", text(path)));
                    return self.go_on(&steps[at + 1..], stream, Some(&mut client));
                }
                Step::Say(said) => socket.as_mut().expect("a socket").send_text(&text(said)),
                Step::Hear(heard) => socket.as_mut().expect("a socket").expect_text(&text(heard)),
                Step::Closed(code, reason) => {
                    socket
                        .as_mut()
                        .expect("a socket")
                        .expect_close(*code, reason);
                }
                Step::Check(check) => check(host, session),
            }
        }
    }
}

fn expand(text: &str, session: &str) -> String {
    let text = text.replace("SESSION", session);
    let text = text.replace("PRELUDE", &"h".repeat(2048));
    text.replace("LARGE", &"x".repeat(4096))
}
