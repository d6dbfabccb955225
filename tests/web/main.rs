//! A node by HTTP: what it tells to monitoring, its pages in a browser, and what
//! strangers get.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod bounds;
mod metrics;
mod pages;
mod prometheus;
mod strangers;
