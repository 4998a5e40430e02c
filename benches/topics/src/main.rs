//! What topics cost beside the stores that they stand on. Each measure runs with topics and with
//! the bare store, one after the other, several times; the ratio is the median of the rounds'.
//! `cargo xtask bench topics` runs this.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long things take"
)]

mod file;
mod flush;
mod groups;
mod memory;
mod options;
mod page;
mod records;
mod redis;
mod reopen;
mod rounds;
mod scratch;
mod scripts;
mod table;

use std::error::Error;
use std::process::ExitCode;

use self::options::{Measure, Options, USAGE};
use self::table::Table;

/// Whatever has kept a figure from being measured.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        [reopen::FILL, path, bytes] => reopen::fill_and_wait(path, bytes),
        _ => Options::parse(&arguments)
            .map_err(Into::into)
            .and_then(|options| measure(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Failure> {
    let mut tables: Vec<(&'static str, Table)> = Vec::new();
    for measure in options.measures() {
        let measured = match measure {
            Measure::Memory => memory::measure(options)?,
            Measure::File => file::measure(options)?,
            Measure::Redis => redis::measure(options)?,
            Measure::Flush => flush::measure(options)?,
            Measure::Scripts => scripts::measure(options)?,
            Measure::Reopen => reopen::measure(options)?,
            Measure::Groups => groups::work(options)?,
            Measure::Peers => groups::peers(options)?,
            Measure::Order => groups::order(options)?,
            Measure::Times => groups::times(options)?,
            Measure::Idle => groups::idle(options)?,
        };
        println!("{measured}");
        tables.push((measure.key(), measured));
    }
    if options.docs {
        page::write(&tables)?;
    }
    Ok(())
}
