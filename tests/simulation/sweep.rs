//! Many seeds, each in a process of its own: inside one process a seed would
//! depend on those before it, through counters that never begin anew.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use triad_tests::clock;

use crate::figures::{Counts, read};
use crate::settings::Settings;

/// What many seeds came to is on the disk after each so many: a long run may be broken off.
const WRITTEN_EVERY: u64 = 500;

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    run: u64,
    failed: Vec<u64>,
    counts: Counts,
}

/// Runs all seeds that are asked for, and says which failed.
pub fn sweep(settings: &Settings) -> ExitCode {
    let begun = clock::now();
    let earlier = match &settings.after {
        None => None,
        Some(file) => match earlier(file, settings) {
            Ok(earlier) => Some(earlier),
            Err(problem) => {
                eprintln!("{}: {problem}", file.display());
                return ExitCode::from(2);
            }
        },
    };
    // Where the part before ended, this one begins.
    let before = earlier.as_ref();
    let from = before.map_or(settings.from, |part| part.from_seed + part.seeds);
    let first = before.map_or(from, |part| part.from_seed);
    let mut took = Duration::from_secs(before.map_or(0, |part| part.wall_seconds));
    let mut sum = earlier.map_or_else(Sum::default, |part| Sum {
        run: part.seeds,
        failed: part.failed_seeds,
        counts: part.counts,
    });
    let mut seeds = from..from + settings.seeds;
    let mut running: Vec<(u64, Child)> = Vec::new();
    loop {
        while running.len() < settings.jobs
            && let Some(seed) = seeds.next()
        {
            running.push((seed, start(settings, seed)));
        }
        if running.is_empty() {
            break;
        }
        let (seed, child) = running.remove(0);
        let output = child.wait_with_output().expect("a child can be waited for");
        sum.run += 1;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if !read(line, &mut sum.counts) {
                println!("{line}");
            }
        }
        if !output.status.success() {
            if settings.bug.is_some() {
                // One is enough; those that run are not waited for.
                seeds = 0..0;
                for (_, mut other) in running.drain(..) {
                    let _ = other.kill().and_then(|()| other.wait());
                }
            }
            sum.failed.push(seed);
            println!("replay: {}", settings.replay(seed));
        }
        if sum.run.is_multiple_of(WRITTEN_EVERY) {
            let took = took + clock::now().duration_since(begun).unwrap_or_default();
            if let Err(error) = sum.write(settings, first, took) {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    if settings.seeds > 1 {
        println!("{} seeds, {} failed {:?}", settings.seeds, sum.failed.len(), sum.failed);
    }
    took += clock::now().duration_since(begun).unwrap_or_default();
    if let Err(error) = sum.write(settings, first, took) {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An earlier part of a run, as [`Sum::to_json`] wrote it.
#[derive(serde::Deserialize)]
struct Part {
    commit: String,
    from_seed: u64,
    seeds: u64,
    chaos_seconds: u64,
    #[serde(default = "as_ever")]
    calm: u32,
    failed_seeds: Vec<u64>,
    wall_seconds: u64,
    counts: Counts,
}

/// How calm the runs were before they could be calmer.
fn as_ever() -> u32 {
    1
}

/// The part before, if what is to follow is of the same kind and the same code.
fn earlier(file: &Path, settings: &Settings) -> Result<Part, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let part: Part = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if (part.chaos_seconds, part.calm) != (settings.chaos.as_secs(), settings.calm) {
        let Part { chaos_seconds, calm, .. } = part;
        return Err(format!("its runs are of {chaos_seconds} s, {calm} times as calm"));
    }
    match is_same_code(&part.commit) {
        true => Ok(part),
        false => Err(format!("it is of {}, and the code of {} is another", part.commit, commit())),
    }
}

/// Whether a run of that commit is one of this: documents may have changed, and other tests.
fn is_same_code(commit_before: &str) -> bool {
    const OF_A_RUN: [&str; 8] = [
        "crates",
        "proto",
        "Cargo.toml",
        "Cargo.lock",
        "tests/src",
        "tests/simulation",
        ":(exclude)tests/simulation/tests.rs",
        ":(exclude)tests/simulation/regressions.txt",
    ];
    let mut compare = Command::new("git");
    compare.args(["diff", "--quiet", commit_before, "--"]).args(OF_A_RUN);
    compare.stdout(Stdio::null()).stderr(Stdio::null());
    commit_before == commit() || compare.status().is_ok_and(|same| same.success())
}

impl Sum {
    /// To the file that was asked for, if one was.
    fn write(&self, settings: &Settings, first: u64, took: Duration) -> Result<(), String> {
        let Some(file) = &settings.json else { return Ok(()) };
        let written = std::fs::write(file, self.to_json(settings, first, took));
        written.map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Numbers and plain names only, so nothing needs an escape.
    fn to_json(&self, settings: &Settings, first: u64, took: Duration) -> String {
        let simulated_ms = self.counts.get("simulated_ms").copied().unwrap_or(0);
        let failed: Vec<String> = self.failed.iter().map(u64::to_string).collect();
        let counts: Vec<String> =
            self.counts.iter().map(|(name, count)| format!("    \"{name}\": {count}")).collect();
        format!(
            "{{\n  \"commit\": \"{}\",\n  \"from_seed\": {},\n  \"seeds\": {},\n  \
             \"chaos_seconds\": {},\n  \"calm\": {},\n  \"simulated_seconds\": {},\n  \
             \"cluster_hours\": {:.2},\n  \"violations\": {},\n  \"failed_seeds\": [{}],\n  \"wall_seconds\": {},\n  \
             \"jobs\": {},\n  \"counts\": {{\n{}\n  }}\n}}\n",
            commit(),
            first,
            self.run,
            settings.chaos.as_secs(),
            settings.calm,
            simulated_ms / 1_000,
            simulated_ms as f64 / 3_600_000.0,
            self.failed.len(),
            failed.join(", "),
            took.as_secs(),
            settings.jobs,
            counts.join(",\n")
        )
    }
}

/// The state of the code, `-dirty` if it is none that was committed.
fn commit() -> String {
    let arguments = ["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"];
    let output = Command::new("git").args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn start(settings: &Settings, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("--here").args(["--seed", &seed.to_string()]);
    command.args(["--seconds", &settings.chaos.as_secs().to_string()]);
    command.args(["--calm", &settings.calm.to_string()]);
    for (flag, value) in [("--bug", &settings.bug), ("--log", &settings.log)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    if !settings.only.is_empty() {
        command.args(["--only", &settings.only.join(",")]);
    }
    if settings.known {
        command.arg("--known");
    }
    // Whatever the environment says, the run must not depend on it.
    command.env_clear().stdout(Stdio::piped());
    command.spawn().expect("this program can be started again")
}
