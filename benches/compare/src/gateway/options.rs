//! The options of `cargo xtask bench gateway`.

use std::time::Duration;

/// The output of `--help`.
pub(super) const USAGE: &str = "\
Usage: cargo xtask bench gateway [OPTION]...

  --quick       short runs of few clients, one round: shows that everything works, the figures mean nothing
  --only LIST   latency, passing, http, memory, vents (all)
  --rounds N    rounds, of which medians are shown (5)
  --docs        writes the tables of docs/how-fast.md
";

/// The options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) is_quick: bool,
    pub(super) docs: bool,
    only: Option<Vec<Measure>>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Latency,
    Passing,
    Transfers,
    Memory,
    Vents,
}

impl Measure {
    pub(super) const ALL: [Self; 5] = [
        Self::Latency,
        Self::Passing,
        Self::Transfers,
        Self::Memory,
        Self::Vents,
    ];

    /// Its table in the docs, whose name ends with that in the options.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Latency => "gateway latency",
            Self::Passing => "gateway passing",
            Self::Transfers => "gateway http",
            Self::Memory => "gateway memory",
            Self::Vents => "gateway vents",
        }
    }

    fn find(key: &str) -> Result<Self, String> {
        let is_named = |measure: &Self| measure.table().strip_prefix("gateway ") == Some(key);
        let found = Self::ALL.into_iter().find(is_named);
        found.ok_or_else(|| format!("there is no measure {key}\n{USAGE}"))
    }
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 5,
            is_quick: false,
            docs: false,
            only: None,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{option} needs a value"));
            match *option {
                "--quick" => (options.rounds, options.is_quick) = (1, true),
                "--docs" => options.docs = true,
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or("--rounds takes a positive number")?;
                }
                "--only" => {
                    let only = value()?.split(',').map(Measure::find);
                    options.only = Some(only.collect::<Result<_, _>>()?);
                }
                _ => return Err(format!("{option} is no option\n{USAGE}")),
            }
        }
        if options.is_quick && options.docs {
            return Err("the figures of quick runs are not for the docs".into());
        }
        Ok(options)
    }

    pub(super) fn measures(&self) -> impl Iterator<Item = Measure> {
        let is_wanted = |measure: &Measure| {
            let only = self.only.as_ref();
            only.is_none_or(|only| only.contains(measure))
        };
        Measure::ALL.into_iter().filter(is_wanted)
    }

    /// A number, or less of it in a quick run.
    pub(super) fn count(&self, full: usize) -> usize {
        if self.is_quick {
            full.div_ceil(20)
        } else {
            full
        }
    }

    /// A time, or less of it in a quick run.
    pub(super) fn time(&self, seconds: u64) -> Duration {
        let full = Duration::from_secs(seconds);
        if self.is_quick { full / 10 } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_measures() {
        let options = Options::parse(&["--only", "http,latency", "--rounds", "2"]).unwrap();
        let measures: Vec<_> = options.measures().collect();
        assert_eq!(measures, [Measure::Latency, Measure::Transfers]);
        assert_eq!((options.rounds, options.count(40)), (2, 40));
        let options = Options::parse(&["--quick"]).unwrap();
        assert_eq!((options.rounds, options.count(40)), (1, 2));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            &["--only", "grpc"][..],
            &["--rounds", "0"],
            &["--rounds"],
            &["--fast"],
            &["--quick", "--docs"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
