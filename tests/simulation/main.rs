//! The deterministic simulation: three nodes and their clients in one thread,
//! with faults and an oracle, all from one seed. One run is one process.
//!
//! ```text
//! simulate --seed 7                 one seed, in a process of its own
//! simulate --seeds 1000 --from 1    many, two at a time
//! simulate --seeds 60 --bug NAME    until the bug that was put in is found
//! simulate --seeds 9 --json FILE    and what all of them came to, for programs
//! ```
//!
//! See docs/how-to/simulate.md.

// The simulation exists to fail.
#![allow(clippy::unwrap_used)]

mod application;
mod auditor;
mod chaos;
mod cluster;
mod desk;
mod drills;
mod figures;
mod oracle;
mod run;
mod seeded_bugs;
mod settings;
mod sweep;
mod world;

use std::process::ExitCode;

use settings::Settings;

/// As the nodes of the product have it; glibc's takes a good part of a run.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) if settings.here => run::run(&settings),
        Ok(settings) => sweep::sweep(&settings),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
