//! What everything else stands on and which knows nothing of it: time, ids, errors, the accounting of memory, and what of a
//! peer's text may stand in a log.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod ids;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod panics;
pub(crate) mod redact;
mod throttled_log;

pub(crate) use throttled_log::ThrottledLog;
