//! What an administrator installs: packages, units, images, manifests, and the
//! book that says how. The real tools of Debian, docker and systemd are asked;
//! `tests/setup.sh` installs them.
#![cfg(target_os = "linux")]
// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod book;
mod docker;
mod lab;
mod manifests;
mod newcomer;
mod packages;
mod pages;
mod session;
mod tools;
mod units;
