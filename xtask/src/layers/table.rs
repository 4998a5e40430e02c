//! The table of layers: which layer may import which.

use std::path::Path;

/// The heading of its first column.
const HEADING: &str = "| layer | may import |";

/// Rows from top to bottom.
#[derive(Debug)]
pub(super) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    name: String,
    may_import: Vec<String>,
}

impl Table {
    /// Finds the table in a page.
    ///
    /// # Errors
    ///
    /// There is no table, or a row names one that does not stand below it.
    pub(super) fn parse(page: &str) -> Result<Self, String> {
        let mut lines = page.lines().skip_while(|line| !line.starts_with(HEADING));
        if lines.next().is_none() {
            return Err(format!(
                "ARCHITECTURE.md has no table that begins with {HEADING}"
            ));
        }
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        let rows: Vec<Row> = rows.filter_map(Row::parse).collect();
        for (number, row) in rows.iter().enumerate() {
            let below = rows.get(number + 1..).unwrap_or_default();
            let stray = row
                .may_import
                .iter()
                .find(|name| below.iter().all(|it| it.name != **name));
            if let Some(stray) = stray {
                return Err(format!(
                    "`{}` may import `{stray}`, which is no row below it",
                    row.name
                ));
            }
        }
        Ok(Self(rows))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|row| row.name == name)
    }

    pub(super) fn allows(&self, name: &str, imported: &str) -> bool {
        let row = self.0.iter().find(|row| row.name == name);
        row.is_some_and(|row| row.may_import.iter().any(|it| it == imported))
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.trim_matches('|').split('|');
        let name = names(cells.next()?).next()?;
        let may_import = names(cells.next()?).collect();
        Some(Self { name, may_import })
    }
}

/// The names in backticks.
fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The layer of a file: its folder, or its own name if it is beside the folders.
pub(super) fn layer_name(path: &Path) -> String {
    let first = path.components().next();
    let first = first.map(|first| first.as_os_str().to_string_lossy().into_owned());
    first.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_only_name_those_below_it() {
        let page =
            |rows: &str| format!("text\n{HEADING} why |\n| --- | --- | --- |\n{rows}\nmore\n");
        let table = Table::parse(&page(
            "| `a` | `b`, `c` | x |\n| `b` | `c` | |\n| `c` | nothing | |",
        ));
        let table = table.unwrap();
        assert!(table.allows("a", "c") && !table.allows("c", "a") && !table.allows("b", "a"));
        let circle = Table::parse(&page("| `a` | `b` | |\n| `b` | `a` | |"));
        assert_eq!(
            circle.unwrap_err(),
            "`b` may import `a`, which is no row below it"
        );
        assert!(Table::parse("nothing").is_err());
    }
}
