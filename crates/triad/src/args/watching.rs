//! The command line of those who look after a cluster, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::duration;

/// See [`super::Verb::Check`].
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  triad check
  triad check --feature solver --warning 80 --critical 95
  triad check --features --timeout 3s",
    after_help = "Ends as monitoring plugins do: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."
)]
pub struct CheckArguments {
    /// Also judge how full this feature is; may be given several times
    #[arg(long = "feature", value_name = "NAME")]
    pub features: Vec<String>,
    /// Also judge how full each feature is
    #[arg(long = "features", conflicts_with = "features")]
    pub all_features: bool,
    /// So many percent of the seats in use are a warning
    #[arg(short, long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "PERCENT")]
    pub warning: u32,
    /// So many percent are critical
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "PERCENT")]
    pub critical: u32,
}

impl CheckArguments {
    /// Whether features are to be judged.
    pub fn wants_features(&self) -> bool {
        self.all_features || !self.features.is_empty()
    }
}

/// See [`super::Verb::Top`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad top
  triad top --interval 500ms")]
pub struct TopArguments {
    /// Between two looks
    #[arg(long, default_value = "2s", value_parser = duration::parse, value_name = "TIME")]
    pub interval: Duration,
}

/// See [`super::Verb::Doctor`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad doctor
  triad doctor --config /etc/triad/triad.toml      on a node: its files, too
  triad doctor --bundle triad-support.tar")]
pub struct DoctorArguments {
    /// The configuration of the node on this machine: its files, host id and peers are looked at, too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write what was found to this archive, for support; without tokens, keys and names of people
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}
