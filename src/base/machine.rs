//! How much memory this process may use: that of the machine or, if less, the limit of its control
//! group, such as a container or a unit.

use std::fs;

/// How much may wait in the process if the memory is not known, in bytes.
const DEFAULT_SHARE: usize = 1024 * 1024 * 1024;

/// Bytes of memory for this process. `None` if the operating system does not tell it as Linux does.
pub(crate) fn memory() -> Option<u64> {
    memory_by(|path| fs::read_to_string(path).ok())
}

/// How much of the memory may wait for clients and handlers: a quarter. Not all memory is counted:
/// idle connections, the allocator and the program itself need some too, and other programs run on
/// the machine.
pub(crate) fn share(memory: Option<u64>) -> usize {
    memory.map_or(DEFAULT_SHARE, |bytes| {
        usize::try_from(bytes / 4).unwrap_or(usize::MAX)
    })
}

fn memory_by(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = machine_memory(&read("/proc/meminfo")?)?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limits_of_group);
    let limits = limits.filter_map(|file| read(&file)?.trim().parse().ok());
    limits.chain([machine]).min()
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The files that may limit the memory of a control group: its own, and those of all groups that
/// contain it. In a container the path of the group may be the path outside, and then only the root
/// exists. Content that is not a number is not a limit.
fn limits_of_group(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
    let (mount, files): (_, &[&str]) = match controllers {
        Some("") => ("/sys/fs/cgroup", &["memory.max", "memory.high"]),
        Some(controllers) if controllers.split(',').any(|it| it == "memory") => {
            ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
        }
        _ => return Vec::new(),
    };
    let mut group = path.unwrap_or_default().trim_end_matches('/');
    let mut found = Vec::new();
    loop {
        found.extend(files.iter().map(|file| format!("{mount}{group}/{file}")));
        match group.rsplit_once('/') {
            Some((parent, _)) => group = parent,
            None => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24684084 kB\nMemFree:         3005024 kB\n";
    const MACHINE: u64 = 24_684_084 * 1024;

    fn memory_with(files: &[(&str, &str)]) -> Option<u64> {
        memory_by(|path| {
            let found = files.iter().find(|(name, _)| *name == path)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn found_205_memory_is_the_machines_or_the_least_of_the_groups() {
        let machine = ("/proc/meminfo", MEMINFO);
        assert_eq!(memory_with(&[]), None);
        assert_eq!(memory_with(&[machine]), Some(MACHINE));
        let second = ("/proc/self/cgroup", "0::/system.slice/updraft.service\n");
        let own = "/sys/fs/cgroup/system.slice/updraft.service/memory.max";
        let above = "/sys/fs/cgroup/system.slice/memory.high";
        for (files, bytes) in [
            (vec![machine, second], MACHINE),
            (vec![machine, second, (own, "max\n")], MACHINE),
            (vec![machine, second, (own, "536870912\n")], 536_870_912),
            (
                vec![machine, second, (own, "536870912\n"), (above, "1000000\n")],
                1_000_000,
            ),
        ] {
            assert_eq!(memory_with(&files), Some(bytes), "{files:?}");
        }
        let first = (
            "/proc/self/cgroup",
            "3:cpu,cpuacct:/\n4:memory:/docker/af\n0::/\n",
        );
        let own = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        let limited = memory_with(&[machine, first, (own, "268435456\n")]);
        assert_eq!(limited, Some(268_435_456));
        let unlimited = memory_with(&[machine, first, (own, "9223372036854771712\n")]);
        assert_eq!(unlimited, Some(MACHINE));
        for odd in ["", "::", "0", "0::", "x:memory"] {
            let files = [machine, ("/proc/self/cgroup", odd)];
            assert_eq!(memory_with(&files), Some(MACHINE), "{odd}");
        }
    }

    #[test]
    fn found_205_a_quarter_may_wait() {
        assert_eq!(share(Some(4096)), 1024);
        assert_eq!(share(None), 1024 * 1024 * 1024);
        if cfg!(target_os = "linux") {
            assert!(memory().is_some_and(|bytes| bytes > 1024 * 1024));
        }
    }
}
