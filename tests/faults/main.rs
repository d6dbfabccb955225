//! Real processes on real networks and disks, and what machines do to them:
//! partitions, loss, power cuts, full disks, wrong clocks. Each scenario has a
//! lab of its own, clients that never stop, and an oracle that stands outside.
//! `docs/how-to/faults.md` says what they need and how to run one.
#![cfg(target_os = "linux")]
// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod book;
mod clocks;
mod crowd;
mod delays;
mod disks;
mod figures;
mod links;
mod lost_data;
mod pairs;
mod partitions;
mod power;
mod processes;
mod rounds;
