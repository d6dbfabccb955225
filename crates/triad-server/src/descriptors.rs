//! File descriptors: as many as the system allows, and some kept for the disk.
//!
//! A node that cannot open the next file of its log has to stop. So connections,
//! which anybody can open, never get the last descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a node needs besides its clients' connections: the image's store has
/// about 80 files, the log a few, the peers' port up to 128 connections.
const KEPT_FOR_OTHERS: u64 = 320;
/// Below this the connections get what is left by halves: a node on so small a
/// limit is a test or a mistake.
const CONNECTIONS_MIN: u64 = 64;

/// Asks the system for as many as it gives. Most give 1,024 at first, and far
/// more to whoever asks.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// How many connections of clients there may be.
pub(crate) fn for_connections() -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let left = left_of(files);
    tracing::info!(files, connections = left, "open files");
    usize::try_from(left).unwrap_or(usize::MAX)
}

fn left_of(files: u64) -> u64 {
    files.saturating_sub(KEPT_FOR_OTHERS).max(CONNECTIONS_MIN.min(files / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_keeps_its_share_of_every_limit() {
        for (files, connections) in [(1_048_576, 1_048_256), (1_024, 704), (340, 64), (100, 25)] {
            assert_eq!(left_of(files), connections, "{files}");
        }
    }
}
