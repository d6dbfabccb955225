//! The command line of the exchange by file as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to carry to the publisher's back office, and back.
#[derive(Debug, Subcommand)]
pub enum CapabilityVerb {
    /// Write a request for the back office, on one of the cluster's hosts
    Request(CapabilityRequestArguments),
    /// Put in force what the back office answered
    Apply {
        /// The response
        file: PathBuf,
    },
}

/// See [`CapabilityVerb::Request`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad capability request --config /etc/triad/triad.toml --out request.txt
  triad capability request --config triad.toml --rights 7QKD-M3XA-94TZ-B1EH=2 --out request.txt")]
pub struct CapabilityRequestArguments {
    /// The node's configuration, with [office] in it
    #[arg(long, default_value = "triad.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// A rights id, and how many copies of it; those of the configuration without
    #[arg(long = "rights", value_name = "ID[=COPIES]")]
    pub rights: Vec<String>,
    /// Where to write it, which must not exist; stdout without
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
