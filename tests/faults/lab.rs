//! `triad-lab`: the scenarios of `tests/faults` by hand, and the long run, with
//! figures. `triad drill --lab` starts it. See docs/how-to/faults.md.
//!
//! ```text
//! triad-lab                                     every scenario
//! triad-lab power_cut_of_all slow_syncs         some
//! triad-lab --kills 500 --cuts 500              the long run
//! triad-lab --json FILE ...                     figures for programs as well
//! ```

// The lab exists to fail.
#![allow(clippy::unwrap_used)]

macro_rules! on_linux {
    ($(mod $name:ident;)*) => { $(#[cfg(target_os = "linux")] mod $name;)* };
}

on_linux! {
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
}
// As tests the scenarios are those of `main.rs`, and no functions to be called.
#[cfg(all(target_os = "linux", not(test)))]
mod command;
#[cfg(all(target_os = "linux", not(test)))]
mod scenarios;

#[cfg(all(target_os = "linux", not(test)))]
fn main() -> std::process::ExitCode {
    command::run()
}

#[cfg(all(not(target_os = "linux"), not(test)))]
fn main() -> std::process::ExitCode {
    eprintln!("the laboratory needs Linux");
    std::process::ExitCode::from(2)
}
