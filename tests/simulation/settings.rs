//! What the command line of the simulation says.

use std::path::PathBuf;
use std::time::Duration;

/// How long the faults go on, unless told otherwise.
const CHAOS_DEFAULT: Duration = Duration::from_secs(45);
/// Calmer than this nothing happens any more.
const CALM_MAX: u64 = 1_000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub from: u64,
    pub seeds: u64,
    /// Runs at a time.
    pub jobs: usize,
    pub chaos: Duration,
    /// How many times as long everybody rests, and nothing goes wrong: long lives with few
    /// incidents.
    pub calm: u32,
    /// The seeded bug to find.
    pub bug: Option<String>,
    /// Run the seed in this process.
    pub here: bool,
    /// With the faults that are known to break a promise.
    pub known: bool,
    /// The only kinds of faults, by name; none means any.
    pub only: Vec<String>,
    /// What the nodes and clients log, for reading a failure.
    pub log: Option<String>,
    /// Where to write what all seeds came to.
    pub json: Option<PathBuf>,
    /// A file of an earlier part of the same run, to go on from.
    pub after: Option<PathBuf>,
}

impl Settings {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Settings {
            from: 1,
            seeds: 1,
            jobs: 2,
            chaos: CHAOS_DEFAULT,
            calm: 1,
            bug: None,
            here: false,
            known: false,
            only: Vec::new(),
            log: None,
            json: None,
            after: None,
        };
        let mut arguments = arguments;
        while let Some(flag) = arguments.next() {
            if flag == "--here" {
                settings.here = true;
                continue;
            }
            if flag == "--known" {
                settings.known = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{flag} {value}: no number"));
            match flag.as_str() {
                "--seed" => (settings.from, settings.seeds) = (number()?, 1),
                "--seeds" => settings.seeds = number()?,
                "--from" => settings.from = number()?,
                "--jobs" => settings.jobs = number()?.max(1) as usize,
                "--seconds" => settings.chaos = Duration::from_secs(number()?),
                "--calm" => settings.calm = number()?.clamp(1, CALM_MAX) as u32,
                "--only" => settings.only = value.split(',').map(str::to_owned).collect(),
                "--bug" => settings.bug = Some(value),
                "--log" => settings.log = Some(value),
                "--json" => settings.json = Some(value.into()),
                "--after" => settings.after = Some(value.into()),
                _ => return Err(format!("{flag} is unknown; see docs/how-to/simulate.md")),
            }
        }
        Ok(settings)
    }

    /// The command line that repeats one seed of these.
    pub fn replay(&self, seed: u64) -> String {
        let mut line = format!("cargo run -p triad-tests --bin simulate -- --seed {seed}");
        if self.chaos != CHAOS_DEFAULT {
            line += &format!(" --seconds {}", self.chaos.as_secs());
        }
        if self.calm != 1 {
            line += &format!(" --calm {}", self.calm);
        }
        if let Some(bug) = &self.bug {
            line += &format!(" --bug {bug}");
        }
        if !self.only.is_empty() {
            line += &format!(" --only {}", self.only.join(","));
        }
        if self.known {
            line += " --known";
        }
        line
    }
}

/// Shows what nodes and clients log. Their times are not the world's, and are
/// left out.
pub fn log_to_stderr(filter: &str) {
    let subscriber =
        tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(std::io::stderr);
    subscriber.with_env_filter(filter).init();
}
