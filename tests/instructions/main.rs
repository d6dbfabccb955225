//! Counts the instructions of the paths that every grant goes through, and
//! compares them with the bounds in `bounds.toml`. A count does not depend on
//! what else the machine does, so a slower path is seen where a clock sees noise.
//!
//! ```text
//! cargo run --release -p triad-instructions              compares; exit code 1 beyond a bound
//! cargo run --release -p triad-instructions -- accept    writes what was counted as the new bounds
//! ```
//!
//! Each path runs in a process of its own, under valgrind. It is compiled as it
//! is in a release, from the files that a node is made of; those of the node are
//! taken in by themselves, since gRPC, TLS and Raft would take minutes to build.

mod bounds;
mod cases;
#[path = "../../crates/triad-ledger/benches/site/mod.rs"]
mod site;
mod valgrind;

#[allow(dead_code)]
#[path = "../../crates/triad-server/src/mutation.rs"]
mod mutation;
#[allow(dead_code)]
#[path = "../../crates/triad-raft/src/log/record.rs"]
mod record;
#[allow(dead_code)]
#[path = "../../crates/triad-server/src/sessions.rs"]
mod sessions;
#[allow(dead_code)]
#[path = "../../crates/triad-proto/src/net/slots.rs"]
mod slots;

/// The name under which the table of sessions knows the wire.
extern crate self as triad_proto;
/// The one thing that it wants of it.
mod net {
    pub use crate::slots::block_of;
}

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => bounds::compare(),
        ["accept"] => bounds::accept(),
        [valgrind::RUN, case] => {
            cases::run(case);
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("usage: instructions [accept]".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("instructions: {error}");
        ExitCode::from(2)
    })
}
