//! A table of figures, as Markdown.

use std::fmt;

use updraft_load::markdown;
pub(crate) use updraft_load::markdown::figure;

use crate::rounds::Outcome;

/// Rows of one kind of figure.
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        Self {
            titles: titles.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A table of comparisons.
    pub(crate) fn of_ratios() -> Self {
        Self::new(&[
            "what", "ratio", "goal", "best", "rounds", "topics", "bare", "µs CPU",
        ])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A row of [`of_ratios`](Self::of_ratios), which is shown at once.
    pub(crate) fn compared(&mut self, what: &str, goal: &str, outcome: &Outcome) {
        let (least, greatest) = (figure(outcome.least), figure(outcome.greatest));
        let rounds = format!("{least}–{greatest}");
        let cells = [
            what.to_owned(),
            figure(outcome.ratio),
            goal.to_owned(),
            figure(outcome.best),
            rounds,
            figure(outcome.topics.value),
            figure(outcome.bare.value),
            format!(
                "{}, {}",
                figure(outcome.topics.cpu),
                figure(outcome.bare.cpu)
            ),
        ];
        let busy = ", on a busy machine";
        let busy = if outcome.is_busy { busy } else { "" };
        eprintln!("{}{busy}", cells.join(" | "));
        self.row(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&markdown::heading(&self.titles))?;
        let mut rows = self.rows.iter();
        rows.try_for_each(|row| f.write_str(&markdown::row(row)))
    }
}
