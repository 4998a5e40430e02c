//! How long a store in a file takes to open after its process was killed. All of the file is read
//! then, here from the operating system's cache.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Builder;
use updraft_topics::{Entry, FileStore, Topics};

use crate::Failure;
use crate::options::Options;
use crate::records::settings;
use crate::rounds::median;
use crate::scratch::Scratch;
use crate::table::{Table, figure};

/// The argument with which this program fills a file.
pub(crate) const FILL: &str = "fill";

/// Payloads, and how many of them are published at once.
const BYTES: usize = 512 * 1024 * 1024;
const BATCH: usize = 1000;
const SIZES: [usize; 2] = [200, 4096];

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let titles = ["payloads", "s per GB", "goal", "s", "file, MB"];
    let mut table = Table::new(&titles);
    for size in SIZES {
        let scratch = Scratch::new(options, "reopen")?;
        let path = scratch.file("store");
        fill(&path, size, options.records(BYTES))?;
        let bytes = fs::metadata(&path)?.len() as f64;
        let seconds = open(&path)?;
        let mut clean = (0..options.rounds)
            .map(|_| open(&path))
            .collect::<Result<Vec<_>, _>>()?;
        clean.sort_by(f64::total_cmp);
        let payloads = figure(options.records(BYTES) as f64 / 1e6);
        for (how, seconds) in [("after a kill", seconds), ("after a close", median(&clean))] {
            let what = format!("{payloads} MB in records of {size} bytes, {how}");
            let goal = "< 1".to_owned();
            let per_gb = figure(seconds / (bytes / 1e9));
            table.row([what, per_gb, goal, figure(seconds), figure(bytes / 1e6)]);
        }
    }
    Ok(table)
}

/// Has another process fill a file, and kills it.
fn fill(path: &Path, size: usize, bytes: usize) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(FILL)
        .arg(path)
        .arg(format!("{size}x{}", bytes / size))
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    let read = match child.stdout.take() {
        Some(output) => BufReader::new(output).read_line(&mut line),
        None => Ok(0),
    };
    child.kill()?;
    child.wait()?;
    read?;
    if line.trim() == "filled" {
        return Ok(());
    }
    Err("the file was not filled".into())
}

/// Publishes `SIZExCOUNT` records, says so, and waits to be killed.
pub(crate) fn fill_and_wait(path: &str, what: &str) -> Result<(), Failure> {
    let (size, count) = what.split_once('x').ok_or("not SIZExCOUNT")?;
    let (size, count): (usize, usize) = (size.parse()?, count.parse()?);
    let payload = Bytes::from(vec![7; size]);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let topics = Topics::open(FileStore::open(path).await?);
        let topic = topics.topic("filled", settings()).await?;
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let entries = (0..batch).map(|_| Entry::bytes(payload.clone()));
            topic.publish_many(entries).await?;
            left -= batch;
        }
        println!("filled");
        std::io::stdout().flush()?;
        std::future::pending().await
    })
}

/// Opens and closes a store. Answers the seconds for opening it.
fn open(path: &Path) -> Result<f64, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let store = FileStore::open(path).await?;
        let taken = began.elapsed().as_secs_f64();
        store.close().await;
        Ok(taken)
    })
}
