//! The command line about the nodes of a cluster, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use triad_server::node_spec::NodeSpec;

use super::seats::ConsentOptions;
use crate::duration;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// The nodes as the leader sees them
    List,
    /// Let a new node join, while the others serve
    Add(AddArguments),
    /// Put a new node in the place of one that is lost, while the others serve
    Replace(ReplaceArguments),
    /// Give a node a vote that only follows so far, as a former back-up does
    Promote {
        /// The name or id of the node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Let a node lead no more, as before work on it; it goes on to vote
    Drain(DrainArguments),
    /// Take a node out of the cluster, for good
    Remove(RemoveArguments),
}

/// See [`NodeVerb::Add`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad node add b=lic-b:27070 --dir cluster
  triad node add b=lic-b:27070 --dir cluster --prepare     only make its directory
  triad node add b=lic-b:27070 --dir cluster --backup      a back-up of a single node")]
pub struct AddArguments {
    /// The new node: NAME=HOST:PORT, or NAME=HOST:PORT/PEERPORT/HTTPPORT
    #[arg(value_name = "NODE")]
    pub node: NodeSpec,
    /// Make the directory of a back-up: it follows, and serves while the main cannot
    #[arg(long)]
    pub backup: bool,
    /// How it is made.
    #[command(flatten)]
    pub joining: JoiningOptions,
}

/// See [`NodeVerb::Replace`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad node replace b --dir cluster                       the same host, its disk lost
  triad node replace b --dir cluster --with d=lic-d:27070  another host
  triad node replace b --dir cluster --dry-run")]
pub struct ReplaceArguments {
    /// The name or id of the node that is lost
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The new node, if it has another name or place: NAME=HOST:PORT
    #[arg(long, value_name = "NODE")]
    pub with: Option<NodeSpec>,
    /// How it is made.
    #[command(flatten)]
    pub joining: JoiningOptions,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// How the directory of a node that joins is made, and how long it is waited for.
#[derive(Debug, Args)]
pub struct JoiningOptions {
    /// The directory that `triad init` made, with the authority in ca/; the new
    /// node's directory is made in it
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The triad.toml of another node, to take the settings from; without, the
    /// one of the first node below --dir
    #[arg(long, value_name = "FILE")]
    pub like: Option<PathBuf>,
    /// Only make its directory; the same command without this goes on
    #[arg(long)]
    pub prepare: bool,
    /// How long to wait for the new node to start and to catch up; as long as
    /// --timeout where that is given, or else 15m
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub wait: Option<Duration>,
}

/// See [`NodeVerb::Drain`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad node drain b --dry-run
  triad node drain b --yes
  triad node drain b --undo")]
pub struct DrainArguments {
    /// The name or id of the node
    #[arg(value_name = "NODE")]
    pub node: String,
    /// It may lead again
    #[arg(long)]
    pub undo: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// See [`NodeVerb::Remove`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad node remove b --dry-run
  triad node remove b --yes")]
pub struct RemoveArguments {
    /// The name or id of the node
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Even where what is left could not lose one more node without a stop
    #[arg(long)]
    pub force: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}
