//! Random numbers of the operating system, and those that are made from one of them.

use std::cell::RefCell;

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

thread_local! {
    static DRAWN: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::with_seed(random()));
}

/// The mark of a new record.
pub(crate) fn draw_mark() -> u32 {
    DRAWN.with_borrow_mut(|drawn| drawn.u32(1..))
}

/// The version of a register that is written.
pub(crate) fn draw_version() -> u64 {
    DRAWN.with_borrow_mut(|drawn| drawn.u64(1..))
}

fn time() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
