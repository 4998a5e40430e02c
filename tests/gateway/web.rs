//! An app that answers HTTP as a test says, on a thread for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use updraft_test_support::client::PATIENCE;

/// The app's end of a connection.
pub(crate) type Peer = BufReader<TcpStream>;

#[derive(Debug)]
pub(crate) struct App {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl App {
    /// `answer` gets the head of each request, and reads its body itself. It says whether the
    /// connection goes on.
    pub(crate) fn start(answer: impl Fn(&str, &mut Peer) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
            connections: Arc::default(),
            is_over: Arc::default(),
        };
        let (heads, connections) = (app.heads.clone(), app.connections.clone());
        let (is_over, answer) = (app.is_over.clone(), Arc::new(answer));
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (heads, answer) = (heads.clone(), answer.clone());
                thread::spawn(move || serve(socket, &heads, &*answer));
            }
        });
        app
    }

    /// Answers each request with this text, and reads no body.
    pub(crate) fn saying(answer: &'static str) -> Self {
        Self::start(move |_, peer| say(peer, answer))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests, with their names in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The head of the only request.
    pub(crate) fn head(&self) -> String {
        let heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads[0].clone()
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Writes bytes; whether the connection goes on.
pub(crate) fn say(peer: &mut Peer, text: &str) -> bool {
    peer.get_mut().write_all(text.as_bytes()).is_ok()
}

/// Reads a body of this length.
pub(crate) fn hear(peer: &mut Peer, length: usize) -> String {
    let mut body = vec![0; length];
    peer.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn serve(socket: TcpStream, heads: &Mutex<Vec<String>>, answer: &dyn Fn(&str, &mut Peer) -> bool) {
    socket.set_read_timeout(Some(4 * PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut peer = BufReader::new(socket);
    while let Some(head) = head(&mut peer) {
        heads.lock().unwrap().push(head.clone());
        if !answer(&head, &mut peer) {
            return;
        }
    }
}

fn head(peer: &mut Peer) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        match peer.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => return Some(head),
            Ok(_) => head.push_str(&line),
        }
    }
}
