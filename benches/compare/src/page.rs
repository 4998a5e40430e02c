//! Writes the results of a run into the docs: each table between its markers in `docs/how-fast.md`.

use std::fs;

use crate::results::Results;
use crate::tables;
use crate::workspace::root;

/// Rewrites the page. Tables that were not measured in this run stay as they are.
pub(crate) fn write(results: &Results) -> Result<(), String> {
    let mut parts = tables::all(results);
    parts.push(("machine", results.machine.describe()));
    write_parts(&parts)
}

/// Rewrites some parts of the page.
pub(crate) fn write_parts(parts: &[(&'static str, String)]) -> Result<(), String> {
    let page = root().join("docs/how-fast.md");
    let error = |error| format!("{}: {error}", page.display());
    let mut text = fs::read_to_string(&page).map_err(error)?;
    for (key, part) in parts {
        text = replace(&text, key, part)?;
    }
    fs::write(&page, text).map_err(error)?;
    println!("written: {}", page.display());
    Ok(())
}

/// Puts a part between `<!-- KEY -->` and `<!-- end of KEY -->`.
pub(crate) fn replace(text: &str, key: &str, part: &str) -> Result<String, String> {
    let (open, close) = (
        format!("<!-- {key} -->\n"),
        format!("<!-- end of {key} -->"),
    );
    let parts = text.split_once(&open).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&close)?;
        Some(format!("{before}{open}{part}{close}{after}"))
    });
    parts.ok_or_else(|| format!("how-fast.md has no place for {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::{COSTS, MEASURES};

    #[test]
    fn a_part_replaces_what_stood_between_its_markers() {
        let text = "a\n<!-- rate -->\nold\n<!-- end of rate -->\nb\n";
        let replaced = replace(text, "rate", "new\n").unwrap();
        assert_eq!(replaced, "a\n<!-- rate -->\nnew\n<!-- end of rate -->\nb\n");
        assert!(replace(text, "sat", "").is_err());
    }

    #[test]
    fn the_page_has_a_place_for_each_measure() {
        let page = fs::read_to_string(root().join("docs/how-fast.md")).unwrap();
        let flat = MEASURES.iter().filter(|measure| !COSTS.contains(measure));
        for key in flat
            .map(|measure| measure.key())
            .chain(["costs", "machine"])
        {
            assert!(replace(&page, key, "").is_ok(), "{key}");
        }
    }
}
