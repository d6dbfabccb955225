//! What the long runs counted, as the page tells it. Each run wrote one object.

use std::fmt::Write as _;
use std::fs;
use std::ops::Add as _;
use std::path::Path;

use serde_json::{Map, Value};

/// The files of the long runs, and what each is called.
const RUNS: [(&str, &str); 4] = [
    ("docs/evidence/simulation.json", "Simulation"),
    ("docs/evidence/simulation-calm.json", "Simulation of calm hours"),
    ("docs/evidence/faults.json", "Kills and power cuts on real processes"),
    ("docs/evidence/suite.json", "The fault suite, again and again"),
];
/// A commit is named by so many of its digits where there is little room.
const COMMIT_DIGITS: usize = 12;

struct Run {
    file: &'static str,
    title: &'static str,
    wrote: Value,
}

impl Run {
    fn number(&self, path: &str) -> f64 {
        self.wrote.pointer(path).and_then(Value::as_f64).unwrap_or_default()
    }

    fn done(&self, fault: &str) -> f64 {
        self.number(&format!("/faults/{fault}/done"))
    }

    fn violations(&self) -> f64 {
        self.number("/violations") + self.number("/figures/violations")
    }

    fn power_cuts(&self) -> f64 {
        self.done("cuts_of_one") + self.done("cuts_of_all")
    }

    fn commit(&self) -> &str {
        let commit = self.wrote["commit"].as_str().expect("a run says what it ran");
        &commit[..COMMIT_DIGITS]
    }

    /// What was done, in a line.
    fn what(&self) -> String {
        let count = |path| grouped(self.number(path));
        if self.wrote.get("seeds").is_some() {
            let calm = match self.number("/calm") {
                calm if calm > 1.0 => format!(", {calm} times as calm"),
                _ => String::new(),
            };
            return format!(
                "{} lives with {} s of faults each{calm}: {:.0} cluster hours",
                count("/seeds"),
                count("/chaos_seconds"),
                self.number("/cluster_hours")
            );
        }
        if self.wrote.get("passed_in_a_row").is_some() {
            return format!(
                "{} scenarios, {} times in a row, {} to {} s each time",
                count("/scenarios"),
                count("/passed_in_a_row"),
                count("/shortest_s"),
                count("/longest_s")
            );
        }
        format!(
            "{} kills, {} power cuts, {} freezes, {} partitions; {} operations, longest gap {} ms",
            self.done("kills"),
            self.power_cuts(),
            self.done("freezes"),
            self.done("partitions"),
            count("/figures/operations"),
            count("/figures/longest_gap_ms")
        )
    }
}

/// What the long runs came to, a line for each of them, and then all that they counted.
pub fn figures(root: &Path) -> String {
    let read = |(file, title)| {
        let wrote = fs::read_to_string(root.join(file)).ok()?;
        Some(Run { file, title, wrote: serde_json::from_str(&wrote).unwrap() })
    };
    let runs: Vec<Run> = RUNS.into_iter().filter_map(read).collect();
    let is_bad = |run: &Run| run.wrote.get("result").is_some_and(|is| is != "good");
    assert!(!runs.iter().any(is_bad), "a run that failed is a finding, and no evidence");
    let sum = |of: &dyn Fn(&Run) -> f64| grouped(runs.iter().map(of).fold(0.0, f64::add));
    let mut text = "## The last long runs\n\n".to_owned();
    write!(
        text,
        "**{} violations of a promise** in {} simulated lives of {} cluster hours, and in {} kills\n\
         and {} power cuts of real processes with {} operations. Each run is of the build that it\n\
         names.\n\n| run | build | what | violations |\n|---|---|---|---|\n",
        sum(&Run::violations),
        sum(&|run| run.number("/seeds")),
        sum(&|run| run.number("/cluster_hours")),
        sum(&|run| run.done("kills")),
        sum(&Run::power_cuts),
        sum(&|run| run.number("/figures/operations")),
    )
    .unwrap();
    for run in &runs {
        let (title, commit, what) = (run.title, run.commit(), run.what());
        writeln!(text, "| {title} | `{commit}` | {what} | {} |", run.violations()).unwrap();
    }
    for Run { file, title, wrote } in &runs {
        write!(text, "\n### {title}\n\nAll that `{file}` says:\n\n| | |\n|---|---|\n").unwrap();
        for (name, value) in wrote.as_object().unwrap() {
            match (name.as_str(), value) {
                ("counts", Value::Object(counts)) => counted(&mut text, counts),
                (_, Value::Object(inner)) => nested(&mut text, name, inner),
                _ => writeln!(text, "| {} | {} |", spaced(name), shown(value)).unwrap(),
            }
        }
    }
    text.push('\n');
    text
}

/// Counts by their full names, `faults.Kill`: a row for each of the kinds.
fn counted(text: &mut String, counts: &Map<String, Value>) {
    let mut last = "";
    for (name, count) in counts {
        let (kind, name) = name.split_once('.').unwrap_or((name, ""));
        let (count, name) = (shown(count), spaced(name));
        if kind == last {
            write!(text, " · {name} {count}").unwrap();
        } else {
            let end = if last.is_empty() { "" } else { " |\n" };
            write!(text, "{end}| {} | {name} {count}", spaced(kind)).unwrap();
        }
        last = kind;
    }
    text.push_str(" |\n");
}

/// An object in a row, or in a row for each object in it.
fn nested(text: &mut String, name: &str, object: &Map<String, Value>) {
    let mut row = Vec::new();
    for (key, value) in object {
        match value {
            Value::Object(inner) => nested(text, &format!("{name}: {key}"), inner),
            _ => row.push(format!("{} {}", spaced(key), shown(value))),
        }
    }
    if !row.is_empty() {
        writeln!(text, "| {} | {} |", spaced(name), row.join(" · ")).unwrap();
    }
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(words) => words.clone(),
        Value::Number(number) if number.is_u64() => grouped(number.as_f64().unwrap()),
        other => other.to_string(),
    }
}

/// A whole number in groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
