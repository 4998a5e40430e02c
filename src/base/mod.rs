//! What all other folders use, and which uses none of them: time, ids, errors, the accounting of
//! memory, and the redaction of logged text.

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
