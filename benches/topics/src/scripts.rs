//! What the scripts of the store in Redis cost Redis itself: the time of its processor, which no
//! other program's work adds to.

use bytes::Bytes;
use redis::Cmd;
use tokio::runtime::{Builder, Runtime};
use updraft_test_support::redis::RedisServer;
use updraft_topics::{RegisterKey, Registers, Swap, Swapped, Version};

use crate::Failure;
use crate::options::Options;
use crate::records::payloads;
use crate::redis::Opened;
use crate::rounds::median;
use crate::table::{Table, figure};

/// Records of a round, and of a batch.
const RECORDS: usize = 20_000;
const BATCHES: [usize; 3] = [1, 10, 100];
/// Swaps of a round, registers of a swap, and bytes of a value.
const SWAPS: usize = 300;
const SWAPPED: usize = 64;
const VALUE: usize = 200;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let opened = Opened::new(&runtime, &server.url())?;
    let used = || used(&server);
    let mut table = Table::new(&["what Redis does, µs of its processor", "script", "`XADD`"]);
    let payloads = payloads(options.records(RECORDS));
    for size in BATCHES {
        let (mut scripts, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let before = used();
            runtime.block_on(opened.append(&payloads, size, 1))?;
            scripts.push((used() - before) / payloads.len() as f64);
            opened.empty(&runtime)?;
            let before = used();
            add(&runtime, &opened, &payloads, size)?;
            plain.push((used() - before) / payloads.len() as f64);
            server.tell("DEL", &["plain"]);
        }
        let what = format!("append of {size}, a record");
        table.row([what, figure_of(scripts), figure_of(plain)]);
    }
    let mut swaps = Vec::new();
    let mut versions = vec![None; SWAPPED];
    for _ in 0..options.rounds {
        let count = options.records(SWAPS);
        let before = used();
        for _ in 0..count {
            runtime.block_on(swap(&opened, &mut versions))?;
        }
        swaps.push((used() - before) / count as f64);
    }
    let what = format!("swap of {SWAPPED} registers of {VALUE} bytes");
    table.row([what, figure_of(swaps), String::new()]);
    Ok(table)
}

/// Microseconds that Redis' main thread has used.
fn used(server: &RedisServer) -> f64 {
    let mut info = redis::cmd("INFO");
    let info: String = info
        .arg("cpu")
        .query(&mut server.connection())
        .unwrap_or_default();
    let fields = ["used_cpu_user_main_thread:", "used_cpu_sys_main_thread:"];
    let value = |field: &str| info.lines().find_map(|line| line.strip_prefix(field));
    let values = fields.map(|field| value(field).and_then(|value| value.parse::<f64>().ok()));
    values.into_iter().flatten().sum::<f64>() * 1e6
}

fn figure_of(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    figure(median(&values))
}

/// Adds records to a stream, a pipeline for each batch.
fn add(runtime: &Runtime, opened: &Opened, payloads: &[Bytes], size: usize) -> Result<(), Failure> {
    runtime.block_on(async {
        for payloads in payloads.chunks(size) {
            let mut commands = redis::pipe();
            for payload in payloads {
                let mut add = Cmd::new();
                add.arg("XADD")
                    .arg("plain")
                    .arg("*")
                    .arg("c")
                    .arg(&payload[..]);
                commands.add_command(add).ignore();
            }
            let () = commands.query_async(&mut opened.connection.clone()).await?;
        }
        Ok(())
    })
}

/// Writes all registers, each of which has this version.
async fn swap(opened: &Opened, versions: &mut [Option<Version>]) -> Result<(), Failure> {
    let value = Bytes::from(vec![7; VALUE]);
    let mut swaps = Vec::with_capacity(versions.len());
    for (number, version) in versions.iter().enumerate() {
        let key = RegisterKey::new("bench", &number.to_string())?;
        swaps.push(Swap::write(key, *version, value.clone())?);
    }
    let swapped = opened.store.swap(swaps).await?;
    for (version, swapped) in versions.iter_mut().zip(swapped) {
        match swapped {
            Swapped::Written(written) => *version = Some(written),
            other => return Err(format!("not written: {other:?}").into()),
        }
    }
    Ok(())
}
