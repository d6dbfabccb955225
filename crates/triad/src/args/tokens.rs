//! The command line about administrator tokens, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::seats::ConsentOptions;
use crate::moment::{self, Moment};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token for a person or a program; its secret is shown once
    Create(CreateArguments),
    /// Who has a token, what it is good for, and when it was last used
    List,
    /// Make a token good for nothing, on all nodes at once
    Revoke(RevokeArguments),
}

/// See [`TokenVerb::Create`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad token create --role viewer --label monitoring --out monitoring.token
  triad token create --role operator --label ann --expires 90d --out ann.token
  triad token create --role admin --label bob --expires 2027-01-01")]
pub struct CreateArguments {
    /// viewer reads; operator also takes seats back, moves leadership and drains nodes;
    /// admin changes everything
    #[arg(long, hide_possible_values = true, value_name = "viewer|operator|admin")]
    pub role: RoleOption,
    /// Whose it is; this name stands in the history under all that is done with it
    #[arg(long, value_name = "NAME")]
    pub label: String,
    /// When it ends: in so long, such as 90d, or a day, or a day and a time
    #[arg(long, value_parser = moment::parse, value_name = "TIME")]
    pub expires: Option<Moment>,
    /// Write the secret to a new file that only its owner can read, and do not show it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// See [`TokenVerb::Revoke`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad token revoke 3f2a91c07b11 --dry-run
  triad token revoke 3f2a91c07b11 --yes")]
pub struct RevokeArguments {
    /// The token's id, as `triad token list` shows it
    pub id: String,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleOption {
    /// Reads.
    Viewer,
    /// Takes seats back, moves leadership.
    Operator,
    /// Changes everything.
    Admin,
}
