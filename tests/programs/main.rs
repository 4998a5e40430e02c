//! Programs as people run them: the binary, the examples, and the clients of others against them.

mod chat_page;
mod clients;
mod emitters;
mod examples;
mod mistakes;
mod orders_page;
mod relay;
mod topic;
mod workers;
