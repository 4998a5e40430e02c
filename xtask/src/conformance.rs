//! Replays this project's transcripts against a running server, whatever it is written in. The
//! server has to offer the publications and methods that the transcripts assume.

use updraft_test_support::replay::replay;
use updraft_test_support::transcript;

/// Whether the server at `url` agrees with all transcripts, or with the cases of one name.
pub(crate) fn run(url: &str, case_name: Option<&str>) -> bool {
    let url = address(url);
    let files = match transcript::read_all() {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    let (mut agreed, mut differed, mut skipped) = (0, 0, 0);
    for (file, cases) in &files {
        for case in cases {
            let name = format!("{file}::{}", case.name);
            if case_name.is_some_and(|wanted| wanted != case.name && wanted != name) {
                continue;
            }
            if case.needs_virtual_time() {
                println!("{name}: skipped, it lasts too long");
                skipped += 1;
                continue;
            }
            match replay(&url, case) {
                Ok(()) => {
                    println!("{name}: ok");
                    agreed += 1;
                }
                Err(difference) => {
                    println!("{file}::{difference}");
                    differed += 1;
                }
            }
        }
    }
    println!("{agreed} cases agree, {differed} differ, {skipped} skipped");
    differed == 0 && agreed > 0
}

/// The address of the WebSocket; `url` may be only host and port.
fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
    let scheme = if scheme == "http" { "ws" } else { scheme };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if path.is_empty() { "websocket" } else { path };
    format!("{scheme}://{host}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_can_be_short() {
        for given in ["h:1", "http://h:1", "ws://h:1/", "ws://h:1/websocket"] {
            assert_eq!(address(given), "ws://h:1/websocket");
        }
        assert_eq!(address("ws://h/a/websocket"), "ws://h/a/websocket");
    }
}
