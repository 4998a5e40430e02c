//! Tables of figures, as Markdown.

/// The head of a table whose first column is text and whose others are figures.
pub fn heading(titles: &[&str]) -> String {
    let figures = titles.len().saturating_sub(1);
    let titles = titles.join(" | ");
    format!("| {titles} |\n| --- |{}\n", " ---: |".repeat(figures))
}

/// A row of a table.
pub fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A figure with at least three significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number, with a comma between thousands.
pub fn grouped(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_more() {
        let texts = [0.347, 8.16, 18.32, 147.27, 2_810_220.4].map(figure);
        assert_eq!(texts, ["0.35", "8.16", "18.3", "147", "2,810,220"]);
    }

    #[test]
    fn the_first_column_is_text() {
        let table = heading(&["who", "records/s"]) + &row(&["a group".into(), "1,000".into()]);
        assert_eq!(
            table,
            "| who | records/s |\n| --- | ---: |\n| a group | 1,000 |\n"
        );
    }
}
