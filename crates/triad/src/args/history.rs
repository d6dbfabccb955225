//! The command line of the history as typed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use triad_proto::v1::EventKind;

use crate::events::{kind_name, kind_named, kinds};
use crate::moment::{self, Moment};

/// Which part of the history.
#[derive(Clone, Debug, Args)]
pub struct WindowOptions {
    /// From when: 2h or 30d ago, 2026-11-01, 2026-11-01T14:00 (UTC); without, all that is kept
    #[arg(long, value_parser = moment::parse, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Up to when, exclusive; the present without
    #[arg(long, value_parser = moment::parse, value_name = "WHEN")]
    pub until: Option<Moment>,
    /// Only this feature
    #[arg(long, value_name = "NAME")]
    pub feature: Option<String>,
}

/// See [`Verb::Events`](super::Verb::Events).
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad events --since 2h
  triad events --since 2026-11-01 --until 2026-12-01 --feature solver -o csv
  triad events --kind denied,revoked --follow
  triad events --follow --debug-log >> /var/log/triad-debug.log")]
pub struct EventsArguments {
    /// Which part of the history.
    #[command(flatten)]
    pub window: WindowOptions,
    /// Only events of these kinds, separated by commas
    #[arg(
        long = "kind",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(kinds().map(kind_name))
            .try_map(|name| kind_named(&name).ok_or("no kind of event")),
        value_name = "KIND"
    )]
    pub kinds: Vec<EventKind>,
    /// Go on with what happens, through failovers, until Ctrl-C; without --since, from now
    #[arg(long, short, conflicts_with = "until")]
    pub follow: bool,
    /// Write it as a debug log of FlexNet: HH:MM:SS (vendor) OUT|IN|DENIED: "feature" user@host
    #[arg(long)]
    pub debug_log: bool,
}

/// What to report.
#[derive(Debug, Subcommand)]
pub enum ReportVerb {
    /// The highest use of each feature, when, and of how many
    #[command(before_help = "\
Examples:
  triad report peak --since 30d
  triad report peak --since 2026-11-01 --until 2026-12-01 --days -o csv")]
    Peak {
        /// Which part of the history.
        #[command(flatten)]
        window: WindowOptions,
        /// A row for each day: its highest and its average use
        #[arg(long)]
        days: bool,
    },
    /// Who was denied what, why, and how often
    #[command(before_help = "\
Examples:
  triad report denials --since 7d
  triad report denials --feature solver -o json")]
    Denials {
        /// Which part of the history.
        #[command(flatten)]
        window: WindowOptions,
    },
    /// Seats that were taken back unused, and who is idle now
    #[command(before_help = "\
Examples:
  triad report idle --since 7d")]
    Idle {
        /// Which part of the history.
        #[command(flatten)]
        window: WindowOptions,
    },
    /// How long and how high use was above what was bought
    #[command(before_help = "\
Examples:
  triad report overdraft --since 90d -o csv")]
    Overdraft {
        /// Which part of the history.
        #[command(flatten)]
        window: WindowOptions,
    },
}

/// What to do with the proof of the history.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Let every node prove the history that it keeps, and compare them
    #[command(
        before_help = "\
Examples:
  triad audit verify
  triad audit verify -o json --timeout 10m",
        after_help = "Ends with 1 if a node finds a fault or two nodes differ, with 3 if a node \
                      could not be asked."
    )]
    Verify,
}
