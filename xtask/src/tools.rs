//! The programs that tests need besides cargo. Missing ones are reported at once, before anything
//! is built, by the names of their Debian packages.

use std::env;

/// Programs, and the Debian packages that contain them.
const TOOLS: [(&str, &str); 7] = [
    ("redis-server", "redis-server"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("chromium", "chromium"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    // For libFuzzer.
    ("c++", "g++"),
];

/// The Debian packages to install; empty if nothing is missing.
pub(crate) fn missing() -> Vec<&'static str> {
    let missing = TOOLS.iter().filter(|(program, _)| !is_installed(program));
    missing.map(|(_, package)| *package).collect()
}

/// Whether a program is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
