//! The command line as typed. What it means is decided by each verb.

pub mod asking;
pub mod bench;
pub mod capability;
pub mod certs;
pub mod config;
pub mod drill;
pub mod examples;
pub mod history;
pub mod license;
pub mod nodes;
pub mod policy;
pub mod seats;
pub mod snapshots;
pub mod tokens;
pub mod watching;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use triad_server::node_spec::NodeSpec;

use crate::duration;

use self::asking::ExplainArguments;
use self::bench::BenchArguments;
use self::capability::CapabilityVerb;
use self::certs::CertVerb;
use self::config::ConfigVerb;
use self::history::{AuditVerb, EventsArguments, ReportVerb};
use self::license::LicenseVerb;
use self::nodes::NodeVerb;
use self::policy::PolicyVerb;
use self::seats::{BorrowVerb, CheckoutsArguments, CheckoutsVerb, ListArguments};
use self::snapshots::SnapshotVerb;
use self::tokens::TokenVerb;
use self::watching::{CheckArguments, DoctorArguments, TopArguments};

const EXAMPLES: &str = "\
Examples:
  triad init --dir cluster --node a=lic-a:27070 --node b=lic-b:27070 --node c=lic-c:27070
  triad serve --config cluster/a/triad.toml
  triad status --servers lic-a:27070,lic-b:27070,lic-c:27070 --ca cluster/ca/ca.pem
  triad run --feature solver -- ./solve model.inp
  triad policy apply policy.toml --dry-run
  triad explain solver --user ann --host n1
  triad report peak --since 30d -o csv";

/// What every verb ends with that says nothing else.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 ok            4 no quorum: nothing is granted or changed
  1 error         5 no node answered in time
  2 usage         6 denied: every seat is in use
  3 degraded      7 denied: not licensed like that";

/// Floating licenses from three servers that agree.
#[derive(Debug, Parser)]
#[command(name = "triad", version, before_help = EXAMPLES, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// The servers of the cluster: host:port or port@host, separated by commas
    #[arg(long, global = true, env = "TRIAD_SERVERS", value_name = "SERVERS")]
    pub servers: Option<String>,
    /// The certificate of the cluster's authority (ca.pem)
    #[arg(long, global = true, env = "TRIAD_CA", value_name = "FILE")]
    pub ca: Option<OsString>,
    /// A file with the administrator's token; or set TRIAD_TOKEN to the token itself, which goes
    /// before TRIAD_TOKEN_FILE
    #[arg(long, global = true, env = "TRIAD_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<OsString>,
    /// Whether connections are encrypted, as they are; off is for benchmarks on loopback, both for
    /// `bench --local`
    #[arg(
        long,
        global = true,
        env = "TRIAD_TLS",
        hide_possible_values = true,
        value_name = "on|off|both"
    )]
    pub tls: Option<TlsOption>,
    /// The context to take servers, certificate and token from; see `triad config`
    #[arg(long, global = true, env = "TRIAD_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// How answers are printed: table and wide for people, json (proto3 JSON), jsonl and csv for programs
    #[arg(
        short,
        long,
        global = true,
        default_value = "table",
        hide_possible_values = true,
        value_name = "table|wide|json|jsonl|csv"
    )]
    pub output: OutputFormat,
    /// How long to wait for answers, such as 300ms, 5s or 2m; 5s, for `audit verify` 10m
    #[arg(long, global = true, value_parser = duration::parse, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// Only these columns of a table or of CSV, in this order, such as feature,in_use
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Vec<String>,
    /// Tables and CSV without their first line
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Ask again and again, every 2s or as often as given: --watch=500ms
    #[arg(
        long,
        global = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = duration::parse,
        value_name = "TIME"
    )]
    pub watch: Option<Duration>,
    /// When to colour: auto colours terminals, and heeds NO_COLOR
    #[arg(
        long,
        global = true,
        default_value = "auto",
        hide_possible_values = true,
        value_name = "auto|always|never"
    )]
    pub color: ColorOption,
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsOption {
    /// They are.
    On,
    /// They are not.
    Off,
    /// First so, then so: for `bench --local` alone.
    Both,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs: one document.
    Json,
    /// For programs: one object on each line.
    Jsonl,
    /// For spreadsheets.
    Csv,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorOption {
    /// On a terminal, unless the environment objects.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a new cluster: an authority, and a directory for each node
    Init(InitArguments),
    /// Run a node
    Serve(ServeArguments),
    /// See it work: three nodes, five clients, and a leader to kill
    Demo(DemoArguments),
    /// How fast it is: checkouts, heartbeats, failovers and restarts, measured
    Bench(BenchArguments),
    /// Move leadership as before maintenance, and measure what users feel; or break everything in a laboratory
    Drill(drill::DrillArguments),
    /// Run a command while holding a seat
    Run(RunArguments),
    /// Hold a seat until Ctrl-C
    Checkout(CheckoutArguments),
    /// Whether the cluster is healthy, node by node
    Status,
    /// The whole cluster on one screen, alive
    Top(TopArguments),
    /// One line and an exit code for monitoring: OK, WARNING, CRITICAL or UNKNOWN
    Check(CheckArguments),
    /// Look at everything that can be wrong, and say what mends it
    Doctor(DoctorArguments),
    /// What is licensed, and how much of it is in use
    Features {
        /// Only this feature
        feature: Option<String>,
        /// The same
        #[arg(long = "feature", conflicts_with = "feature", value_name = "NAME")]
        only: Option<String>,
    },
    /// Who is connected
    Sessions,
    /// Who holds which seats since when; and taking them back
    Checkouts(CheckoutsArguments),
    /// Who waits for which seats, in which order
    Queue(ListArguments),
    /// Seats that are used without a server
    #[command(subcommand)]
    Borrow(BorrowVerb),
    /// What happened, and what happens
    Events(EventsArguments),
    /// What the history comes to: peaks, denials, idle seats, overdraft
    #[command(subcommand)]
    Report(ReportVerb),
    /// The proof that the history is whole
    #[command(subcommand)]
    Audit(AuditVerb),
    /// The site's rules: check them, compare them, put them in force
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// License documents: put them in force, check them, issue them
    #[command(subcommand)]
    License(LicenseVerb),
    /// The publisher's back office, by file
    #[command(subcommand)]
    Capability(CapabilityVerb),
    /// The nodes of the cluster
    #[command(subcommand)]
    Node(NodeVerb),
    /// The leader of the cluster
    #[command(subcommand)]
    Leader(LeaderVerb),
    /// The certificates of the nodes: when they end, and new ones
    #[command(subcommand)]
    Cert(CertVerb),
    /// The whole ledger in a file, and a cluster from it
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Who may administer: tokens with roles
    #[command(subcommand)]
    Token(TokenVerb),
    /// Why somebody is or is not granted a feature; or what an error code means
    Explain(ExplainArguments),
    /// Who holds what, in the form that tools for lmstat read
    #[command(
        disable_help_flag = true,
        before_help = "\
Examples:
  triad lmstat -a -c 27070@lic-a,27070@lic-b,27070@lic-c
  triad lmstat -f solver
  triad lmstat -i"
    )]
    Lmstat {
        /// Words as lmstat takes them: -a, -f F, -i F, -s, -A, -v, -c SERVERS, -t SECONDS
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The tools of another age by their names: lmstat, lmdiag, lmremove, lmhostid, lmver ...
    #[command(
        disable_help_flag = true,
        before_help = "\
Examples:
  triad lmutil lmstat -a
  ln -s /usr/bin/triad /usr/local/bin/lmutil && lmutil lmdiag solver",
        after_help = "Ends as its callers know it: 0, or 256 - n for error -n."
    )]
    Lmutil {
        /// The tool, and its words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Clusters by name, and what applies now
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Manual pages
    #[command(before_help = "\
Examples:
  triad man --out /usr/local/share/man/man1")]
    Man {
        /// Where to write them; the folder is made
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// The host ids of this machine, for licenses that are bound to machines
    Hostid,
    /// A completion script for a shell; it completes names of features and nodes, too
    #[command(before_help = "\
Examples:
  triad completions bash > /etc/bash_completion.d/triad
  source <(triad completions zsh)
  triad completions fish > ~/.config/fish/completions/triad.fish
  triad completions powershell >> $PROFILE")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Verb {
    /// Whether it only asks, and may be asked again and again.
    pub fn may_be_watched(&self) -> bool {
        let follows = matches!(self, Verb::Events(events) if events.follow);
        let asks = matches!(self, Verb::Status | Verb::Check(_) | Verb::Doctor(_));
        (self.has_rows() || asks) && !follows && !matches!(self, Verb::Bench(_))
    }

    /// Whether its answer is a list, which can be printed as CSV.
    pub fn has_rows(&self) -> bool {
        match self {
            Verb::Features { .. }
            | Verb::Sessions
            | Verb::Queue(_)
            | Verb::Events(_)
            | Verb::Report(_)
            | Verb::Audit(AuditVerb::Verify)
            | Verb::License(LicenseVerb::List)
            | Verb::Node(NodeVerb::List)
            | Verb::Token(TokenVerb::List)
            | Verb::Config(ConfigVerb::List | ConfigVerb::View { .. })
            | Verb::Cert(CertVerb::Show { .. })
            | Verb::Borrow(BorrowVerb::List(_)) => true,
            Verb::Bench(bench) => !bench.license_terms,
            Verb::Checkouts(checkouts) => {
                matches!(checkouts.verb, None | Some(CheckoutsVerb::List(_)))
            }
            Verb::Explain(explain) => explain.topic.is_none() && explain.feature.is_none(),
            _ => false,
        }
    }
}

/// See [`Verb::Init`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad init --dir cluster --node a=lic-a:27070 --node b=lic-b:27070 --node c=lic-c:27070
  triad init --dir lab --node a=localhost:27070 --node b=localhost:27170 --node c=localhost:27270")]
pub struct InitArguments {
    /// Where to write; nothing there is ever overwritten, and the same cluster is not made twice
    #[arg(long)]
    pub dir: PathBuf,
    /// A node: name=host:port, or name=host:port/peerport/httpport
    #[arg(long = "node", required = true, value_delimiter = ',', value_name = "NAME=HOST:PORT")]
    pub nodes: Vec<NodeSpec>,
    /// A publisher whose licenses are accepted: a file, or the line triad-publisher-public-v1:...
    #[arg(long = "publisher-key", num_args = 1.., value_name = "FILE")]
    pub publisher_keys: Vec<String>,
    /// A main server and its back-up, in this order, instead of nodes that agree
    #[arg(long)]
    pub pair: bool,
    /// Where each node will keep its data, such as /var/lib/triad; `data` beside its triad.toml
    /// unless given
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// See [`Verb::Serve`].
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The node's configuration, as written by `triad init`
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// How the log on stderr is written, whatever [log] in the configuration says; text without both
    #[arg(long)]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as debug, or warn,triad_server=debug, likewise; warn,triad=info without both
    #[arg(long, env = "TRIAD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// See [`Verb::Demo`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad demo
  triad demo --kill-leader-after 5s --duration 20s -o json")]
pub struct DemoArguments {
    /// Kill the leader by itself after this time
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub kill_leader_after: Option<Duration>,
    /// Stop by itself after this time
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// How many clients hold a seat
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=9), value_name = "NUMBER")]
    pub clients: u32,
}

/// The seats that are wanted.
#[derive(Clone, Debug, Args)]
pub struct SeatOptions {
    /// The version needed; any without
    #[arg(long, default_value = "", hide_default_value = true)]
    pub version: String,
    /// How many seats
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), value_name = "NUMBER")]
    pub seats: u32,
}

/// What happens if seats are taken.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WaitOptions {
    /// Wait in the queue if seats are taken, for so long at most, such as 10m or 2h
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub wait: Option<Duration>,
}

/// See [`Verb::Run`].
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  triad run --feature solver -- ./solve model.inp
  triad run --feature solver --wait 2h -- ./solve model.inp
  triad run --feature solver --version 2026.1 --seats 4 --kill-on-lost -- mpirun ./solve
  triad run --feature solver --borrowed solver.borrow -- ./solve model.inp",
    after_help = "The exit code is the command's own; 128 + n after signal n. Without a seat it is 4, 5, 6 or 7."
)]
pub struct RunArguments {
    /// The feature to hold
    #[arg(long)]
    pub feature: String,
    /// Version and number of seats.
    #[command(flatten)]
    pub seats: SeatOptions,
    /// What happens if seats are taken.
    #[command(flatten)]
    pub wait: WaitOptions,
    /// Use a seat that was borrowed, without a server: its token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["wait", "version"])]
    pub borrowed: Option<PathBuf>,
    /// End the command when its seat is lost, instead of warning only
    #[arg(long)]
    pub kill_on_lost: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// See [`Verb::Checkout`].
#[derive(Debug, Args)]
pub struct CheckoutArguments {
    /// The feature to hold
    pub feature: String,
    /// Version and number of seats.
    #[command(flatten)]
    pub seats: SeatOptions,
    /// What happens if seats are taken.
    #[command(flatten)]
    pub wait: WaitOptions,
    /// Give it back after this time, such as 30s or 2h
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub hold: Option<Duration>,
}

/// What to do with the leader.
#[derive(Debug, Subcommand)]
pub enum LeaderVerb {
    /// Hand leadership to another node, as before maintenance
    Transfer {
        /// The name or id of the next leader; without, the follower that is furthest ahead
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nodes_may_be_separated_by_commas() {
        let line = ["triad", "init", "--dir", "d", "--node", "a=h1:1,b=h2:1", "--node", "c=h3:1"];
        let Verb::Init(init) = Arguments::try_parse_from(line).unwrap().verb else { panic!() };
        let names: Vec<_> = init.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn what_follows_the_dashes_belongs_to_the_command() {
        let line = ["triad", "run", "--feature", "f", "--", "sh", "-o", "--seats", "9"];
        let Verb::Run(run) = Arguments::try_parse_from(line).unwrap().verb else { panic!() };
        assert_eq!(run.command, ["sh", "-o", "--seats", "9"]);
        assert_eq!(run.seats.seats, 1);
    }

    #[test]
    fn features_takes_a_name_as_its_siblings_do() {
        let parsed = |words: &[&str]| {
            let words = ["triad", "features"].iter().chain(words);
            Arguments::try_parse_from(words).map(|arguments| arguments.verb)
        };
        let Verb::Features { feature, only } = parsed(&["--feature", "cad"]).unwrap() else {
            panic!()
        };
        assert_eq!((feature, only.as_deref()), (None, Some("cad")));
        assert!(parsed(&["cad", "--feature", "cad"]).is_err());
    }

    #[test]
    fn no_seats_are_none_to_ask_for() {
        assert!(Arguments::try_parse_from(["triad", "checkout", "f", "--seats", "0"]).is_err());
    }
}
