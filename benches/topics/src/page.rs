//! Writes the tables of a run into the docs, each between its markers in `docs/how-fast.md`.

use std::fs;

use updraft_load::workspace::root;

use crate::Failure;
use crate::table::Table;

/// Rewrites the page. Tables that were not measured in this run stay as they are.
pub(crate) fn write(tables: &[(&'static str, Table)]) -> Result<(), Failure> {
    let page = root().join("docs/how-fast.md");
    let mut text = fs::read_to_string(&page)?;
    for (key, table) in tables {
        text = replace(&text, key, &table.to_string())
            .ok_or_else(|| format!("how-fast.md has no place for {key}"))?;
    }
    fs::write(&page, text)?;
    println!("written: {}", page.display());
    Ok(())
}

/// Puts a part between `<!-- topics KEY -->` and `<!-- end of topics KEY -->`.
fn replace(text: &str, key: &str, part: &str) -> Option<String> {
    let open = format!("<!-- topics {key} -->\n");
    let close = format!("<!-- end of topics {key} -->");
    let (before, rest) = text.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{open}{part}{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Measure;

    #[test]
    fn the_page_has_a_place_for_each_measure() {
        let page = include_str!("../../../docs/how-fast.md");
        for measure in Measure::ALL {
            let key = measure.key();
            let replaced = replace(page, key, "new\n").expect(key);
            assert!(replaced.contains(&format!("<!-- topics {key} -->\nnew\n<!-- end")));
        }
        assert_eq!(replace(page, "other", ""), None);
    }
}
