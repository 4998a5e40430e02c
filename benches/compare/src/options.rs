//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use crate::Case;
use crate::measures::{COSTS, MEASURES, Measure, Scale};
use crate::servers::SERVERS;

/// The output of `--help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [OPTION]...

  --quick           short runs of few clients, one round: shows that everything works, the figures mean nothing
  --only LIST       measures: rate, sat, own, isolated, idle, clients, channels, size, shards, slow, calls, subs,
                    follows, logins, documents (all); costs is the last five
  --servers LIST    updraft, updraft-rebuilt, updraft-relay, updraft-topic, updraft-sockjs, ws, socketio, sockjs, nats, mosquitto,
                    limit-1, limit-16 (all that a measure has)
  --rounds N        rounds, of which medians are shown (3)
  --docs            writes the tables of docs/how-fast.md
  --from FILE       shows (and with --docs writes) the raw figures of an earlier run, and measures nothing
";

/// The options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    pub(crate) docs: bool,
    pub(crate) from: Option<PathBuf>,
    only: Option<Vec<String>>,
    servers: Option<Vec<String>>,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            scale: Scale::Full,
            rounds: 3,
            docs: false,
            from: None,
            only: None,
            servers: None,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{option} needs a value"));
            match *option {
                "--quick" => (options.scale, options.rounds) = (Scale::Quick, 1),
                "--docs" => options.docs = true,
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or("--rounds takes a positive number")?;
                }
                "--from" => options.from = Some(value()?.into()),
                "--only" => {
                    let known: Vec<&str> = MEASURES.iter().map(|measure| measure.key()).collect();
                    let costs = COSTS.map(Measure::key).join(",");
                    let wanted = value()?.split(',').map(|entry| match entry {
                        "costs" => costs.as_str(),
                        one => one,
                    });
                    let wanted: Vec<&str> = wanted.collect();
                    options.only = Some(list(&wanted.join(","), &known)?);
                }
                "--servers" => {
                    let known: Vec<&str> = SERVERS.iter().map(|server| server.key).collect();
                    options.servers = Some(list(value()?, &known)?);
                }
                _ => return Err(format!("{option} is no option\n{USAGE}")),
            }
        }
        if options.scale == Scale::Quick && options.docs {
            return Err("the figures of quick runs are not for the docs".into());
        }
        Ok(options)
    }

    /// The cases to measure, in this order.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let wanted = |key: &str| is_in(self.only.as_deref(), key);
        let measures = MEASURES.iter().filter(|measure| wanted(measure.key()));
        measures
            .flat_map(|measure| measure.cases(self.scale))
            .collect()
    }

    /// Whether a server takes part.
    pub(crate) fn has_server(&self, key: &str) -> bool {
        is_in(self.servers.as_deref(), key)
    }
}

fn is_in(list: Option<&[String]>, key: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|entry| entry == key))
}

fn list(text: &str, known: &[&str]) -> Result<Vec<String>, String> {
    let entries = text.split(',').map(|entry| match known.contains(&entry) {
        true => Ok(entry.to_owned()),
        false => Err(format!("{entry} is none of {}", known.join(", "))),
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_measures_and_servers() {
        let options =
            Options::parse(&["--quick", "--only", "rate,costs", "--servers", "updraft"]).unwrap();
        let cases = options.cases();
        assert_eq!(cases.len(), 1 + COSTS.len());
        assert!(options.has_server("updraft") && !options.has_server("ws"));
        assert_eq!(options.rounds, 1);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            &["--only", "nothing"][..],
            &["--servers", "apache"],
            &["--rounds", "0"],
            &["--rounds"],
            &["--fast"],
            &["--quick", "--docs"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
