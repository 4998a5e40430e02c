//! `cargo xtask layers`: whether the folders of `src/` import in one direction only, as the table in ARCHITECTURE.md says.
//!
//! Each row of the table is a folder, or a file that stands beside the folders, and names those that it may import; they
//! stand below it, so there can be no circle. Tests may import what they like. Files have a longest, in every crate.

mod code;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::root;
use code::Reference;
use table::Table;

/// A file of one idea may be so long.
const LINES: usize = 500;

/// The sources of the server, whose folders are layers.
const SERVER: &str = "src";

/// All sources.
const CRATES: [&str; 3] = [SERVER, "bus/src", "protocol/src"];

/// Says what is against the rules; whether nothing is.
pub(crate) fn run() -> Result<(), String> {
    let page = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    let table = Table::parse(&text)?;
    let mut faults = Vec::new();
    for source in CRATES {
        faults.extend(look_into(source, &table)?);
    }
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        count => Err(format!(
            "{count} against the table of layers in ARCHITECTURE.md"
        )),
    }
}

/// What is wrong with the files of a crate.
fn look_into(crate_: &str, table: &Table) -> Result<Vec<String>, String> {
    let source = root().join(crate_);
    let mut faults = Vec::new();
    for file in files(&source).map_err(|error| format!("{}: {error}", source.display()))? {
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let path = file.strip_prefix(&source).unwrap_or(&file);
        faults.extend(look_at_length(&Path::new(crate_).join(path), &text));
        if crate_ == SERVER {
            faults.extend(look_at_imports(path, &text, table));
        }
    }
    Ok(faults)
}

/// Whether a file has room for more than one idea.
fn look_at_length(path: &Path, text: &str) -> Option<String> {
    let lines = code::without_tests(text).lines().count();
    let path = path.display();
    (lines > LINES)
        .then(|| format!("{path}: {lines} lines without tests; one idea has room in {LINES}"))
}

/// Which imports of a file, whose path is below `src`, are against the table.
fn look_at_imports(path: &Path, text: &str, table: &Table) -> Vec<String> {
    let place = table::place_of(path);
    let shown = Path::new("src").join(path);
    let shown = shown.display();
    let mut faults = Vec::new();
    if place == "lib.rs" {
        // It re-exports everything.
        return faults;
    }
    if !table.has(&place) {
        faults.push(format!("{shown}: the table has no row `{place}`"));
        return faults;
    }
    let depth = path.components().count();
    for Reference { line, name } in code::references(text, depth, is_named_by_folder(path)) {
        if name != place && !table.allows(&place, &name) {
            faults.push(format!("{shown}:{line}: `{place}` may not import `{name}`"));
        }
    }
    faults
}

/// Whether a file is the module of its folder.
fn is_named_by_folder(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "mod")
}

/// The files of a folder and of those in it, but for those that are tests only.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if stem == "tests" || stem.starts_with("tests_") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "
# A house

| layer | may import |
| --- | --- |
| `server` | `shard`, `base` |
| `shard` | `base` |
| `base` | nothing |
";

    fn faults(path: &str, text: &str) -> Vec<String> {
        look_at_imports(Path::new(path), text, &Table::parse(PAGE).unwrap())
    }

    #[test]
    fn an_import_that_the_table_does_not_allow_is_named_with_its_line() {
        let text =
            "use crate::base::clock;\nuse crate::{\n    server::BoundServer,\n    base,\n};\n";
        assert_eq!(
            faults("shard/client.rs", text),
            ["src/shard/client.rs:3: `shard` may not import `server`"]
        );
        assert_eq!(faults("server/mod.rs", text), [""; 0]);
        assert_eq!(
            faults("base/ids.rs", "fn f() { super::super::shard::g() }"),
            ["src/base/ids.rs:1: `base` may not import `shard`"]
        );
        assert_eq!(
            faults("shard/mod.rs", "use super::server::BoundServer;"),
            ["src/shard/mod.rs:1: `shard` may not import `server`"]
        );
    }

    #[test]
    fn what_is_no_code_or_only_tests_imports_nothing() {
        let text = "//! [`server`](crate::server)\nconst A: &str = \"crate::server\"; /* crate::server */\n\
                    const B: char = '\"';\n#[cfg(test)]\nmod tests {\n    use crate::server;\n}\n";
        assert_eq!(faults("shard/client.rs", text), [""; 0]);
    }

    #[test]
    fn a_folder_without_a_row_and_a_long_file_are_faults() {
        assert_eq!(
            faults("misc/a.rs", ""),
            ["src/misc/a.rs: the table has no row `misc`"]
        );
        let (path, long) = (Path::new("a.rs"), "\n".repeat(LINES + 1));
        assert!(look_at_length(path, &long).is_some());
        let tests = format!("#[cfg(test)]\nmod tests {{{long}}}\n");
        assert_eq!(look_at_length(path, &tests), None);
    }
}
