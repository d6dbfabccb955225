//! A hostile network: one who attacks both ports of every node in every way he
//! finds, while honest clients check out and in all the time.
//!
//! For each attack: honest clients are answered while it goes on, one who comes
//! new is served, the nodes' memory is bounded, and afterwards everything that
//! the attacker held is released. `docs/reference/limits.md` has the limits.
#![cfg(target_os = "linux")]
// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod arena;
mod attacker;
mod connections;
mod frames;
mod honest;
mod messages;
mod peers;
mod process;
mod sessions;
