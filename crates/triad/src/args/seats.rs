//! The command line about seats that are held, wanted, or lent, as typed.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::duration;

/// See [`Verb::Checkouts`](super::Verb::Checkouts).
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    before_help = "\
Examples:
  triad checkouts --feature solver
  triad checkouts -o csv
  triad checkouts revoke 17 --reason \"left for the day\" --block 10m"
)]
pub struct CheckoutsArguments {
    /// What to do with them; without, they are listed
    #[command(subcommand)]
    pub verb: Option<CheckoutsVerb>,
    /// Which.
    #[command(flatten)]
    pub list: ListArguments,
}

/// What to do with checkouts.
#[derive(Debug, Subcommand)]
pub enum CheckoutsVerb {
    /// Who holds which seats since when
    List(ListArguments),
    /// Take seats back, and block them for a while if wanted
    Revoke(RevokeArguments),
}

/// Of which feature.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only seats of this feature
    #[arg(long, value_name = "NAME")]
    pub feature: Option<String>,
}

/// See [`CheckoutsVerb::Revoke`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad checkouts revoke 17 --dry-run
  triad checkouts revoke 17 --reason \"left for the day\" --block 10m
  triad checkouts revoke 17 --yes")]
pub struct RevokeArguments {
    /// The number of the checkout, as `triad checkouts` shows it
    pub id: u64,
    /// Why, for the user and the history
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub reason: String,
    /// For how long the same user on the same host is not granted it again
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub block: Option<Duration>,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// Whether to ask before something is taken from somebody.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConsentOptions {
    /// Only say what would be done, and to whom
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// What to do with borrowed seats.
#[derive(Debug, Subcommand)]
pub enum BorrowVerb {
    /// Who has borrowed what, until when
    List(ListArguments),
    /// Note that borrowed seats are lost; they come back at their end
    Lost(LostArguments),
}

/// See [`BorrowVerb::Lost`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad borrow lost 17
  triad borrow lost 17 --yes")]
pub struct LostArguments {
    /// The number of the checkout, as `triad borrow list` shows it
    pub id: u64,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}
