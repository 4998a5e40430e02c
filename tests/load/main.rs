//! Many clients, much data and slow readers: who is harmed by it, and who must not be.

#[path = "../common/mod.rs"]
mod common;
mod honest;
mod pressure;
mod storms;
