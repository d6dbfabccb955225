//! The command line about certificates, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertVerb {
    /// Issue a new certificate for a node into a directory of its own
    Issue(IssueArguments),
    /// Put new certificates in the place of the old ones; nodes take them up as they run
    Renew(RenewArguments),
    /// When the certificates below a directory end
    Show {
        /// The directory that `triad init` made
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// See [`CertVerb::Issue`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad cert issue lic-a --dir cluster --out lic-a-new")]
pub struct IssueArguments {
    /// The directory of the node below --dir
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The directory that `triad init` made, with the authority in ca/
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Where ca.pem, node.pem and node-key.pem are written; nothing is overwritten
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// For how many days it is valid
    #[arg(long, default_value_t = 825, value_name = "DAYS")]
    pub days: u32,
}

/// See [`CertVerb::Renew`].
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true),
    before_help = "\
Examples:
  triad cert renew lic-a --dir cluster
  triad cert renew --all --dir cluster --days 365"
)]
pub struct RenewArguments {
    /// The directory of the node below --dir
    #[arg(value_name = "NODE", group = "which")]
    pub node: Option<String>,
    /// Every node that has a directory below --dir
    #[arg(long, group = "which")]
    pub all: bool,
    /// The directory that `triad init` made, with the authority in ca/
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// For how many days they are valid
    #[arg(long, default_value_t = 825, value_name = "DAYS")]
    pub days: u32,
}
