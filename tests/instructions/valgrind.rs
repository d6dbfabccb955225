//! One case under valgrind: the instructions that it takes.

use std::process::Command;

/// The argument with which this program runs one case in itself.
pub const RUN: &str = "run";
/// Counting is switched on where a function of this name begins, and off where
/// it ends.
const COUNTED: &str = "--toggle-collect=*measured*";

/// Whether valgrind is there.
pub fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|done| done.status.success())
}

/// The instructions of one case.
///
/// # Errors
///
/// What valgrind said, if it did not end with a count.
pub fn count(case: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED])
        .arg(program)
        .args([RUN, case])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    // "==4711== Collected : 123456"
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(count) if done.status.success() && count > 0 => Ok(count),
        _ => Err(format!("no count of {case}:\n{said}")),
    }
}
