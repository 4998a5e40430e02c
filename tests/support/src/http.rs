//! HTTP as a test sees it: requests as they are written, answers piece by piece.
//! It blocks, with a time limit on everything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::client::PATIENCE;
use crate::stream::Stream;

/// A connection to a server, for one request after the other.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<Stream>,
    host: String,
}

/// The answer to a request; its body is read from the connection.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    left: Left,
    stream: &'a mut BufReader<Stream>,
}

/// What is left of a body.
#[derive(Debug)]
enum Left {
    Bytes(usize),
    Chunks,
    Nothing,
}

impl Http {
    /// Connects to a server, such as `127.0.0.1:3000`, or over TLS `https://127.0.0.1:3000`.
    ///
    /// # Panics
    /// When there is none.
    pub fn connect(server: &str) -> Self {
        let host = server.strip_prefix("https://").unwrap_or(server);
        let tcp = TcpStream::connect(host).unwrap_or_else(|error| panic!("{host}: {error}"));
        let set = tcp.set_nodelay(true);
        set.and_then(|()| tcp.set_read_timeout(Some(6 * PATIENCE)))
            .expect("a socket");
        let stream = match host == server {
            true => Stream::Plain(tcp),
            false => Stream::secure(tcp).unwrap_or_else(|error| panic!("{host}: {error}")),
        };
        Self {
            stream: BufReader::new(stream),
            host: host.to_owned(),
        }
    }

    /// Sends a request, with a body if it is not empty; the answer as soon as its head is here.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn ask(&mut self, head: &str, headers: &[(&str, &str)], body: &str) -> Answer<'_> {
        let mut request = format!("{head} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || head.starts_with("POST") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.send(&format!("{request}\r\n{body}"));
        self.answer()
    }

    /// As [`ask`](Self::ask), with nothing in the head but what is needed; the whole body.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn body(&mut self, head: &str, body: &str) -> String {
        self.ask(head, &[], body).text()
    }

    /// As [`body`](Self::body), for a connection that may be cut meanwhile.
    ///
    /// # Errors
    /// When it is.
    pub fn try_body(&mut self, head: &str) -> io::Result<String> {
        let mut answer = self.try_ask(head)?;
        let mut text = String::new();
        while let Some(piece) = answer.try_piece()? {
            text.push_str(&piece);
        }
        Ok(text)
    }

    /// The answer to a request without a body, on a connection that may be cut.
    pub(crate) fn try_ask(&mut self, head: &str) -> io::Result<Answer<'_>> {
        let host = &self.host;
        let request = format!("{head} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.try_answer()
    }

    /// Sends bytes as they stand.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&mut self, text: &str) {
        let sent = self.stream.get_mut().write_all(text.as_bytes());
        sent.unwrap_or_else(|error| panic!("not sent: {error}"));
    }

    /// Reads the head of an answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self) -> Answer<'_> {
        self.try_answer()
            .unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    fn try_answer(&mut self) -> io::Result<Answer<'_>> {
        let line = line(&mut self.stream)?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {line:?}")))?;
        let mut headers = Vec::new();
        while let Some((name, value)) = trimmed_line(&mut self.stream)?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let header = |name: &str| headers.iter().find(|(known, _)| known == name);
        let left = match (header("transfer-encoding"), header("content-length")) {
            (Some(_), _) => Left::Chunks,
            (None, Some((_, length))) => Left::Bytes(length.parse().expect("a length")),
            (None, None) => Left::Nothing,
        };
        Ok(Answer {
            status,
            headers,
            left,
            stream: &mut self.stream,
        })
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().tcp()
    }
}

impl Answer<'_> {
    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The next piece of the body as the server wrote it; `None` at the end.
    ///
    /// # Panics
    /// When the body is cut.
    pub fn piece(&mut self) -> Option<String> {
        self.try_piece()
            .unwrap_or_else(|error| panic!("the body was cut: {error}"))
    }

    pub(crate) fn try_piece(&mut self) -> io::Result<Option<String>> {
        let length = match self.left {
            Left::Nothing => return Ok(None),
            Left::Bytes(length) => {
                self.left = Left::Nothing;
                length
            }
            Left::Chunks => {
                let digits = trimmed_line(self.stream)?;
                usize::from_str_radix(&digits, 16).map_err(io::Error::other)?
            }
        };
        let mut piece = vec![0; length];
        self.stream.read_exact(&mut piece)?;
        if matches!(self.left, Left::Chunks) {
            trimmed_line(self.stream)?;
            if length == 0 {
                self.left = Left::Nothing;
                return Ok(None);
            }
        }
        String::from_utf8(piece).map(Some).map_err(io::Error::other)
    }

    /// The rest of the body.
    ///
    /// # Panics
    /// When the body is cut.
    pub fn text(mut self) -> String {
        let mut text = String::new();
        while let Some(piece) = self.piece() {
            text.push_str(&piece);
        }
        text
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

fn trimmed_line(stream: &mut impl BufRead) -> io::Result<String> {
    Ok(line(stream)?.trim_end().to_owned())
}
