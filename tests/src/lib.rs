//! A cluster to be mistreated: three real node processes with real sockets, TLS
//! and disks, the proxies that stand between them and their clients, and the
//! ways of asking what became of them. Linked by the tests of this package and
//! by nothing else.
//!
//! ```text
//! client ── Proxy ── triad serve (a) ┐
//!    └───── Proxy ── triad serve (b) ├ Raft over mutual TLS
//!    └───── Proxy ── triad serve (c) ┘
//! ```
//!
//! Nothing waits for a time to pass: [`Cluster::until`] and [`wait::until`] wait
//! for a state, with a limit, and say what they last saw. What goes wrong here
//! fails the test that asked for it, so the harness panics where it cannot go on.

// The harness exists to fail tests.
#![allow(clippy::unwrap_used)]

pub mod browser;
pub mod clock;
pub mod cluster;
pub mod history;
pub mod holders;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod licenses;
pub mod node;
pub mod office;
pub mod ports;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod sightings;
pub mod site;
pub mod skip;
pub mod wait;
pub mod web;

pub use cluster::{Cluster, Options};
pub use holders::Holders;
#[cfg(target_os = "linux")]
pub use lab::Lab;
pub use node::Node;
pub use office::Office;
pub use proxy::Proxy;
pub use raw::RawSession;
pub use sightings::Sightings;
