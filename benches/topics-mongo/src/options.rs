//! The options of `cargo xtask bench topics-mongo`.

/// The output of `--help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench topics-mongo [OPTION]...

  --records N   records of a run (2000, as FerretDB reads a collection for each call)
  --rounds N    rounds, of which the median rate is shown, and all that was lost (3)
";

/// The options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) records: usize,
    pub(crate) rounds: usize,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            records: 2000,
            rounds: 3,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let place = match option.as_str() {
                "--records" => &mut options.records,
                "--rounds" => &mut options.rounds,
                _ => return Err(format!("{option} is no option\n{USAGE}")),
            };
            let value = rest.next().and_then(|value| value.parse().ok());
            let value = value.filter(|value| *value > 0);
            *place = value.ok_or_else(|| format!("{option} takes a positive number"))?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_numbers() {
        let parse = |text: &str| {
            let arguments: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            Options::parse(&arguments)
        };
        let expected = Options {
            records: 5,
            rounds: 1,
        };
        assert_eq!(parse("--records 5 --rounds 1"), Ok(expected));
        for bad in ["--records", "--rounds 0", "--records x", "--fast"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
