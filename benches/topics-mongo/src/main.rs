//! What topics in MongoDB cost beside bare insertions, and beside the usual way to number records:
//! a counter document, then the insertion, and readers that ask for what is behind the last number
//! they have seen. That way loses records, which is counted. `cargo xtask bench topics-mongo` runs
//! this, on the MongoDB of `MONGO_URL`, an installed `mongod`, or the FerretDB of the tests.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long things take"
)]

mod bare;
mod counter;
mod options;
mod topics;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mongodb::{Client, Database};
use tokio::task::JoinSet;
use updraft_test_support::mongo::MongoServer;

use self::options::{Options, USAGE};

/// Whatever has kept a figure from being measured.
type Failure = Box<dyn Error + Send + Sync>;

/// How often readers look.
const POLL: Duration = Duration::from_millis(50);

/// Callers at the same time, half of them with connections of their own, as those of another
/// process.
const CALLERS: usize = 16;

/// Records of a batch.
const BATCH: usize = 100;

/// What one run has shown.
struct Run {
    taken: Duration,
    /// Records that were written and that the reader did not get, if there was one.
    lost: Option<usize>,
}

/// Ways to write records.
#[derive(Clone, Copy)]
enum Way {
    BareMany,
    TopicMany,
    BareOne,
    Counter,
    Topic,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::BareMany,
        Self::TopicMany,
        Self::BareOne,
        Self::Counter,
        Self::Topic,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::BareMany => "`insertMany` with 100, one caller",
            Self::TopicMany => "`publish_many` with 100, one caller",
            Self::BareOne => "`insertOne`, 16 callers",
            Self::Counter => "a counter document and `insertOne`, 16 callers",
            Self::Topic => "`publish`, 16 callers",
        }
    }

    async fn run(self, url: &str, records: usize) -> Result<Run, Failure> {
        match self {
            Self::BareMany => bare::many(url, records).await,
            Self::TopicMany => topics::many(url, records).await,
            Self::BareOne => bare::one_by_one(url, records).await,
            Self::Counter => counter::run(url, records).await,
            Self::Topic => topics::one_by_one(url, records).await,
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--help"] {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = match Options::parse(&arguments) {
        Ok(options) => measure(&options).await,
        Err(reason) => Err(reason.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<(), Failure> {
    let source = MongoServer::source()?;
    println!("{} records, {} rounds\n", options.records, options.rounds);
    println!("| way | records/s | lost by a reader |\n| --- | ---: | ---: |");
    for way in Way::ALL {
        let mut rates = Vec::new();
        let mut lost = None;
        for _ in 0..options.rounds {
            // Each run has an empty database.
            let server = MongoServer::start(&source);
            let run = way.run(server.url(), options.records).await?;
            rates.push(options.records as f64 / run.taken.as_secs_f64());
            lost = run.lost.map(|count| count + lost.unwrap_or(0));
            database(server.url()).await?.drop().await?;
        }
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied().unwrap_or_default();
        let all = options.records * options.rounds;
        let lost = lost.map_or_else(|| "–".into(), |lost| format!("{lost} of {all}"));
        println!("| {} | {rate:.0} | {lost} |", way.title());
    }
    Ok(())
}

async fn database(url: &str) -> Result<Database, Failure> {
    let client = Client::with_uri_str(url).await?;
    client
        .default_database()
        .ok_or_else(|| "the URL names no database".into())
}

/// What all ways store.
fn payload(n: usize) -> Vec<u8> {
    format!("{n:0200}").into_bytes()
}

/// Runs callers at the same time, each with its share of the numbers, and answers how long it took.
async fn together<F>(
    records: usize,
    call: impl Fn(usize, std::ops::Range<usize>) -> F,
) -> Result<Duration, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let began = Instant::now();
    let share = records.div_ceil(CALLERS);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let first = (caller * share).min(records);
        callers.spawn(call(caller, first..(first + share).min(records)));
    }
    for outcome in callers.join_all().await {
        outcome?;
    }
    Ok(began.elapsed())
}
