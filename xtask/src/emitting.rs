//! What a program has to build that only emits: the bus and what that needs, and nothing of the
//! server.

use crate::workspace::cargo;

/// What belongs to the server.
const OF_THE_SERVER: [&str; 5] = ["updraft", "warp", "hyper", "hyper-util", "tungstenite"];

/// Fails if the bus depends on anything of the server, by whatever way.
pub(crate) fn check() -> Result<(), String> {
    let tree = ["tree", "-p", "updraft-bus", "--all-features"];
    let mut command = cargo(&tree);
    command.args(["-e", "normal", "--prefix", "depth", "--format", " {p}"]);
    let output = command
        .output()
        .map_err(|error| format!("cargo tree does not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let unwanted = unwanted(&String::from_utf8_lossy(&output.stdout));
    if unwanted.is_empty() {
        return Ok(());
    }
    Err(format!(
        "a program that only emits must build without the server, but there is:\n  {}",
        unwanted.join("\n  ")
    ))
}

/// Each way to something of the server, in a tree whose lines begin with their depth.
fn unwanted(tree: &str) -> Vec<String> {
    let mut way: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(depth) = depth.parse() else { continue };
        way.truncate(depth);
        // Tokio's own is beneath every socket; a second event loop is the server's.
        let is_second_loop = name == "mio" && way.last() != Some(&"tokio");
        way.push(name);
        if is_second_loop || OF_THE_SERVER.contains(&name) {
            found.push(way.join(" > "));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_what_is_of_the_server_is_shown() {
        let tree = "\
0 updraft-bus v0.1.0 (/a)
1 redis v1
2 tokio v1
3 mio v1
2 hyper v1
3 mio v1 (*)
1 tokio v1 (*)
";
        let expected = [
            "updraft-bus > redis > hyper",
            "updraft-bus > redis > hyper > mio",
        ];
        assert_eq!(unwanted(tree), expected);
        assert!(unwanted("0 updraft-bus v0.1.0\n1 tokio v1\n2 mio v1\n").is_empty());
    }
}
