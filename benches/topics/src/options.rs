//! The options of `cargo xtask bench topics`.

use std::path::PathBuf;

/// The output of `--help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench topics [OPTION]...

  --quick       short runs, one round: shows that everything works, the figures mean nothing
  --only LIST   memory, file, redis, flush, scripts, reopen; of groups: groups, peers, order, times, idle (all)
  --rounds N    rounds, of which medians are shown (9)
  --folder PATH where files are written (beside the program)
  --docs        writes the tables of docs/how-fast.md
";

/// The options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// What the number of records of a run is divided by.
    pub(crate) shorter: usize,
    pub(crate) docs: bool,
    /// Where files are written, if not beside the program.
    pub(crate) folder: Option<PathBuf>,
    only: Option<Vec<Measure>>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Memory,
    File,
    Redis,
    Flush,
    Scripts,
    Reopen,
    Groups,
    Peers,
    Order,
    Times,
    Idle,
}

impl Measure {
    pub(crate) const ALL: [Self; 11] = [
        Self::Memory,
        Self::File,
        Self::Redis,
        Self::Flush,
        Self::Scripts,
        Self::Reopen,
        Self::Groups,
        Self::Peers,
        Self::Order,
        Self::Times,
        Self::Idle,
    ];

    /// Its name in options; the table's in the docs ends with it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Redis => "redis",
            Self::Flush => "flush",
            Self::Scripts => "scripts",
            Self::Reopen => "reopen",
            Self::Groups => "groups",
            Self::Peers => "peers",
            Self::Order => "order",
            Self::Times => "times",
            Self::Idle => "idle",
        }
    }

    fn find(key: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|measure| measure.key() == key);
        found.ok_or_else(|| format!("there is no measure {key}"))
    }
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 9,
            shorter: 1,
            docs: false,
            folder: None,
            only: None,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{option} needs a value"));
            match *option {
                "--quick" => (options.rounds, options.shorter) = (1, 20),
                "--docs" => options.docs = true,
                "--folder" => options.folder = Some(value()?.into()),
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
        if options.shorter > 1 && options.docs {
            return Err("the figures of quick runs are not for the docs".into());
        }
        Ok(options)
    }

    pub(crate) fn measures(&self) -> impl Iterator<Item = Measure> {
        let is_wanted = |measure: &Measure| {
            let only = self.only.as_ref();
            only.is_none_or(|only| only.contains(measure))
        };
        Measure::ALL.into_iter().filter(is_wanted)
    }

    /// How many records a run has, that has so many in full.
    pub(crate) fn records(&self, full: usize) -> usize {
        (full / self.shorter).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_measures() {
        let options = Options::parse(&["--quick", "--only", "redis,file"]).unwrap();
        let measures: Vec<_> = options.measures().collect();
        assert_eq!(measures, [Measure::File, Measure::Redis]);
        assert_eq!((options.rounds, options.records(100)), (1, 5));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            &["--only", "kafka"][..],
            &["--rounds", "0"],
            &["--rounds"],
            &["--fast"],
            &["--quick", "--docs"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
