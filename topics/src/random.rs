//! Random numbers of the operating system.

/// A number that is not 0.
///
/// The time takes the place of the operating system's random source where that cannot be read: the
/// numbers only have to differ, nothing is secret.
pub(crate) fn random() -> u64 {
    loop {
        let number = getrandom::u64().unwrap_or_else(|_| time());
        if number != 0 {
            return number;
        }
    }
}

fn time() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
