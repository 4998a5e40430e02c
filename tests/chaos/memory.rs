//! How much memory this process has, as the operating system counts it.

use std::fs;

/// Resident bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes
        .and_then(|it| it.parse().ok())
        .expect("VmRSS in kB");
    kilobytes * 1024
}
