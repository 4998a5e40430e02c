//! Lines of standard input, as records to publish. A thread reads and parses them while others are
//! being stored.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use updraft::ejson::{self, JsonLimits};
use updraft::topics::Entry;

use super::path::Path;

/// Bytes of lines that one batch has at most, unless its first line is longer.
const BATCH_BYTES: usize = 1024 * 1024;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// How long a line may be: a record of 1 MiB, with room for white space and escapes.
const MAX_LINE: usize = 8 * 1024 * 1024;

/// Lines and their bytes that the thread hands over together, and how often it may be ahead.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNKS: usize = 8;

/// How long a batch waits for more lines.
const PATIENCE: Duration = Duration::from_millis(50);

/// Values may be one level less deep than in a topic: a number that is too large for JSON becomes an
/// object there.
const LIMITS: JsonLimits = JsonLimits::new(63, usize::MAX);

/// Where the parts of a record stand in its line.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) key: Option<Path>,
    pub(super) compact: Option<Path>,
    pub(super) dedup: Option<Path>,
}

/// A line that is not blank.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1; blank lines count.
    pub(super) number: u64,
    bytes: usize,
    /// The record, or why there is none.
    pub(super) entry: Result<Entry, String>,
}

/// The lines of standard input, in batches.
#[derive(Debug)]
pub(super) struct Lines {
    /// Filled by the thread, which waits when it is `CHUNKS` ahead.
    chunks: Receiver<io::Result<Vec<Line>>>,
    /// Lines that belong to no batch yet: less than a batch and a chunk.
    waiting: VecDeque<Line>,
    waiting_bytes: usize,
    most: usize,
}

impl Lines {
    /// Begins to read. At most so many lines are a batch.
    ///
    /// # Errors
    ///
    /// There cannot be another thread.
    pub(super) fn read(paths: Paths, most: usize) -> io::Result<Self> {
        let (sender, chunks) = channel(CHUNKS);
        // It may wait for input for ever, and ends with the process.
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || send_lines(io::stdin().lock(), &paths, &sender))?;
        Ok(Self {
            chunks,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            most,
        })
    }

    /// The next batch: as many lines as there may be, or fewer if the next takes its time. Empty at
    /// the end.
    ///
    /// # Errors
    ///
    /// Standard input cannot be read.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no line.
    pub(super) async fn batch(&mut self) -> io::Result<Vec<Line>> {
        while self.waiting.len() < self.most && self.waiting_bytes < BATCH_BYTES {
            let chunk = if self.waiting.is_empty() {
                self.chunks.recv().await
            } else if let Ok(chunk) = timeout(PATIENCE, self.chunks.recv()).await {
                chunk
            } else {
                break;
            };
            let Some(chunk) = chunk else { break };
            for line in chunk? {
                self.waiting_bytes = self.waiting_bytes.saturating_add(line.bytes);
                self.waiting.push_back(line);
            }
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<Line> {
        let mut count: usize = 0;
        let mut bytes: usize = 0;
        for line in self.waiting.iter().take(self.most) {
            let more = bytes.saturating_add(line.bytes);
            if count > 0 && more > BATCH_BYTES {
                break;
            }
            (count, bytes) = (count.saturating_add(1), more);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        self.waiting.drain(..count).collect()
    }
}

/// What was read of a line.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Line,
    /// It is too long, and was passed over.
    TooLong,
    End,
}

/// Sends all lines, until there are no more or nobody wants them.
fn send_lines(input: impl Read, paths: &Paths, chunks: &Sender<io::Result<Vec<Line>>>) {
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let mut number: u64 = 0;
    let mut text = Vec::new();
    let mut chunk = Vec::new();
    let mut bytes: usize = 0;
    loop {
        // The next line may have to be waited for.
        let may_wait = !chunk.is_empty() && !input.buffer().contains(&b'\n');
        if may_wait || chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
            bytes = 0;
            if chunks
                .blocking_send(Ok(std::mem::take(&mut chunk)))
                .is_err()
            {
                return;
            }
        }
        let entry = match next_line(&mut input, &mut text) {
            Ok(Found::Line) => Some(&text)
                .filter(|text| !is_blank(text))
                .map(|text| parse(text, paths)),
            Ok(Found::TooLong) => Some(Err(format!("it is longer than {MAX_LINE} bytes"))),
            Ok(Found::End) => break,
            Err(error) => {
                drop(chunks.blocking_send(Err(error)));
                return;
            }
        };
        number = number.saturating_add(1);
        bytes = bytes.saturating_add(text.len());
        chunk.extend(entry.map(|entry| Line {
            number,
            bytes: text.len(),
            entry,
        }));
    }
    if !chunk.is_empty() {
        drop(chunks.blocking_send(Ok(chunk)));
    }
}

/// Reads one line, without its end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Found> {
    line.clear();
    let mut found = Found::End;
    loop {
        let read = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read.is_empty() {
            return Ok(found);
        }
        let mut parts = read.splitn(2, |byte| *byte == b'\n');
        let part = parts.next().unwrap_or_default();
        let is_whole = parts.next().is_some();
        if found != Found::TooLong && line.len().saturating_add(part.len()) <= MAX_LINE {
            found = Found::Line;
            line.extend_from_slice(part);
        } else {
            found = Found::TooLong;
            line.clear();
        }
        let used = part.len().saturating_add(usize::from(is_whole));
        input.consume(used);
        if is_whole {
            return Ok(found);
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// The record of a line.
fn parse(line: &[u8], paths: &Paths) -> Result<Entry, String> {
    let text = str::from_utf8(line).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let value = ejson::parse(text, &LIMITS).map_err(|error| error.to_string())?;
    let value = value.decode().map_err(|error| error.to_string())?;
    let text = |path: &Option<Path>| path.as_ref().map(|path| path.text_in(&value)).transpose();
    let (key, compact, dedup) = (
        text(&paths.key)?,
        text(&paths.compact)?,
        text(&paths.dedup)?,
    );
    let mut entry = Entry::from(value);
    if let Some(key) = key {
        entry = entry.key(key);
    }
    if let Some(compact) = compact {
        entry = entry.compact(compact);
    }
    if let Some(dedup) = dedup {
        entry = entry.dedup(dedup);
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines in `input`, chunk by chunk, and of those that are bad.
    fn chunks(input: impl Read + Send, paths: &Paths) -> (Vec<Vec<u64>>, Vec<u64>) {
        let (sender, mut receiver) = channel(CHUNKS);
        let (mut chunks, mut bad) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            scope.spawn(move || send_lines(input, paths, &sender));
            while let Some(chunk) = receiver.blocking_recv() {
                let chunk = chunk.unwrap();
                let failed = chunk.iter().filter(|line| line.entry.is_err());
                bad.extend(failed.map(|line| line.number));
                chunks.push(chunk.iter().map(|line| line.number).collect());
            }
        });
        (chunks, bad)
    }

    fn paths(dedup: Option<&str>) -> Paths {
        Paths {
            key: None,
            compact: None,
            dedup: dedup.map(|path| path.parse().unwrap()),
        }
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_left_out() {
        let input = b"1\r\n\n \t\n{\"id\":2}\n{\n\xff\n{\"$date\":\"x\"}\n\"last\"";
        let (lines, bad) = chunks(&input[..], &paths(None));
        assert_eq!(lines.concat(), [1, 4, 5, 6, 7, 8]);
        assert_eq!(bad, [5, 6]);
        let (_, bad) = chunks(&input[..], &paths(Some(".id")));
        assert_eq!(bad, [1, 5, 6, 7, 8]);
        assert_eq!(chunks(&b""[..], &paths(None)), (vec![], vec![]));
    }

    #[test]
    fn what_was_read_does_not_wait_for_what_was_not() {
        let input = b"1\n2\n3".chain(&b"3\n4\n"[..]);
        assert_eq!(chunks(input, &paths(None)).0, [vec![1, 2], vec![3, 4]]);
        let many = "1\n".repeat(CHUNK + 1);
        let (chunks, _) = chunks(many.as_bytes(), &paths(None));
        assert_eq!([chunks[0].len(), chunks[1].len()], [CHUNK, 1]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let long = io::repeat(b'1').take(3 * MAX_LINE as u64);
        let input = long.chain(&b"\n2\n"[..]);
        let (lines, bad) = chunks(input, &paths(None));
        assert_eq!((lines.concat(), bad), (vec![1, 2], vec![1]));
        let just = io::repeat(b' ').take(MAX_LINE as u64 - 1).chain(&b"1"[..]);
        assert_eq!(chunks(just, &paths(None)), (vec![vec![1]], vec![]));
    }

    #[tokio::test]
    async fn a_batch_has_as_many_lines_and_bytes_as_it_may() {
        let (sender, chunks) = channel(CHUNKS);
        let line = |number, bytes| Line {
            number,
            bytes,
            entry: Err(String::new()),
        };
        let chunk = vec![line(1, 9), line(2, 9), line(3, 9)];
        sender.send(Ok(chunk)).await.unwrap();
        let chunk = vec![line(4, BATCH_BYTES), line(5, 2 * BATCH_BYTES), line(6, 9)];
        sender.send(Ok(chunk)).await.unwrap();
        let mut lines = Lines {
            chunks,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            most: 2,
        };
        for expected in [&[1, 2][..], &[3], &[4], &[5], &[6]] {
            let batch = lines.batch().await.unwrap();
            assert!(
                batch
                    .iter()
                    .map(|line| line.number)
                    .eq(expected.iter().copied())
            );
        }
        drop(sender);
        assert!(lines.batch().await.unwrap().is_empty());
    }
}
