//! `triad bench`: how fast it is, measured with the client library against real
//! nodes, by workloads that other systems are measured by as well.
//!
//! A *cycle* is one checkout and one checkin, each answered only when it is on
//! the disks of two nodes. Every client has a session of its own and, unless
//! `--conns` says otherwise, a connection of its own, as separate programs would.
//! [`workload`] says what is done, [`site`] where, [`report`] what is told of it.

mod beats;
mod cycles;
mod failover;
mod figures;
mod outstanding;
mod processes;
mod progress;
mod report;
mod restart;
mod silence;
mod site;
mod spent;
mod syscalls;
mod wire;
mod workload;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use triad_server::init::TlsMode;

use crate::args::TlsOption;
use crate::args::bench::BenchArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

use self::report::{Report, Run};
use self::site::{Site, license_terms, needs_local};
use self::workload::{Part, Work};

#[cfg(test)]
pub use self::report::{KEYS, table};

/// Sessions on one connection, as a node bounds them.
const SESSIONS_PER_CONNECTION: u32 = 64;
/// Files that are open besides the connections of clients.
const FILES_BESIDES: u64 = 128;

/// Runs the benchmark.
pub async fn run(settings: &Settings, arguments: &BenchArguments) -> Result<Exit, Failure> {
    if arguments.license_terms {
        settings.output.document(&license_terms(settings, arguments).await?)?;
        return Ok(Exit::Ok);
    }
    let parts = arguments.workload.iter().flat_map(|workload| workload.parts(arguments));
    let parts: Vec<Part> = parts.collect();
    check(&parts, arguments)?;
    let mut report = Report::default();
    for tls in modes(settings, arguments) {
        for part in &parts {
            report.runs.push(measure(settings, arguments, part, tls).await?);
        }
    }
    let Report { runs } = &report;
    settings.output.list_below(&report::remarks(runs), &report, runs, || report::table(runs))?;
    Ok(if runs.iter().all(Run::is_good) { Exit::Ok } else { Exit::Error })
}

/// With TLS, without, or first so and then so.
fn modes(settings: &Settings, arguments: &BenchArguments) -> Vec<TlsMode> {
    match settings.tls_option() {
        Some(TlsOption::Both) => vec![TlsMode::Off, TlsMode::On],
        Some(TlsOption::Off) => vec![TlsMode::Off],
        Some(TlsOption::On) => vec![TlsMode::On],
        // The context is about another cluster than one of our own.
        None if arguments.local || settings.encrypted() => vec![TlsMode::On],
        None => vec![TlsMode::Off],
    }
}

/// Refuses what cannot be, before anything is begun.
fn check(parts: &[Part], arguments: &BenchArguments) -> Result<(), Failure> {
    for part in parts {
        if part.workload.needs_local() && !arguments.local {
            return Err(needs_local(part.workload.name()));
        }
        refuse_what_is_not_heeded(part, arguments)?;
        let crowd = part.clients;
        let connections = if arguments.conns == 0 { crowd } else { arguments.conns };
        if arguments.conns > 0 && crowd.div_ceil(SESSIONS_PER_CONNECTION) > arguments.conns {
            return Err(Failure::Usage {
                what: format!(
                    "{}: {crowd} clients do not fit on {} connections: a node takes \
                     {SESSIONS_PER_CONNECTION} sessions on each",
                    part.title(),
                    arguments.conns,
                ),
                remedy: format!("give --conns {}", crowd.div_ceil(SESSIONS_PER_CONNECTION)),
            });
        }
        files_for(u64::from(connections))?;
    }
    Ok(())
}

/// An option that changes nothing is a misunderstanding.
fn refuse_what_is_not_heeded(part: &Part, arguments: &BenchArguments) -> Result<(), Failure> {
    let has_cycles = matches!(part.work, Work::Cycles(_));
    let has_others = has_cycles || matches!(part.work, Work::Restart);
    let option = match arguments {
        _ if arguments.syscalls && !has_cycles => "--syscalls",
        _ if arguments.outstanding.is_some() && !has_others => "--outstanding",
        _ => return Ok(()),
    };
    Err(Failure::Usage {
        what: format!("{option} is not for {}", part.title()),
        remedy: "leave it out, or give it with w1, w2, w3a to w3d, w7 or w9".to_owned(),
    })
}

/// Asks the system for as many open files as it gives; our nodes inherit them.
fn files_for(connections: u64) -> Result<(), Failure> {
    let needed = connections + FILES_BESIDES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // What it comes to is looked at next.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < needed => Err(Failure::Usage {
            what: format!(
                "{connections} connections need {needed} open files, and {files} are allowed"
            ),
            remedy: format!(
                "raise the limit (ulimit -Hn {needed}, LimitNOFILE= of systemd, or nofile in \
                 /etc/security/limits.conf), or share connections: --conns {}",
                connections.div_ceil(u64::from(SESSIONS_PER_CONNECTION))
            ),
        }),
        _ => Ok(()),
    }
}

async fn measure(
    settings: &Settings,
    arguments: &BenchArguments,
    part: &Part,
    tls: TlsMode,
) -> Result<Run, Failure> {
    let mut run = Run {
        workload: part.workload.name(),
        part: part.name,
        local: arguments.local,
        tls: tls == TlsMode::On,
        clients: part.clients,
        connections: if arguments.conns == 0 { part.clients } else { arguments.conns },
        outstanding: part.outstanding,
        warm_up_s: part.warm_up.as_secs_f64(),
        ..Run::default()
    };
    settings.output.notice(&format!(
        "{}: {} clients, TLS {}\n",
        part.title(),
        part.clients,
        if run.tls { "on" } else { "off" },
    ));
    let start = async || match arguments.local {
        true => Site::local(part, arguments, tls).await,
        false => Site::running(settings, arguments).await,
    };
    match part.work {
        Work::Failover(fault) => {
            failover::run(start, settings, part, fault, arguments.rounds, &mut run).await?;
        }
        Work::Morning => failover::morning(start().await?, settings, part, &mut run).await?,
        Work::Restart => restart::run(start().await?, settings, part, &mut run).await?,
        Work::Cycles(cycles) => {
            undisturbed(start().await?, &mut run, async |site, run| {
                cycles::run(site, settings, part, cycles, arguments.syscalls, run).await
            })
            .await?;
        }
        Work::Beats => {
            undisturbed(start().await?, &mut run, async |site, run| {
                beats::run(site, settings, part, arguments, run).await
            })
            .await?;
        }
        Work::Idle => {
            undisturbed(start().await?, &mut run, async |site, run| {
                beats::idle(site, settings, part, arguments, run).await
            })
            .await?;
        }
        Work::Silence => {
            undisturbed(start().await?, &mut run, async |site, run| {
                silence::run(site, settings, part, arguments, run).await
            })
            .await?;
        }
    }
    Ok(run)
}

/// Works without a fault, so that nobody else is to lead.
async fn undisturbed(
    site: Site,
    run: &mut Run,
    work: impl AsyncFnOnce(&Site, &mut Run) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let term = site.term().await?;
    work(&site, run).await?;
    let terms = term.zip(site.term().await?);
    run.elections = terms.map(|(before, after)| after.saturating_sub(before));
    Ok(())
}
