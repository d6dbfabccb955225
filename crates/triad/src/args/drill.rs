//! The arguments of `triad drill`.

use std::path::PathBuf;

use clap::Args;

use super::seats::ConsentOptions;

/// See [`super::Verb::Drill`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad drill                                       on your cluster: a planned failover
  triad drill --yes -o json
  triad drill --lab                                 every scenario, some ten minutes
  triad drill --lab power_cut_of_all slow_syncs     some
  triad drill --lab --kills 500 --cuts 500 --json figures.json")]
pub struct DrillArguments {
    /// In the laboratory: three nodes on a network of their own, on this machine; Linux and root
    #[arg(long, conflicts_with = "dry_run")]
    pub lab: bool,
    /// The scenarios, as --list names them; all, if none is named
    #[arg(value_name = "SCENARIO", requires = "lab")]
    pub scenarios: Vec<String>,
    /// Name the scenarios, and run none
    #[arg(long, requires = "lab")]
    pub list: bool,
    /// Instead of scenarios: kill nodes so often
    #[arg(long, value_name = "N", requires = "lab", conflicts_with = "scenarios")]
    pub kills: Option<u32>,
    /// Cut the power so often, each fifth time of all three nodes
    #[arg(long, value_name = "N", requires = "lab", conflicts_with = "scenarios")]
    pub cuts: Option<u32>,
    /// Let the leader stand still so often
    #[arg(long, value_name = "N", requires = "lab", conflicts_with = "scenarios")]
    pub freezes: Option<u32>,
    /// Cut the leader off from the others so often
    #[arg(long, value_name = "N", requires = "lab", conflicts_with = "scenarios")]
    pub partitions: Option<u32>,
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE", requires = "lab")]
    pub json: Option<PathBuf>,
    /// Also on a cluster that is not well
    #[arg(long, conflicts_with = "lab")]
    pub force: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}
