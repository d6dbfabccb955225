//! Writes docs/evidence.md: every promise with the tests that guard it, what the
//! last long runs counted, the bugs that are put in and found, what was found
//! and mended, and what nothing covers.
//!
//! ```text
//! cargo run -p triad-tests --bin evidence
//! ```
//!
//! A test finds a page that is out of date.

// A tool for those who work on Triad: it stops at the first surprise.
#![allow(clippy::unwrap_used)]

mod figures;
mod page;
mod scan;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn main() -> ExitCode {
    let file = root().join("docs/evidence.md");
    let text = page::page(&root());
    let is_check = std::env::args().nth(1).is_some_and(|argument| argument == "--check");
    if !is_check {
        fs::write(&file, text).unwrap();
        println!("{} is written", file.display());
        return ExitCode::SUCCESS;
    }
    if fs::read_to_string(&file).is_ok_and(|found| found == text) {
        return ExitCode::SUCCESS;
    }
    println!("docs/evidence.md is out of date: cargo run -p triad-tests --bin evidence");
    ExitCode::FAILURE
}
