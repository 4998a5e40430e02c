//! What a process has used, according to the kernel.

use std::fs;
use std::io::{Error, Result};

/// The unit of `/proc`; the same wherever Linux runs Rust.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds since a process began, of all its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

/// CPU time of a process; `self` is this one.
pub(crate) fn cpu(process: &str) -> Result<Cpu> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path)?;
    // The name in brackets may hold any character; the fields after it are counted from the third.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let mut seconds =
        || -> Option<f64> { Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND) };
    match (seconds(), seconds()) {
        (Some(user), Some(system)) => Ok(Cpu { user, system }),
        _ => Err(Error::other(format!("{path} is not understood"))),
    }
}

/// KiB of memory that a process uses.
pub(crate) fn memory(process: &str) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error::other(format!("{path} is not understood")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let used = cpu("self").unwrap();
        assert!(used.user >= 0.0 && used.system >= 0.0);
        assert!(memory("self").unwrap() > 100.0);
        assert!(cpu("0").is_err());
    }
}
