//! What was counted beside what is allowed.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cases::CASES;
use crate::valgrind;

/// How far a count may be from what is written, in percent. Below is as bad as
/// above: the next waste would hide in the room.
const TOLERANCE_PERCENT: u64 = 5;

/// `all`: what cannot be done here is a failure, as in `.ci/run`.
const REQUIRE_VARIABLE: &str = "TRIAD_REQUIRE";

const HEAD: &str = "\
# Instructions of one step of each path, as tests/instructions counts them on x86-64; a count may be 5 %
# from it. After a change that is meant, or a new compiler:
#     cargo run --release -p triad-instructions -- accept
";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bounds.toml")
}

fn read() -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(file()).map_err(|error| error.to_string())?;
    text.parse().map_err(|error| format!("bounds.toml: {error}"))
}

/// Instructions of one step of each case, in the order of [`CASES`].
fn counts() -> Result<Vec<u64>, String> {
    CASES.iter().map(|case| Ok(valgrind::count(case.name)? / case.steps)).collect()
}

/// Counts all cases and prints them beside their bounds. The exit code is 1 if
/// one is beyond.
///
/// # Errors
///
/// A case that cannot be counted, or bounds that cannot be read.
pub fn compare() -> Result<ExitCode, String> {
    if !valgrind::is_there() {
        if std::env::var(REQUIRE_VARIABLE).is_ok_and(|what| what == "all") {
            return Err(format!("no valgrind, and {REQUIRE_VARIABLE}=all is set"));
        }
        eprintln!("SKIP: instructions: no valgrind; tests/setup.sh installs it");
        return Ok(ExitCode::SUCCESS);
    }
    let bounds = read()?;
    let mut beyond = 0;
    println!("{:<34} {:>12} {:>12}", "instructions of one", "allowed", "counted");
    for (case, counted) in CASES.iter().zip(counts()?) {
        let bound = bounds.get(case.name).and_then(toml::Value::as_integer);
        let bound = bound.and_then(|bound| u64::try_from(bound).ok());
        let bound = bound.ok_or_else(|| format!("bounds.toml has no number for {}", case.name))?;
        let is_within = counted.abs_diff(bound) * 100 <= bound * TOLERANCE_PERCENT;
        let percent = (counted as f64 / bound as f64 - 1.0) * 100.0;
        let verdict = if is_within { "" } else { "  BEYOND" };
        println!("{:<34} {bound:>12} {counted:>12} {percent:>+6.1} %{verdict}", case.name);
        beyond += usize::from(!is_within);
    }
    if beyond == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "{beyond} of {} counts are more than {TOLERANCE_PERCENT} % away. If that is meant, accept \
         them: cargo run --release -p triad-instructions -- accept",
        CASES.len()
    );
    Ok(ExitCode::FAILURE)
}

/// Counts all cases and writes what was counted as their bounds.
///
/// # Errors
///
/// A case that cannot be counted, or a file that cannot be written.
pub fn accept() -> Result<ExitCode, String> {
    let counts = counts()?;
    let lines = CASES.iter().zip(counts).map(|(case, count)| format!("{} = {count}\n", case.name));
    let text = format!("{HEAD}{}", lines.collect::<String>());
    std::fs::write(file(), &text).map_err(|error| format!("bounds.toml: {error}"))?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}
