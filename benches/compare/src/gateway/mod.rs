//! What it costs to stand in front of a Meteor app: beside going there directly, and beside a relay
//! that copies bytes from one socket to another. The app is a program that costs little, and the
//! same for all.

mod latency;
mod memory;
mod options;
mod passing;
mod rounds;
mod transfers;
mod vents;
mod ways;

use updraft_load::quiet;

use self::options::{Measure, Options, USAGE};
use self::ways::World;
use crate::page;

/// Measures what the options name, and shows it.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    if arguments.contains(&"--help") {
        print!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    let world = World::prepare(&options)?;
    if !options.is_quick && !quiet::wait() {
        println!("the machine is busy with something else: its figures mean less");
    }
    let mut tables = Vec::new();
    for measure in options.measures() {
        let table = match measure {
            Measure::Latency => latency::measure(&world, &options)?,
            Measure::Passing => passing::measure(&world, &options)?,
            Measure::Transfers => transfers::measure(&world, &options)?,
            Measure::Memory => memory::measure(&world, &options)?,
            Measure::Vents => vents::measure(&world, &options)?,
        };
        println!("\n{table}");
        tables.push((measure.table(), table));
    }
    if options.docs {
        page::write_parts(&tables)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn the_page_has_a_place_for_each_table() {
        let page = std::fs::read_to_string(root().join("docs/how-fast.md")).unwrap();
        for measure in Measure::ALL {
            let place = page::replace(&page, measure.table(), "");
            assert!(place.is_ok(), "{measure:?}");
        }
    }
}
