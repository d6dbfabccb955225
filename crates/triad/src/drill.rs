//! `triad drill --lab`, and `triad drill` in [`planned`]. This is the laboratory of the tests, for whoever wants to see what
//! a cluster stands. The laboratory is a program of the source tree; an
//! installation does not have it. See docs/decisions/0016-the-lab-is-a-program-apart.md.

pub mod planned;
mod pulse;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::args::drill::DrillArguments;
use crate::exit::Exit;
use crate::failure::Failure;

/// The program, beside this one.
const LAB: &str = "triad-lab";
/// Tells the laboratory which program to mistreat.
const PROGRAM_VARIABLE: &str = "TRIAD_BIN";

/// Becomes the laboratory, so that a signal to this process ends it, and its exit code is this
/// one's. Returns only if that failed.
pub fn run(arguments: &DrillArguments) -> Result<Exit, Failure> {
    let own = std::env::current_exe()
        .map_err(|source| Failure::System { what: "cannot find this program", source })?;
    let lab = own.with_file_name(LAB);
    let error = Command::new(&lab).args(passed_on(arguments)).env(PROGRAM_VARIABLE, &own).exec();
    Err(match error.kind() {
        io::ErrorKind::NotFound => Failure::NoLab(lab),
        _ => Failure::Spawn { program: lab.display().to_string(), source: error },
    })
}

fn passed_on(arguments: &DrillArguments) -> Vec<OsString> {
    let DrillArguments { lab: _, scenarios, list, kills, cuts, freezes, partitions, json, .. } =
        arguments;
    let mut all: Vec<OsString> = scenarios.iter().map(OsString::from).collect();
    if *list {
        all.push("--list".into());
    }
    let counts = [
        ("--kills", kills),
        ("--cuts", cuts),
        ("--freezes", freezes),
        ("--partitions", partitions),
    ];
    for (option, count) in counts {
        if let Some(count) = count {
            all.extend([option.into(), count.to_string().into()]);
        }
    }
    if let Some(file) = json {
        all.extend(["--json".into(), file.into()]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::seats::ConsentOptions;

    #[test]
    fn everything_is_passed_on() {
        let arguments = DrillArguments {
            lab: true,
            scenarios: vec!["slow_syncs".into()],
            list: false,
            kills: Some(500),
            cuts: None,
            freezes: Some(0),
            partitions: None,
            json: Some("figures.json".into()),
            force: false,
            consent: ConsentOptions { dry_run: false, yes: false },
        };
        let passed: Vec<_> = passed_on(&arguments);
        let wanted = ["slow_syncs", "--kills", "500", "--freezes", "0", "--json", "figures.json"];
        assert_eq!(passed, wanted.map(OsString::from));
    }
}
