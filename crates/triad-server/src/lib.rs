//! A node of Triad: gRPC services, sessions, leader duties, configuration,
//! and the making of a cluster.
//!
//! [`serve`] runs a node from its [`Config`]. [`init::init_cluster`] makes the
//! files of a new cluster.
//!
//! **Invariant:** services decide nothing; rules live in the ledger, and what
//! the wire says is checked in `convert.rs` and nowhere else.

mod admin_service;
pub mod authority;
pub mod certificates;
pub mod config;
mod convert;
mod descriptors;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guarded;
mod history_admin;
pub mod hostids;
mod http;
pub mod init;
mod leader;
mod licenses;
mod licensing_service;
mod members_admin;
mod meters;
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
mod mutation;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub mod mutation;
mod news;
mod node;
pub mod node_spec;
pub mod office;
mod pair;
mod policy_admin;
mod raising;
mod reload;
mod restoring;
mod rotation;
mod seats_admin;
mod serve;
mod session_stream;
pub mod sessions;
mod tokens;
mod traces;
mod under_way;
mod unfinished;
mod vitals;

pub use config::{Config, ConfigError};
pub use members_admin::others_who_can_lead;
pub use reload::Relog;
pub use restoring::{RestoringError, look_into_for, may_restore, restore};
pub use serve::{Ended, Ready, ServeError, ServeOptions, serve, serve_until};
/// A log filter for what fills pages while a node is away; to stand before the
/// one that is asked for.
pub use triad_raft::LOG_QUIET;
/// What a saved ledger says of itself.
pub use triad_raft::{RestoreError, Saved, look_into};
