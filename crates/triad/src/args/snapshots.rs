//! The command line about snapshots, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::seats::ConsentOptions;

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Save the whole ledger to a new file
    Save {
        /// Where to
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Begin a new cluster of one node with a saved ledger, after all nodes are lost
    Restore(RestoreArguments),
}

/// See [`SnapshotVerb::Restore`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad snapshot save monday.snapshot
  triad snapshot restore monday.snapshot --config lic-a/triad.toml --dry-run")]
pub struct RestoreArguments {
    /// What `triad snapshot save` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration of the node that is to begin; its data directory must be empty
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Even though a node of the cluster answers
    #[arg(long)]
    pub force: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}
