//! The Raft log on disk: entries, vote, commit and purge marks, durable at power loss.
//!
//! The folder holds numbered segments of fixed size, full of zeros until they are written
//! ([`segment`]), records in them, each with a checksum, a number without gaps and the number
//! that was last synced before it ([`record`]), and a `state` file in two copies ([`state`]).
//! Opening proves all of it ([`recovery`]); [`writer`] appends; [`entries`] reads. For openraft,
//! [`store`] keeps a [`view`] with the newest entries in memory, and a [`queue`] to the one
//! thread that writes.
//!
//! **Invariant:** nothing durable is ever overwritten by something else.
//! **Invariant:** at most one unsynced write is in flight, in the last segment.
//! **Invariant:** a failed write or sync is final; nothing is tried again on an open log.

mod entries;
mod error;
mod queue;
mod record;
mod recovery;
mod segment;
mod spare;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use entries::EntryReader;
pub use error::{Damage, LogError};
pub use segment::Owner;
pub use state::Position;
pub use store::LogStore;
pub use writer::{Log, LogOptions, SEGMENT_BYTES_DEFAULT};
