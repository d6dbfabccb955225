//! `triad`: one command for a whole cluster. A node, the seats of a user, and
//! everything an administrator or a publisher does.

mod args;
mod audit;
mod bench;
mod borrow;
mod capability;
mod cert;
mod check;
mod checkout;
mod checkouts;
mod clock;
mod cluster;
mod completing;
mod concerns;
mod config;
mod consent;
mod context;
mod demo;
mod doctor;
mod drain;
mod drill;
mod duration;
mod events;
mod exit;
mod explain;
mod failure;
mod finding;
mod foreign;
mod history;
mod holding;
mod hostid;
mod init;
mod keys;
mod leader;
mod license;
mod lists;
mod lmutil;
mod loan;
mod local;
mod manual;
mod members;
mod moment;
mod myself;
mod output;
mod policy;
mod publisher;
mod queue;
mod reasons;
mod report;
mod run;
#[cfg(test)]
mod schema;
mod serve;
mod settings;
mod signals;
mod snapshot;
mod status;
mod table;
mod text;
mod token;
mod top;
mod verdict;
mod watch;
mod why;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::parser::ValueSource;

use args::history::AuditVerb;
use args::nodes::NodeVerb;
use args::{Arguments, Verb};
use exit::Exit;
use failure::Failure;
use settings::Settings;

/// A grant is some hundred small allocations in gRPC's layers, and this is where the system's
/// allocator took a fifth of a leader's time. See decision 8.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let words = lmutil::as_called(&words).unwrap_or(words);
    completing::answer_the_shell();
    let parsed = args::examples::command().try_get_matches_from(&words);
    let parsed = parsed.and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help into a closed pipe is no error.
            let _ = error.print();
            // Monitors take 2 for critical, and a typo is not that.
            if error.use_stderr() && asks_for_check(&words) {
                let _ = io::stdout().write_all(check::misunderstood(&error.to_string()).as_bytes());
                return ExitCode::from(check::UNKNOWN.code());
            }
            let usage = Exit::Usage.code();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(usage));
        }
    };
    let typed = matches
        .ids()
        .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine));
    let typed = typed.map(|id| id.as_str().to_owned()).collect();
    let settings = Settings::new(arguments.global, typed);
    let again = || Arguments::from_arg_matches(&matches).map(|arguments| arguments.verb).ok();
    let is_check = matches!(&arguments.verb, Verb::Check(_));
    let is_measured = matches!(&arguments.verb, Verb::Bench(bench) if bench.local);
    let one_tls = if is_measured { Ok(()) } else { settings.one_tls() };
    let exit = match one_tls.and_then(|()| settings.output.accepts(&arguments.verb)) {
        Ok(()) => start(&settings, arguments.verb, again),
        Err(failure) => Err(failure),
    };
    let exit = match exit {
        Ok(exit) => exit,
        Err(failure) => {
            settings.output.notice(&failure.render());
            match is_check {
                true => {
                    let _ = settings.output.text(&check::unknown(&failure.to_string()));
                    check::UNKNOWN
                }
                false => failure.exit(),
            }
        }
    };
    ExitCode::from(exit.code())
}

/// Whether words that cannot be read were to be `triad check`.
fn asks_for_check(words: &[OsString]) -> bool {
    let command = args::examples::command();
    let is_verb = |word: &&OsString| command.get_subcommands().any(|verb| *word == verb.get_name());
    words.iter().skip(1).find(is_verb).is_some_and(|verb| verb == "check")
}

/// One thread serves every verb: a node's work is measured to be faster so on
/// small machines, and the other verbs only wait; but a benchmark of a large
/// machine may need more.
fn start(
    settings: &Settings,
    verb: Verb,
    again: impl Fn() -> Option<Verb>,
) -> Result<Exit, Failure> {
    if matches!(verb, Verb::Serve(_)) {
        serve::find_no_programs();
    }
    let mut builder = match &verb {
        Verb::Bench(bench) if bench.threads > 1 => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(bench.threads.into());
            builder
        }
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "cannot start the runtime", source })?;
    let exit = match settings.watch() {
        None => runtime.block_on(dispatch(settings, verb)),
        Some(interval) => runtime.block_on(watch::run(settings, verb, again, interval)),
    };
    // A name that does not resolve holds a thread for longer than we wait.
    runtime.shutdown_background();
    exit
}

async fn dispatch(settings: &Settings, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Init(arguments) => init::run(settings, &arguments),
        Verb::Serve(arguments) => serve::run(settings, &arguments).await,
        Verb::Demo(arguments) => signals::unless_ended(demo::run(settings, &arguments)).await,
        Verb::Bench(arguments) => signals::unless_ended(bench::run(settings, &arguments)).await,
        Verb::Drill(arguments) if arguments.lab => drill::run(&arguments),
        Verb::Drill(arguments) => drill::planned::run(settings, &arguments).await,
        Verb::Run(arguments) => run::run(settings, &arguments).await,
        Verb::Checkout(arguments) => checkout::run(settings, &arguments).await,
        Verb::Status => status::run(settings).await,
        Verb::Check(arguments) => check::run(settings, &arguments).await,
        Verb::Top(arguments) => top::run(settings, &arguments).await,
        Verb::Doctor(arguments) => doctor::run(settings, &arguments).await,
        Verb::Features { feature, only } => lists::features(settings, feature.or(only)).await,
        Verb::Sessions => lists::sessions(settings).await,
        Verb::Checkouts(arguments) => checkouts::run(settings, &arguments).await,
        Verb::Queue(arguments) => queue::run(settings, &arguments).await,
        Verb::Borrow(verb) => borrow::run(settings, &verb).await,
        Verb::Events(arguments) => events::run(settings, &arguments).await,
        Verb::Report(verb) => report::run(settings, &verb).await,
        Verb::Audit(AuditVerb::Verify) => audit::verify(settings).await,
        Verb::Policy(verb) => policy::run(settings, verb).await,
        Verb::Capability(verb) => capability::run(settings, verb).await,
        Verb::License(verb) => license::run(settings, verb).await,
        Verb::Node(NodeVerb::List) => lists::nodes(settings).await,
        Verb::Node(NodeVerb::Add(arguments)) => members::add(settings, &arguments).await,
        Verb::Node(NodeVerb::Replace(arguments)) => members::replace(settings, &arguments).await,
        Verb::Node(NodeVerb::Promote { node }) => members::promote(settings, &node).await,
        Verb::Node(NodeVerb::Drain(arguments)) => drain::run(settings, &arguments).await,
        Verb::Node(NodeVerb::Remove(arguments)) => members::remove(settings, &arguments).await,
        Verb::Leader(verb) => leader::run(settings, verb).await,
        Verb::Cert(verb) => cert::run(settings, &verb),
        Verb::Snapshot(verb) => snapshot::run(settings, &verb).await,
        Verb::Token(verb) => token::run(settings, verb).await,
        Verb::Explain(arguments) => explain::run(settings, &arguments).await,
        Verb::Lmutil { words } => lmutil::run(settings, &words).await,
        Verb::Lmstat { words } => {
            let words: Vec<String> = ["lmstat".to_owned()].into_iter().chain(words).collect();
            lmutil::run(settings, &words).await
        }
        Verb::Config(verb) => config::run(settings, &verb),
        Verb::Man { out } => manual::write(settings, &out),
        Verb::Hostid => hostid::run(settings),
        Verb::Completions { shell } => {
            settings.output.text(&completing::script(shell)?)?;
            Ok(Exit::Ok)
        }
    }
}
