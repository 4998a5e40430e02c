//! What a client has been shown: the merge box, which joins the documents of a session's subscriptions.

mod merge;

pub use merge::{Effect, View};
