//! Three ledgers that agree.
//!
//! This crate is one node's part in a Raft cluster whose state machine is
//! [`triad_ledger::Ledger`]. Commands go in through [`Consensus::propose`], are
//! written to the log of a majority in batches, applied by every node in the
//! same order, and answered. [`Consensus::read`] asks the local ledger.
//!
//! **Memory is the ledger, the log is the truth, the image is a shortcut.**
//! Answers come from the ledger in memory. The log ([`log`]) is synced before
//! anything is acknowledged. The image, in sled, follows behind, so that a
//! restart replays only the log's tail.
//!
//! **Invariant:** no type of openraft or sled leaves this crate, and nothing
//! outside it knows that they exist.

mod alone;
mod answers;
mod clock;
mod comparison;
mod confirmed;
mod consensus;
mod death;
pub mod disk;
mod filling;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handover;
mod health;
mod heard;
mod histogram;
mod history;
mod image;
mod leadership;
pub mod log;
mod machine;
mod membership;
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
mod mutation;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub mod mutation;
mod network;
mod peers;
mod proposer;
mod rules;
mod runtime;
mod saved;
mod simulation;
mod snapshot;
mod stopped;
mod types;
mod work;

/// A log filter: of what lies below, errors only. A peer that is away is told by
/// this crate once, and by what lies below with every attempt to reach it. sled complains at each
/// opening that there is no program `sync`, which it need not run.
pub const LOG_QUIET: &str = "openraft=error,sled=error";

pub use clock::{SystemClock, WallClock};
pub use consensus::{
    ClusterView, Committed, Consensus, MemberView, Options, Origin, ProposeError, QUORUM_LEASE_MAX,
    SNAPSHOT_ENTRIES_DEFAULT, StartError, Timing,
};
pub use histogram::{Counted, Histogram};
pub use history::{Audited, History, HistoryBounds, Kept, Retention};
pub use image::ImageError;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub use image::{forge_event, forge_ledger};
pub use leadership::Leadership;
pub use machine::EventSink;
pub use membership::{ChangeError, JoinProgress, MembersChange};
pub use saved::{RestoreError, Saved, check_empty, lay_down, look_into};
pub use simulation::{Observed, Observer, Simulation};
pub use stopped::{Logged, read_log};
pub use types::Member;
pub use work::{Work, WorkSink};
