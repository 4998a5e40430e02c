//! A table of figures, as Markdown.

use std::fmt;

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
        writeln!(f, "| {} |", self.titles.join(" | "))?;
        let numbers = self.titles.len().saturating_sub(1);
        writeln!(f, "| --- |{}", " ---: |".repeat(numbers))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// A figure with at least three significant digits.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number, with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
