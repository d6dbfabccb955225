//! The command line of the history as typed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use triad_proto::v1::EventKind;

use crate::events::{kind_name, kind_named, kinds};
use crate::failure::Failure;
use crate::moment::{self, Moment};
use crate::text::instant;

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

impl WindowOptions {
    /// From when and up to when, milliseconds since 1970 UTC; 0 for what is not said. Lengths
    /// of time count back from `now_ms`, and what is later than `latest_ms` has not happened.
    pub fn bounds_ms(&self, now_ms: u64, latest_ms: u64) -> Result<(u64, u64), Failure> {
        let since_ms = self.since.map_or(0, |since| since.at_ms(now_ms));
        // The first instant there is comes before all that happened, and is not "no end".
        let until_ms = self.until.map_or(0, |until| until.at_ms(now_ms).max(1));
        if self.since.is_some() && self.until.is_some() && until_ms <= since_ms {
            let what = match until_ms == since_ms {
                true => "--until is --since, and no time is between them".to_owned(),
                false => format!(
                    "--until is before --since: {} comes before {}",
                    instant(until_ms),
                    instant(since_ms)
                ),
            };
            let remedy = "give the earlier of the two to --since; lengths of time count back, so \
                          that it is the longer one: --since 2h --until 1h";
            return Err(Failure::Usage { what, remedy: remedy.to_owned() });
        }
        if since_ms > latest_ms {
            let (since, now) = (instant(since_ms), instant(now_ms));
            return Err(Failure::Usage {
                what: format!("--since is in the future: {since}, and the cluster's date is {now}"),
                remedy: "give a time that has passed; --since 2h is two hours ago".to_owned(),
            });
        }
        Ok((since_ms, until_ms))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_442_709_000;

    fn bounds(since: &str, until: &str) -> Result<(u64, u64), String> {
        let moment = |text: &str| (!text.is_empty()).then(|| moment::parse(text).unwrap());
        let window = WindowOptions { since: moment(since), until: moment(until), feature: None };
        window.bounds_ms(NOW_MS, NOW_MS + 1_000).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_window_has_time_in_it() {
        assert_eq!(bounds("", ""), Ok((0, 0)));
        assert_eq!(bounds("2s", "1s"), Ok((NOW_MS - 2_000, NOW_MS - 1_000)));
        assert_eq!(bounds("now", ""), Ok((NOW_MS, 0)));
        assert!(bounds("", "2099-01-01").is_ok(), "up to now, and what comes until then");
        // This machine's clock is ahead of the cluster's.
        assert!(bounds("2026-11-23T14:05:10", "").is_ok());
        assert_eq!(bounds("", "1970-01-01"), Ok((0, 1)));
    }

    #[test]
    fn a_window_that_is_none_is_refused() {
        for (since, until, told) in [
            ("1h", "2h", "--until is before --since: 2026-11-23 12:05:09Z comes before 2026-"),
            ("2026-11-02", "2026-11-01", "--until is before --since: 2026-11-01 00:00:00Z comes"),
            ("2026-11-01", "2026-11-01", "--until is --since"),
            ("2099-01-01", "2h", "--until is before --since"),
            ("2099-01-01", "", "--since is in the future: 2099-01-01 00:00:00Z, and the cluster's"),
            ("2099-01-01", "2099-02-01", "--since is in the future"),
        ] {
            let refused = bounds(since, until).unwrap_err();
            assert!(refused.starts_with(told), "{since} {until}: {refused}");
        }
    }
}
