//! Files of a stopped node that are flipped, cut, zeroed, exchanged, gone or
//! unreadable: at its next start the node refuses, naming the file and a way
//! out, or it comes up with exactly the ledger of its peers. It never crashes,
//! never hangs, and never serves anything else (P8).
//!
//! `tests/cluster/bad_nodes.rs` has the cases an administrator makes by hand, and
//! the log's own tests alter every byte of a small log; here each kind of damage
//! meets each kind of file of a real node.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod bytes;
mod exchanged;
mod files;
mod forged;
mod trial;
