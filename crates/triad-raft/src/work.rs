//! What a node did and since when, for whoever draws it on a line of time.

use std::sync::Arc;

use tokio::time::Instant;

/// Told of work that has just been done, and when it began. It is called where
/// the work is done, so it must not wait for anything.
pub type WorkSink = Arc<dyn Fn(Instant, Work) + Send + Sync>;

/// Something that a node did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Requests that waited were put into one entry, which was committed, applied
    /// and answered.
    Batch {
        /// How many requests.
        requests: usize,
        /// How many commands in them.
        commands: usize,
        /// Term and index of the entry; `None` if it was not committed, as far as
        /// this node knows.
        entry: Option<(u64, u64)>,
    },
    /// The image became a snapshot point: it has everything up to this index.
    Flushed {
        /// The last index in it.
        index: u64,
    },
    /// The whole ledger was encoded for a node that is too far behind.
    Encoded {
        /// The last index in it.
        index: u64,
        /// How long it is.
        bytes: usize,
    },
    /// The ledger was replaced by one that the leader sent.
    Installed {
        /// The last index in it.
        index: u64,
        /// How long it was.
        bytes: usize,
    },
}
