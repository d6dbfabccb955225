//! Why the command did not do what was asked: how it is told, and which exit
//! code it is.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use triad_client::ServersError;
use triad_license::LicenseError;
use triad_proto::net::TlsError;
use triad_proto::v1::{Reason, Refusal};
use triad_server::init::InitError;

use crate::duration::show_ms;
use crate::exit::Exit;
use crate::explain;
use crate::myself;
use crate::output::{PLAIN, RED};
use crate::reasons::explanation;
use crate::text::{counted, ordinal, person, printable_lines, shell_word};

const UNREACHABLE_HINT: &str = "see that the nodes run, that --servers names their client ports, \
                                and that --ca is the ca.pem of this cluster";

/// Why the command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A node said no.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// Nobody answered: each address with what was met there.
    #[error("no server answers: {}", listed(.0))]
    Unreachable(Vec<(String, String)>),
    /// Nodes answer, but none leads.
    #[error("{} of the cluster answer{}, but none leads: nothing is granted or changed",
        counted(*answering as u64, "node"), if *answering == 1 { "s" } else { "" })]
    NoLeader {
        /// How many nodes answer.
        answering: usize,
    },
    /// The answer did not come in time.
    #[error("{address} did not answer within {}", show_ms(timeout.as_millis() as u64))]
    TimedOut {
        /// Who was asked.
        address: String,
        /// For how long.
        timeout: Duration,
    },
    /// Something that takes its time was not done in the time that it was given.
    #[error("{what}")]
    NotYet {
        /// What is waited for.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The command line or the environment lacks something.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The servers cannot be read.
    #[error("the servers: {0}")]
    Servers(#[from] ServersError),
    /// A file cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there already.
    #[error("{} exists, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// A license, its terms, or a key is not acceptable.
    #[error("{place}: {source}")]
    License {
        /// The file, or the option.
        place: String,
        /// Why.
        source: LicenseError,
    },
    /// The authority's certificate cannot be used.
    #[error("{}: {source}", path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TlsError,
    },
    /// The cluster could not be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The node could not start, or stopped by itself.
    #[error("{0}")]
    Serve(String),
    /// The client library gave up without the word of a node.
    #[error("{0}")]
    Client(String),
    /// A seat that was held is not held any more.
    #[error("the seat of {feature} was lost: {reason}")]
    Lost {
        /// The feature.
        feature: String,
        /// Why.
        reason: String,
    },
    /// The command of `triad run` could not be started.
    #[error("{program}: cannot start: {source}")]
    Spawn {
        /// Which command.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The laboratory is not where it would be.
    #[error("the laboratory is not installed: {} is not there", .0.display())]
    NoLab(PathBuf),
    /// The operating system refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// The answer could not be written as JSON.
    #[error("the answer cannot be written as JSON: {0}")]
    Json(serde_json::Error),
    /// Stdout cannot be written.
    #[error("cannot write to stdout: {0}")]
    Print(io::Error),
    /// No explanation has this name.
    #[error("{code:?} is no code of Triad")]
    UnknownCode {
        /// What was asked for.
        code: String,
        /// The nearest name.
        nearest: &'static str,
    },
}

impl Failure {
    /// The failure that a refusal is.
    pub fn refused(refusal: Refusal) -> Self {
        Failure::Refused(Box::new(refusal))
    }

    /// The reason on the wire that this is, if it is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Failure::Refused(refusal) => Some(refusal.reason()),
            Failure::Unreachable(_) => Some(Reason::NodeUnreachable),
            Failure::NoLeader { .. } => Some(Reason::NoQuorum),
            Failure::TimedOut { .. } | Failure::NotYet { .. } => Some(Reason::Deadline),
            Failure::License { source, .. } => license_reason(source),
            _ => None,
        }
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage { .. } | Failure::Servers(_) | Failure::UnknownCode { .. } => {
                Exit::Usage
            }
            Failure::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::Child(127)
            }
            Failure::Spawn { .. } => Exit::Child(126),
            other => other.reason().map_or(Exit::Error, exit_of),
        }
    }

    /// What to do about it.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Failure::Refused(refusal) if !refusal.remedy.is_empty() => refusal.remedy.clone(),
            Failure::Refused(refusal) => match refusal.reason() {
                Reason::NotAuthenticated => "give the administrator's token with --token-file, \
                                             TRIAD_TOKEN_FILE or TRIAD_TOKEN"
                    .to_owned(),
                Reason::NodeUnreachable => UNREACHABLE_HINT.to_owned(),
                reason => explanation(reason).remedy.to_owned(),
            },
            Failure::Unreachable(_) => UNREACHABLE_HINT.to_owned(),
            Failure::NoLeader { .. } => "`triad status` names the nodes that are missing; two of \
                                         three must run and reach each other"
                .to_owned(),
            Failure::TimedOut { .. } => {
                "the outcome is not known; ask again, or wait longer with --timeout 30s".to_owned()
            }
            Failure::Usage { remedy, .. } | Failure::NotYet { remedy, .. } => remedy.clone(),
            Failure::NoLab(_) => "it belongs to the source tree: run `cargo build --package triad \
                                  --package triad-tests --bins` there, and `triad drill --lab` of \
                                  that build"
                .to_owned(),
            Failure::Exists(_) => "choose another place, or move it away".to_owned(),
            Failure::Authority { .. } => "give the ca.pem that `triad init` wrote".to_owned(),
            Failure::UnknownCode { nearest: "", .. } => "`triad explain` lists all".to_owned(),
            Failure::UnknownCode { nearest, .. } => {
                format!("did you mean {nearest}? `triad explain` lists all")
            }
            _ => return None,
        };
        Some(hint)
    }

    /// The failure for a person: what, what to do, where to read on.
    pub fn render(&self) -> String {
        self.render_for(&myself::user(), &myself::host())
    }

    /// The same without its first line, for whoever has told what already.
    pub fn render_rest(&self) -> String {
        self.rest_for(&myself::user(), &myself::host())
    }

    /// Its reason, if that has a code to read on.
    fn known_reason(&self) -> Option<Reason> {
        self.reason().filter(|reason| *reason != Reason::Unspecified)
    }

    fn render_for(&self, user: &str, host: &str) -> String {
        let reason = self.known_reason();
        let code = reason.map(|reason| format!("[{}]", reason.trd_code())).unwrap_or_default();
        let what = printable_lines(&self.to_string());
        format!("{RED}error{code}{PLAIN}: {what}\n{}", self.rest_for(user, host))
    }

    fn rest_for(&self, user: &str, host: &str) -> String {
        let mut text = String::new();
        if let Failure::Refused(refusal) = self {
            text.push_str(&circumstances(refusal));
        }
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "  hint: {}", printable_lines(&hint));
        }
        if let Failure::Refused(refusal) = self
            && depends_on_the_holder(refusal)
        {
            let _ = writeln!(text, "  why:  {}", explaining(refusal, user, host));
        }
        if let Some(reason) = self.known_reason() {
            let _ = writeln!(text, "  more: triad explain {}", reason.trd_code());
        }
        text
    }
}

/// Under what circumstances somebody was denied: the numbers, the rule, who
/// holds the seats, who waits for them.
fn circumstances(refusal: &Refusal) -> String {
    let mut text = String::new();
    let counts = exit_of(refusal.reason()) == Exit::NoSeat && refusal.seats_total > 0;
    if counts {
        let Refusal { seats_in_use, seats_total, seats_reserved, .. } = refusal;
        let of = if refusal.reason() == Reason::PolicyMax { "at most " } else { "" };
        let _ = write!(text, "  seats: {seats_in_use} of {of}{seats_total} in use");
        if *seats_reserved > 0 {
            let _ = write!(text, ", {seats_reserved} kept for others");
        }
        text.push('\n');
    }
    if refusal.rule_number > 0 {
        let _ = write!(text, "  rule: number {}", refusal.rule_number);
        if refusal.rule_line > 0 {
            let _ = write!(text, " of the policy, line {}", refusal.rule_line);
        }
        text.push_str("; see `triad policy show`\n");
    }
    for (index, holder) in refusal.holders.iter().enumerate() {
        let label = if index == 0 { "  longest holder:" } else { "                 " };
        let _ = write!(
            text,
            "{label} {}, {}, {}",
            person(&holder.user, &holder.host),
            counted(holder.seats, "seat"),
            show_ms(holder.held_ms)
        );
        if holder.idle_ms > 0 {
            let _ = write!(text, " (idle for {})", show_ms(holder.idle_ms));
        }
        text.push('\n');
    }
    let may_wait = match refusal.reason() {
        Reason::LicensesExhausted | Reason::QueueNonempty => true,
        // Whoever wants more than is left beside the reservations never gets them.
        Reason::AllReserved => {
            refusal.seats_wanted.saturating_add(refusal.seats_reserved) <= refusal.seats_total
        }
        _ => false,
    };
    if may_wait || refusal.waiting > 0 {
        let waiting = match refusal.waiting {
            0 => "nobody".to_owned(),
            waiting => counted(waiting, "request"),
        };
        let _ = write!(text, "  waiting: {waiting}");
        if may_wait {
            let place = ordinal(refusal.waiting.saturating_add(1));
            let _ = write!(text, "; you would be {place} with `triad run --wait 10m`");
        }
        text.push('\n');
    }
    text
}

/// Whether somebody else, or the same at another time, might be granted it: then
/// it is worth asking what stands in the way.
fn depends_on_the_holder(refusal: &Refusal) -> bool {
    let is_for_nobody = matches!(
        refusal.reason(),
        Reason::FeatureUnknown
            | Reason::VersionNotLicensed
            | Reason::FeatureExpired
            | Reason::NotYetValid
            | Reason::CountExceedsTotal
    );
    let is_denied = matches!(exit_of(refusal.reason()), Exit::NoSeat | Exit::NotEntitled);
    is_denied && !is_for_nobody && !refusal.feature.is_empty()
}

/// The command that explains a denial. It names whom it is about, so that an
/// administrator can run it for a user who cannot.
fn explaining(refusal: &Refusal, user: &str, host: &str) -> String {
    let feature = shell_word(&refusal.feature);
    let option = if explain::looks_like_a_code(&refusal.feature) { "--feature " } else { "" };
    let (user, host) = (shell_word(user), shell_word(host));
    let mut command = format!("triad explain {option}{feature} --user {user} --host {host}");
    if refusal.seats_wanted > 1 {
        let _ = write!(command, " --seats {}", refusal.seats_wanted);
    }
    command
}

/// The exit code of each reason.
pub fn exit_of(reason: Reason) -> Exit {
    match reason {
        Reason::NotLeader | Reason::NoQuorum | Reason::NotReady => Exit::NoQuorum,
        Reason::NodeUnreachable | Reason::Deadline => Exit::Unreachable,
        Reason::LicensesExhausted
        | Reason::PolicyMax
        | Reason::AllReserved
        | Reason::QueueNonempty
        | Reason::QueueTimedOut
        | Reason::BorrowLowwater => Exit::NoSeat,
        Reason::FeatureUnknown
        | Reason::VersionNotLicensed
        | Reason::FeatureExpired
        | Reason::NotYetValid
        | Reason::CountExceedsTotal
        | Reason::Excluded
        | Reason::NotIncluded
        | Reason::NotNamed
        | Reason::NoNamedUsers
        | Reason::HostNotLicensed
        | Reason::Blocked
        | Reason::BorrowOff
        | Reason::BorrowNotAllowed
        | Reason::BorrowTooLong => Exit::NotEntitled,
        Reason::Unspecified
        | Reason::Overloaded
        | Reason::NodeRemoved
        | Reason::FailoverOver
        | Reason::SessionUnknown
        | Reason::RequestForgotten
        | Reason::LimitReached
        | Reason::SessionTaken
        | Reason::InvalidRequest
        | Reason::NotAuthenticated
        | Reason::ProtocolVersion
        | Reason::WrongCluster
        | Reason::RoleNeeded
        | Reason::TokenUnknown
        | Reason::LastAdmin
        | Reason::LicenseMalformed
        | Reason::LicenseTampered
        | Reason::LicenseForeign
        | Reason::LicenseExpired
        | Reason::LicenseWronglyBound
        | Reason::LicenseSuperseded
        | Reason::PolicySuperseded
        | Reason::PolicyMalformed
        | Reason::Cancelled
        | Reason::CheckoutUnknown
        | Reason::BorrowedAway
        | Reason::NotBorrowed
        | Reason::Internal => Exit::Error,
    }
}

fn license_reason(error: &LicenseError) -> Option<Reason> {
    match error {
        LicenseError::TooLarge { .. }
        | LicenseError::Malformed { .. }
        | LicenseError::Name { .. } => Some(Reason::LicenseMalformed),
        LicenseError::Tampered { .. } => Some(Reason::LicenseTampered),
        LicenseError::Foreign { .. } => Some(Reason::LicenseForeign),
        LicenseError::Expired { .. } => Some(Reason::LicenseExpired),
        LicenseError::WronglyBound { .. } => Some(Reason::LicenseWronglyBound),
        LicenseError::Key { .. } | LicenseError::HostId { .. } | LicenseError::Unsigned => None,
    }
}

fn listed(tried: &[(String, String)]) -> String {
    let each: Vec<_> = tried
        .iter()
        // Errors of the network name the address themselves.
        .map(|(address, error)| match error.contains(address.as_str()) {
            true => error.clone(),
            false => format!("{address}: {error}"),
        })
        .collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::SeatHolder;

    use super::*;

    #[test]
    fn a_refusal_is_told_with_code_hint_and_next_command() {
        let refusal = Refusal::because(Reason::LicensesExhausted, "no seat free for \"solver\"")
            .with_remedy("wait\x1b[2J");
        let failure = Failure::refused(refusal);
        let expected = format!(
            "{RED}error[TRD-2001]{PLAIN}: no seat free for \"solver\"\n  waiting: nobody; \
             you would be 1st with `triad run --wait 10m`\n  hint: wait\\u{{1b}}[2J\n  \
             more: triad explain TRD-2001\n"
        );
        assert_eq!(failure.render(), expected);
        assert_eq!(failure.exit(), Exit::NoSeat);
    }

    #[test]
    fn a_denial_tells_numbers_rule_holders_and_who_waits() {
        let holder = |user: &str, seats, held_ms, idle_ms| SeatHolder {
            user: user.into(),
            host: "node18".into(),
            seats,
            held_ms,
            idle_ms,
        };
        let refusal = Refusal {
            feature: "solver".into(),
            seats_in_use: 38,
            seats_total: 40,
            seats_wanted: 2,
            seats_reserved: 2,
            rule_number: 3,
            rule_line: 12,
            holders: vec![
                holder("bob\x1b", 4, 21_000_000, 10_800_000),
                holder("eve", 1, 61_000, 0),
            ],
            waiting: 2,
            ..Refusal::because(Reason::AllReserved, "solver: 2 seats are kept for group cfd")
        };
        let failure = Failure::refused(refusal.with_remedy("wait"));
        let expected = format!(
            "\
{RED}error[TRD-2010]{PLAIN}: solver: 2 seats are kept for group cfd
  seats: 38 of 40 in use, 2 kept for others
  rule: number 3 of the policy, line 12; see `triad policy show`
  longest holder: bob\\u{{1b}}@node18, 4 seats, 5 h 50 min (idle for 3 h)
                  eve@node18, 1 seat, 1 min 1 s
  waiting: 2 requests; you would be 3rd with `triad run --wait 10m`
  hint: wait
  why:  triad explain solver --user ann --host n1 --seats 2
  more: triad explain TRD-2010
"
        );
        assert_eq!(failure.render_for("ann", "n1"), expected);
    }

    #[test]
    fn a_feature_that_looks_like_a_code_is_named_as_one() {
        let of = |feature: &str, reason| {
            let refusal = Refusal::because(reason, "no");
            let failure = Failure::refused(Refusal { feature: feature.into(), ..refusal });
            failure.render_for("o'neil", "n1")
        };
        let line = "  why:  triad explain --feature 2001 --user 'o'\\''neil' --host n1\n";
        assert!(of("2001", Reason::Excluded).contains(line));
        assert!(of("MATLAB", Reason::Excluded).contains("  why:  triad explain MATLAB --user"));
        // What nobody can have needs no explanation for one.
        assert!(!of("solver", Reason::FeatureUnknown).contains("why:"));
        assert!(!of("", Reason::Excluded).contains("why:"));
    }

    #[test]
    fn what_has_no_code_points_nowhere() {
        let failure = Failure::Exists("a.lic".into());
        assert!(failure.render().starts_with(&format!("{RED}error{PLAIN}: a.lic exists")));
        assert!(!failure.render().contains("triad explain"));
        assert_eq!(failure.exit(), Exit::Error);
    }

    #[test]
    fn addresses_are_named_once() {
        let tried = vec![
            ("a:1".to_owned(), "cannot connect to a:1: refused".to_owned()),
            ("b:1".to_owned(), "refused".to_owned()),
        ];
        let text = Failure::Unreachable(tried).to_string();
        assert_eq!(text, "no server answers: cannot connect to a:1: refused; b:1: refused");
    }
}
