//! What `triad-lab` does, and what it says of it.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;
use triad_tests::{program, skip};

use crate::figures::{self, Figures};
use crate::rounds::{self, Fault, Gaps, Plan};
use crate::scenarios::{self, Scenario};

const USAGE: &str = "\
usage: triad-lab [SCENARIO]... [--list] [--json FILE]
       triad-lab [--kills N] [--cuts N] [--freezes N] [--partitions N] [--json FILE]";
/// Of so many power cuts one is of all three nodes.
const CUTS_PER_CUT_OF_ALL: usize = 5;

/// Does what the command line says.
pub fn run() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if settings.list {
        for Scenario { name, what, .. } in scenarios::ALL {
            println!("{name:28} {what}");
        }
        return ExitCode::SUCCESS;
    }
    let (document, is_good) = match settings.plan.is_empty() {
        true => run_scenarios(&settings.scenarios),
        false => run_rounds(&settings.plan),
    };
    if let Some(path) = settings.json {
        let text = serde_json::to_string_pretty(&document).expect("it is plain data");
        if let Err(error) = fs::write(&path, text + "\n") {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Settings {
    scenarios: Vec<&'static Scenario>,
    plan: Plan,
    json: Option<PathBuf>,
    list: bool,
}

impl Settings {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Settings::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let count = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
            match argument.as_str() {
                "--list" => settings.list = true,
                "--json" => settings.json = Some(value()?.into()),
                "--kills" => drop(settings.plan.insert(Fault::Kill, count(value()?)?)),
                "--freezes" => drop(settings.plan.insert(Fault::Freeze, count(value()?)?)),
                "--partitions" => drop(settings.plan.insert(Fault::Partition, count(value()?)?)),
                "--cuts" => {
                    let cuts: usize = count(value()?)?;
                    let of_all = cuts / CUTS_PER_CUT_OF_ALL;
                    settings.plan.insert(Fault::CutOfAll, of_all);
                    settings.plan.insert(Fault::CutOfOne, cuts - of_all);
                }
                name => {
                    let scenario = scenarios::ALL.iter().find(|scenario| scenario.name == name);
                    let unknown = || format!("there is no scenario {name:?}; --list names them");
                    settings.scenarios.push(scenario.ok_or_else(unknown)?);
                }
            }
        }
        if !settings.plan.is_empty() && !settings.scenarios.is_empty() {
            return Err("either scenarios or a long run, please".into());
        }
        if settings.scenarios.is_empty() {
            settings.scenarios = scenarios::ALL.iter().collect();
        }
        Ok(settings)
    }
}

/// How something ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Good,
    Bad,
    /// This machine does not allow it.
    Skipped,
}

impl Ended {
    fn word(self) -> &'static str {
        match self {
            Ended::Good => "good",
            Ended::Bad => "FAILED",
            Ended::Skipped => "skipped",
        }
    }
}

/// Runs it on a thread of its own network, to its end or its first surprise.
fn complete(scenario: LocalBoxFuture<'static, ()>) -> (Ended, Figures, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let (began, skipped) = (Instant::now(), skip::skipped());
    let ended = runtime.block_on(AssertUnwindSafe(scenario).catch_unwind());
    let figures = figures::take();
    let ended = match (&ended, figures) {
        (Err(_), _) => Ended::Bad,
        (Ok(()), _) if skip::skipped() > skipped => Ended::Skipped,
        (Ok(()), Some(figures)) if figures.violations > 0 => Ended::Bad,
        (Ok(()), _) => Ended::Good,
    };
    (ended, figures.unwrap_or_default(), began.elapsed())
}

fn run_scenarios(scenarios: &[&'static Scenario]) -> (Value, bool) {
    let mut rows = Vec::new();
    for (n, scenario) in scenarios.iter().enumerate() {
        println!("\n{} of {}: {}: {}", n + 1, scenarios.len(), scenario.name, scenario.what);
        let (ended, figures, took) = complete((scenario.run)());
        rows.push((*scenario, ended, figures, took));
    }
    println!(
        "\n{:28} {:8} {:>10} {:>11} {:>10} {:>7}",
        "scenario", "", "operations", "longest gap", "violations", "time"
    );
    for (scenario, ended, figures, took) in &rows {
        println!(
            "{:28} {:8} {:>10} {:>11} {:>10} {:>7}",
            scenario.name,
            ended.word(),
            figures.operations,
            format!("{:.1?}", figures.longest_gap),
            figures.violations,
            format!("{:.0?}", took),
        );
    }
    let row = |(scenario, ended, figures, took): &(&Scenario, Ended, Figures, Duration)| {
        json!({
            "name": scenario.name,
            "what": scenario.what,
            "result": ended.word(),
            "figures": figures_of(figures),
            "wall_s": took.as_secs_f64(),
        })
    };
    let document = json!({
        "commit": commit(),
        "machine": machine(),
        "scenarios": rows.iter().map(row).collect::<Vec<_>>(),
    });
    (document, rows.iter().all(|(_, ended, ..)| *ended != Ended::Bad))
}

fn run_rounds(plan: &Plan) -> (Value, bool) {
    let gaps = Gaps::default();
    let running = rounds::run(plan.clone(), gaps.clone()).map(drop);
    let (ended, figures, took) = complete(running.boxed_local());
    let gaps = gaps.lock().expect("no panic while held");
    println!("\n{:12} {:>5} {:>10} {:>11}", "fault", "done", "median gap", "longest gap");
    let mut counts = serde_json::Map::new();
    for fault in Fault::ALL {
        let mut of_kind = gaps.get(&fault).cloned().unwrap_or_default();
        of_kind.sort_unstable();
        let median = of_kind.get(of_kind.len() / 2).copied().unwrap_or_default();
        let longest = of_kind.last().copied().unwrap_or_default();
        let (name, done) = (fault.name(), of_kind.len());
        let shown = [median, longest].map(|gap| format!("{gap:.0?}"));
        println!("{name:12} {done:>5} {:>10} {:>11}", shown[0], shown[1]);
        let row = json!({
            "done": done,
            "median_gap_ms": median.as_millis() as u64,
            "longest_gap_ms": longest.as_millis() as u64,
        });
        counts.insert(name.into(), row);
    }
    println!(
        "{}: {} operations, {} of unknown outcome, {} violations, in {took:.0?}",
        ended.word(),
        figures.operations,
        figures.unknown,
        figures.violations
    );
    let document = json!({
        "commit": commit(),
        "machine": machine(),
        "result": ended.word(),
        "faults": counts,
        "figures": figures_of(&figures),
        "wall_s": took.as_secs_f64(),
    });
    (document, ended != Ended::Bad)
}

fn figures_of(figures: &Figures) -> Value {
    json!({
        "operations": figures.operations,
        "unknown": figures.unknown,
        "entries": figures.entries,
        "longest_gap_ms": figures.longest_gap.as_millis() as u64,
        "violations": figures.violations,
    })
}

/// The state of the tree that this was built in, if it is one.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
    let said = git.current_dir(program::repository()).output().ok();
    let said = said.filter(|said| said.status.success());
    said.map_or("unknown".into(), |said| String::from_utf8_lossy(&said.stdout).trim().into())
}

fn machine() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    json!({
        "processors": std::thread::available_parallelism().map_or(0, |count| count.get()),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "load_average": read("/proc/loadavg"),
    })
}
