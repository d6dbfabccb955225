//! The table of features by faults: what every feature of the ledger goes
//! through with its real clients while leaders die, hosts restart, networks part
//! and leadership moves. One test is one column; `docs/feature-table.md` shows
//! the table and says what each row proves.
//!
//! ```text
//! cargo test -p triad-tests --test features -- --nocapture
//! ```

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod columns;
mod people;
mod rows;
mod scene;
mod site;
mod table;

use columns::Fault;

/// P2, P5: the leader is killed, another serves, and the dead one comes back,
/// is given a snapshot, and leads.
#[tokio::test]
async fn leader_killed() {
    columns::run(Fault::LeaderKilled).await;
}

/// P2, P5: all three nodes are killed at once and started again.
#[tokio::test]
async fn all_restarted() {
    columns::run(Fault::AllRestarted).await;
}

/// P5, P6: the leader and the two others hear nothing of each other; the network
/// heals, and the old leader, given a snapshot, leads again.
#[tokio::test]
async fn leader_partitioned() {
    columns::run(Fault::LeaderPartitioned).await;
}

/// P5: leadership moves, twice.
#[tokio::test]
async fn leadership_transferred() {
    columns::run(Fault::LeadershipTransferred).await;
}
