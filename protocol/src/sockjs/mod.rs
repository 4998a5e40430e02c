//! SockJS: how it frames messages, and what each of its URLs answers, as decisions that need no
//! socket.
//!
//! A frame to the client is `o` (open), `h` (heartbeat), `a["…"]` (messages) or `c[code,"reason"]`
//! (close). Over WebSocket a frame is a message; an HTTP response has the [`Wrapping`] of its
//! transport around it. A client sends arrays of strings.
//!
//! sockjs-node also escapes both halves of a surrogate pair. Here a pair is sent as UTF-8, which
//! every client decodes to the same string; half a pair is no text in Rust (deviation 032).

mod form;
mod frame;
mod incoming;
mod page;
mod pulse;
mod route;
mod words;
mod wrapping;

pub use form::{BadCallback, Callback};
pub use frame::{HEARTBEAT, OPEN, close, write_messages};
pub use incoming::{BadBody, Broken, messages_of_body, messages_of_form, messages_of_frame};
pub use page::iframe;
pub use pulse::{Beat, Pulse};
pub use route::{Endpoint, Receiving, Route, Sending, route};
pub use wrapping::Wrapping;

// How the server escapes a text once for many; subject to no promise.
#[doc(hidden)]
pub use frame::Escaper;
