//! The command line about seats that are held, wanted, or lent, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use triad_proto::v1::Holder;

use super::SeatOptions;
use crate::duration;
use crate::moment::{self, Moment};

/// See [`Verb::Checkouts`](super::Verb::Checkouts).
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    before_help = "\
Examples:
  triad checkouts --feature solver
  triad checkouts --user ann --host ws-042
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

/// Of which feature, and whose.
#[derive(Debug, Default, Args)]
pub struct ListArguments {
    /// Only seats of this feature
    #[arg(long, value_name = "NAME")]
    pub feature: Option<String>,
    /// Only those of this user; letter case does not matter
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Only those on this host; letter case does not matter
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

impl ListArguments {
    /// Whether what this holder has, or waits for, is asked for.
    pub fn asks_for(&self, holder: Option<&Holder>) -> bool {
        let is = |wanted: &Option<String>, name: &dyn Fn(&Holder) -> &str| match (wanted, holder) {
            (None, _) => true,
            (Some(wanted), Some(holder)) => name(holder).to_lowercase() == wanted.to_lowercase(),
            (Some(_), None) => false,
        };
        is(&self.user, &|holder| &holder.user) && is(&self.host, &|holder| &holder.host)
    }
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
    #[arg(value_parser = checkout_number)]
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
    /// Borrow seats, to use them on this machine without a server
    Take(TakeArguments),
    /// Return borrowed seats before their end
    Return(ReturnArguments),
    /// Whether a borrow token is good, here and now; asks no server
    Verify(VerifyArguments),
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
    #[arg(value_parser = checkout_number)]
    pub id: u64,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// See [`BorrowVerb::Take`].
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("end").required(true),
    before_help = "\
Examples:
  triad borrow take solver --for 3d
  triad borrow take solver --until 2026-12-24 --out /etc/acme/solver.borrow"
)]
pub struct TakeArguments {
    /// The feature to borrow
    pub feature: String,
    /// For how long, such as 8h or 3d
    #[arg(long = "for", value_parser = duration::parse, value_name = "TIME", group = "end")]
    pub period: Option<Duration>,
    /// Until when: a day, or a day and a time, UTC unless it has an offset
    #[arg(long, value_parser = moment::parse, value_name = "TIME", group = "end")]
    pub until: Option<Moment>,
    /// Version and number of seats.
    #[command(flatten)]
    pub seats: SeatOptions,
    /// Where to keep the token; FEATURE.borrow without
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// See [`BorrowVerb::Return`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad borrow return solver.borrow
  triad borrow return 17")]
pub struct ReturnArguments {
    /// The token's file, or the number of the checkout
    #[arg(value_name = "FILE|ID", value_parser = loan_source)]
    pub what: LoanSource,
}

/// By what borrowed seats are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoanSource {
    /// The number of the checkout.
    Id(u64),
    /// The token.
    File(PathBuf),
}

/// What `triad checkouts` shows as ID.
fn checkout_number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a checkout is named by its number, such as 17; see `triad checkouts`")
}

fn loan_source(text: &str) -> Result<LoanSource, std::convert::Infallible> {
    Ok(text.parse().map_or_else(|_| LoanSource::File(text.into()), LoanSource::Id))
}

/// See [`BorrowVerb::Verify`].
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The token's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
