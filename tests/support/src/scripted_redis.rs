//! Answers as Redis would in states that a real one cannot be brought into at will: loading,
//! read-only, out of memory. It knows the few commands that a bus needs; the script answers instead
//! where it wants to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Whatever is asked: the error to answer with, such as `LOADING Redis is loading the dataset in
/// memory`, if any.
type Script = Arc<Mutex<Box<dyn FnMut(&[String]) -> Option<String> + Send>>>;

/// A server on a port of its own that lasts as long as the test.
pub struct ScriptedRedis {
    port: u16,
    script: Script,
}

impl ScriptedRedis {
    /// Starts one that has nothing against anything.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let script: Script = Arc::new(Mutex::new(Box::new(|_| None)));
        let all = Arc::clone(&script);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let script = Arc::clone(&all);
                thread::spawn(move || serve(&socket, &script));
            }
        });
        Self { port, script }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Refuses from now on what this says, with the error that it says.
    pub fn refuse(&self, script: impl FnMut(&[String]) -> Option<String> + Send + 'static) {
        *lock(&self.script) = Box::new(script);
    }
}

impl std::fmt::Debug for ScriptedRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedRedis")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn serve(mut socket: &TcpStream, script: &Script) {
    let mut reader = BufReader::new(socket);
    let mut subscribed = 0;
    while let Some(command) = read_command(&mut reader) {
        let refused = lock(script)(&command);
        let answer = match (refused, command[0].to_uppercase().as_str()) {
            (Some(error), _) => format!("-{error}\r\n"),
            (None, "HELLO") => "-ERR unknown command `HELLO`\r\n".into(),
            (None, "PING") if subscribed > 0 => "*2\r\n$4\r\npong\r\n$0\r\n\r\n".into(),
            (None, "PING") => "+PONG\r\n".into(),
            (None, "PUBLISH") => ":0\r\n".into(),
            (None, "SUBSCRIBE") => {
                let confirmations = command[1..].iter().map(|channel| {
                    subscribed += 1;
                    let length = channel.len();
                    format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:{subscribed}\r\n")
                });
                confirmations.collect()
            }
            _ => "+OK\r\n".into(),
        };
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The words of one command; `None` at the end, or when it is none.
fn read_command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count = read_length(reader, '*')?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; read_length(reader, '$')? + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            String::from_utf8(word).ok()
        })
        .collect()
}

fn read_length(reader: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.take(64).read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
