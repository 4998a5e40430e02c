//! `cargo xtask layers`: whether the folders of `src/` import in one direction only, as the table
//! in ARCHITECTURE.md says.
//!
//! Each row of the table is a folder, or a file beside the folders, and names the rows that it may
//! import. Those stand below it, so there can be no circle of folders. In no crate may there be a
//! circle of files, and files have a maximum length. Tests may import anything.

mod circles;
mod code;
mod modules;
mod paths;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::root;
use circles::circles;
use modules::{Modules, module_of};
use paths::mentions;
use table::Table;

/// The most lines of a file for one idea.
const LINES: usize = 500;

/// The sources of the server, whose folders are layers.
const SERVER: &str = "src";

/// All sources.
const CRATES: [&str; 4] = [SERVER, "bus/src", "protocol/src", "topics/src"];

/// Prints what breaks the rules, and fails if anything does.
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
        count => Err(format!("{count} against the layers in ARCHITECTURE.md")),
    }
}

/// The faults in the files of a crate.
fn look_into(crate_: &str, table: &Table) -> Result<Vec<String>, String> {
    let source = root().join(crate_);
    let mut faults = Vec::new();
    let mut texts = Vec::new();
    for file in files(&source).map_err(|error| format!("{}: {error}", source.display()))? {
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let path = file.strip_prefix(&source).unwrap_or(&file);
        faults.extend(look_at_length(&Path::new(crate_).join(path), &text));
        if crate_ == SERVER {
            faults.extend(look_at_imports(path, &text, table));
        }
        texts.push((path.to_owned(), text));
    }
    faults.extend(look_for_circles(crate_, &texts));
    Ok(faults)
}

/// Which files of a crate import each other, directly or by a chain. A module and its submodules
/// count as one: an import from a module that encloses the file makes no circle.
fn look_for_circles(crate_: &str, texts: &[(PathBuf, String)]) -> Vec<String> {
    let modules = Modules::of(texts.iter().map(|(path, text)| (&**path, &**text)));
    let circles = circles(&modules.imports()).into_iter().map(|chain| {
        let files = chain.iter().map(|file| file.display().to_string());
        let chain: Vec<String> = files.collect();
        format!("{crate_}: a circle of files: {}", chain.join(" imports "))
    });
    circles.collect()
}

/// The fault of a file that is too long for one idea.
fn look_at_length(path: &Path, text: &str) -> Option<String> {
    let lines = code::without_tests(text).lines().count();
    let path = path.display();
    (lines > LINES)
        .then(|| format!("{path}: {lines} lines without tests; one idea has room in {LINES}"))
}

/// Which imports of a file, whose path is below `src`, break the table.
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
    let at = module_of(path);
    for mention in mentions(text) {
        let Some(name) = layer_of(&at, &mention.segments) else {
            continue;
        };
        if name != place && !table.allows(&place, name) {
            let line = mention.line;
            faults.push(format!("{shown}:{line}: `{place}` may not import `{name}`"));
        }
    }
    faults
}

/// The layer to which a path in this module leads, by `crate::` or by climbing out of its folder.
fn layer_of<'a>(module: &[String], path: &'a [String]) -> Option<&'a str> {
    if path.first()? == "crate" {
        return path.get(1).map(String::as_str);
    }
    let climbed = path.iter().take_while(|segment| *segment == "super");
    let climbed = climbed.count();
    let is_root = climbed > 0 && climbed == module.len();
    is_root.then(|| path.get(climbed).map(String::as_str))?
}

/// The files of a folder and its subfolders, except those that contain only tests.
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

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter();
        let files: Vec<_> = files
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect();
        look_for_circles("src", &files)
    }

    #[test]
    fn found_407_files_that_import_each_other_are_named() {
        let front = "use super::sites::Sites;\nfn f() { super::http::answer() }\n";
        let files = [
            ("server/mod.rs", "mod http;\nmod front;\nmod sites;\n"),
            ("server/http.rs", "use super::front::Front;\n"),
            ("server/front.rs", front),
            ("server/sites.rs", "// crate::server::http\n"),
        ];
        assert_eq!(
            circles_of(&files),
            [
                "src: a circle of files: server/front.rs imports server/http.rs imports server/front.rs"
            ]
        );
    }

    #[test]
    fn found_407_a_circle_is_seen_through_what_hands_names_on_and_renames_them() {
        let files = [
            ("lib.rs", "mod bus;\nmod shard;\npub use shard::Link;\n"),
            ("shard/mod.rs", "mod link;\npub(crate) use link::Link;\n"),
            (
                "shard/link.rs",
                "use crate::bus::{\n    self as carrier,\n};\nfn f(_: carrier::Port) {}\n",
            ),
            ("bus/mod.rs", "mod port;\npub(crate) use port::Port;\n"),
            ("bus/port.rs", "fn f(_: crate::Link) {}\n"),
        ];
        assert_eq!(
            circles_of(&files),
            ["src: a circle of files: bus/port.rs imports shard/link.rs imports bus/port.rs"]
        );
    }

    #[test]
    fn a_module_and_its_submodules_are_one_thing_but_its_submodules_are_many() {
        let submodule = "use super::Session;\nuse crate::session::Output;\nimpl Session {}\n";
        let mut files = vec![
            (
                "session.rs",
                "mod calls;\nmod user;\nuse calls::Work;\nuse user::User;\n",
            ),
            ("session/calls.rs", submodule),
            (
                "session/user.rs",
                "use super::{Session, calls};\nuse std::fmt;\n",
            ),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
        files[1].1 = "use super::user::User;\n";
        assert_eq!(
            circles_of(&files),
            [
                "src: a circle of files: session/calls.rs imports session/user.rs imports session/calls.rs"
            ]
        );
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
