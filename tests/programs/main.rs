//! Programs as people run them: the binary, the examples, and the clients of others against them.

mod chat_page;
mod clients;
mod config;
mod emitters;
mod examples;
mod mistakes;
mod orders_page;
mod relay;
mod restart;
mod topic;
mod workers;
