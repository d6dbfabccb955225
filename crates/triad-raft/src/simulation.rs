//! What a node is told when it runs in a simulation: its seed, and who watches.
//!
//! A simulated node has no threads: the log and the image are written by the
//! task that asks, on the disk that it was given, and all chance comes from the
//! seed. See docs/how-to/simulate.md.

use std::sync::Arc;

use triad_ledger::{Answer, At, Command, Event, StateHash};

/// How a node is simulated.
#[derive(Clone)]
pub struct Simulation {
    /// Decides every throw of Raft's dice.
    pub seed: u64,
    /// The size of a segment of the log: small, so that many are begun.
    pub segment_bytes: u32,
    /// Told of everything that this node applies.
    pub observer: Arc<dyn Observer>,
}

/// Watches what one node applies. Called with the ledger held, so it must be
/// quick, and must ask the node nothing.
pub trait Observer: Send + Sync {
    /// The node applied an entry.
    fn applied(&self, entry: &Observed<'_>);
    /// The node's ledger was replaced by a snapshot that ends at this index.
    fn installed(&self, index: u64, hash: StateHash);
}

/// One applied entry.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Its index, term and stamp. Of an entry without commands the stamp is zero.
    pub at: At,
    /// The commands in it.
    pub commands: &'a [Command],
    /// Their answers, in their order.
    pub answers: &'a [Answer],
    /// What happened by it, in order.
    pub events: &'a [Event],
    /// The ledger's hash after it.
    pub hash: StateHash,
}
