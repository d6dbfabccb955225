//! Whole clusters: real processes, sockets, TLS and disks, and what a site does
//! to them. Each test names the promise (P1 to P16) that it holds the product to.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod bad_licenses;
mod bad_nodes;
mod bad_requests;
mod catch_up;
mod command_line;
mod contention;
mod death;
mod demo;
mod denials;
mod failover;
mod history;
mod members;
mod operating;
mod order;
mod outage;
mod pair;
mod partition;
mod python;
mod queue;
mod retry;
mod services;
mod session_bounds;
mod shells;
mod taking_back;
mod ten_thousand;
mod tokens;
mod traces;
mod upgrade;
mod verdicts;
