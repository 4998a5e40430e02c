//! What must be built for a part of the workspace: for the bus alone, for topics alone, or for the
//! library without the binary.

use crate::workspace::cargo;

/// Dependencies of the server only.
const SERVER_PACKAGES: [&str; 5] = ["updraft", "warp", "hyper", "hyper-util", "tungstenite"];

/// Dependencies of the binary, or of a feature that is off by default.
const BINARY_PACKAGES: [&str; 8] = [
    "anyhow",
    "clap",
    "mimalloc",
    "tracing-subscriber",
    "mongodb",
    "bcrypt",
    "serde-saphyr",
    "toml",
];

/// Fails if the bus depends on any part of the server, directly or not.
pub(crate) fn bus() -> Result<(), String> {
    let tree = tree(&["-p", "updraft-bus", "--all-features"])?;
    // Tokio's own `mio` is beneath every socket; a second event loop is the server's.
    let is_second_loop = |name: &str, by: Option<&str>| name == "mio" && by != Some("tokio");
    let found = unwanted(&tree, |name, by| {
        is_second_loop(name, by) || SERVER_PACKAGES.contains(&name)
    });
    refuse(
        &found,
        "a program that only emits must build without the server",
    )
}

/// Fails if topics depend on any part of the server or, without features, on Redis or MongoDB.
pub(crate) fn topics() -> Result<(), String> {
    let tree = tree(&["-p", "updraft-topics", "--no-default-features"])?;
    let found = unwanted(&tree, |name, _| {
        ["redis", "mongodb"].contains(&name) || SERVER_PACKAGES.contains(&name)
    });
    refuse(
        &found,
        "a program with topics must build without the server",
    )
}

/// Fails if the library with default features depends on what only the binary needs.
pub(crate) fn library() -> Result<(), String> {
    let tree = tree(&["-p", "updraft"])?;
    let found = unwanted(&tree, |name, _| BINARY_PACKAGES.contains(&name));
    refuse(
        &found,
        "the library must build without what the binary needs",
    )
}

/// The dependencies of a package, one per line, which begins with its depth.
fn tree(of_what: &[&str]) -> Result<String, String> {
    let mut command = cargo(&["tree"]);
    command.args(of_what);
    command.args(["-e", "normal", "--prefix", "depth", "--format", " {p}"]);
    let output = command
        .output()
        .map_err(|error| format!("cargo tree does not start: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn refuse(found: &[String], why: &str) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("{why}, but there is:\n  {}", found.join("\n  ")))
}

/// Each unwanted package with the package that depends on it.
fn unwanted(tree: &str, is_unwanted: impl Fn(&str, Option<&str>) -> bool) -> Vec<String> {
    let mut way: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(depth) = depth.parse() else { continue };
        way.truncate(depth);
        let is_unwanted = is_unwanted(name, way.last().copied());
        way.push(name);
        if is_unwanted {
            found.push(way.join(" > "));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_what_is_unwanted_is_shown() {
        let tree = "\
0 updraft-bus v0.1.0 (/a)
1 redis v1
2 tokio v1
3 mio v1
2 hyper v1
3 mio v1 (*)
1 tokio v1 (*)
";
        let found = unwanted(tree, |name, by| {
            name == "hyper" || (name == "mio" && by != Some("tokio"))
        });
        let expected = [
            "updraft-bus > redis > hyper",
            "updraft-bus > redis > hyper > mio",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn found_311_the_library_builds_without_what_the_binary_needs() {
        library().unwrap();
        bus().unwrap();
        topics().unwrap();
        let tree = tree(&["-p", "updraft", "--features", "cli"]).unwrap();
        let found = unwanted(&tree, |name, _| name == "clap");
        assert_eq!(found, ["updraft > clap"], "the test would see it");
    }
}
